"""The options of the SQL table destination, checked: the table, and the writing and removing of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.sql_table.destination import SqlTableDestination


@parameter_class
class SqlTableOptions:
    """The table, and the writing and removing of its rows.

    Args:
        table: `people`, `crm.people`, or `"a.b"` where a name contains a dot.
        nulls: `"overwrite"` writes NULL over the stored value, `"keep"` leaves it.
        create_table: create the table when it is missing.
        batch_rows: maximum number of rows in one `send` or `remove`, and in one transaction; by default 5,000, and
            100,000 on Snowflake and BigQuery.
        on_remove: `"delete"`, or `"mark"`.
        mark_column: a boolean column, set to true, or a timestamp, set to the time of the first removal; a table that
            the destination creates gets a timestamp. No field may be mapped to it.
        mark_nulls: a marked row's mapped columns, except the key, are set to NULL.

    Raises:
        ConfigurationError: an option has a wrong value.
    """

    table: str
    nulls: Literal["overwrite", "keep"] = "overwrite"
    create_table: bool = True
    batch_rows: int | None = None
    on_remove: Literal["delete", "mark"] = "delete"
    mark_column: str | None = None
    mark_nulls: bool = False

    def __post_init__(self) -> None:
        if self.nulls not in {"overwrite", "keep"}:
            raise ConfigurationError(f"nulls must be `overwrite` or `keep`, not `{self.nulls}`")
        if self.batch_rows is not None and self.batch_rows < 1:
            raise ConfigurationError("batch_rows must be at least 1")


@parameter_class
class SqlTableSpec(SqlTableOptions, DestinationSpec):
    """The options, and the Airflow connection `conn_id` of the table's database."""

    templated: ClassVar[tuple[str, ...]] = ("conn_id", "table")

    conn_id: str

    def build(self) -> SqlTableDestination:
        """Return the destination, not yet opened; reads the connection."""
        from airflow_consent_retl.destinations.sql_table.destination import SqlTableDestination
        from airflow_consent_retl.hooks.sql import sql_hook

        return SqlTableDestination(sql_hook(self.conn_id), self)
