"""The options of the SQL table destination, checked: the table, and the writing and removing of rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from airflow_consent_retl.contract.checked_options import CheckedOptions, OptionCheck
from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.sql_table.destination import SqlTableDestination


def _table(options: SqlTableOptions) -> Iterator[Problem]:
    # Late: other DAG files name no table.
    from airflow_consent_retl.databases.tables.table_name import TableName

    try:
        TableName.parse(options.table)
    except ConfigurationError as error:
        yield Problem("table", f"table: {error}")


@parameter_class
class SqlTableOptions(CheckedOptions):
    """The table, and the writing and removing of its rows.

    Args:
        table: `people`, `crm.people`, or `"a.b"` where a name contains a dot.
        nulls: `"overwrite"` writes NULL over the stored value, `"keep"` leaves it.
        create_table: create the table when it is missing.
        batch_rows: maximum number of rows in one `send` or `remove`, and in one transaction; by default 5,000, on
            Snowflake and BigQuery 100,000, on SQLite 200,000.
        on_remove: `"delete"`, or `"mark"`.
        mark_column: a boolean column, set to true, or a timestamp, set to the time of the first removal; a table that
            the destination creates gets a timestamp. No field may be mapped to it.
        mark_nulls: a marked row's mapped columns, except the key, are set to NULL.

    Raises:
        OptionsError: options have wrong values; the message names all of them.
    """

    texts: ClassVar[tuple[str, ...]] = ("table",)
    counts: ClassVar[tuple[str, ...]] = ("batch_rows",)
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "nulls": ("overwrite", "keep"),
        "on_remove": ("delete", "mark"),
    }
    needed: ClassVar[Mapping[tuple[str, str], str]] = {("on_remove", "mark"): "mark_column"}
    only_for: ClassVar[Mapping[str, tuple[str, str]]] = {"mark_nulls": ("on_remove", "mark")}
    checks: ClassVar[tuple[OptionCheck, ...]] = (_table,)

    table: str
    nulls: Literal["overwrite", "keep"] = "overwrite"
    create_table: bool = True
    batch_rows: int | None = None
    on_remove: Literal["delete", "mark"] = "delete"
    mark_column: str | None = None
    mark_nulls: bool = False


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
