"""The operator that upserts permitted rows into a table of a database."""

from __future__ import annotations

from airflow_consent_retl.destinations.sql_table.options import SqlTableSpec
from airflow_consent_retl.operators.spec_load import SpecLoadOperator


class LoadToSqlTableOperator(SpecLoadOperator):
    """Upsert one destination's permitted rows into a table through an Airflow SQL connection, and remove people.

    Reads the permitted set's files and the table's shape, writes the table, contacts its database. See
    `SqlTableDestination` for transactions, rejections and types.

    Args:
        conn_id: the Airflow connection (templated); any whose hook is a `DbApiHook`.
        table: `people` or `schema.people` (templated), quoted and taken as written.
        nulls: `"overwrite"` writes NULL over the stored value, `"keep"` leaves it.
        create_table: create the table, with the key as its primary key, when it is missing.
        batch_rows: maximum number of rows in one transaction; by default 5,000, on Snowflake and BigQuery 100,000,
            on SQLite 200,000.
        on_remove: `"delete"` the rows of people whose permission ended, or `"mark"` them.
        mark_column: with `"mark"`, the boolean or timestamp column of the mark; an upsert of the person clears it.
        mark_nulls: with `"mark"`, set the mapped columns except the key to NULL; otherwise personal values stay.
        **kwargs: of `LoadOperator`.

    Raises:
        ConfigurationError: the connection, the table or the fields do not suit; not retried.
        DestinationError: the database refuses the login or the statement; not retried.
        DestinationUnavailableError: the database does not answer, or stays locked; retried.
    """

    nests_fields = False
    spec_class = SqlTableSpec
