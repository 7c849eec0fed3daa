"""The operator that writes what runs did, in counts, into tables of a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class SyncLogsOperator(ConsentRetlOperator):
    """Write the counts, outcomes and lags of runs into three tables, for dashboards: never a person, never an id.

    One table has a row for each try of a task at a sync, one its counts by reason, cause and code, one its lags. They
    are made if they are missing, and get the columns that they lack; their other columns stay. A run is one row,
    however often it is written.

    Reads: the ledger. Writes: the three tables. Contacts: the tables' database. A table that is new gets all runs that
    the ledger records. Databases: all to which `LoadToSqlTableOperator` loads.

    `consent_sync(sync_logs=...)` has it as a teardown, which also runs after a load that failed.

    Args:
        conn_id: the connection of the tables' database. Templated.
        schema: the schema of the tables, or the dataset; by default the connection's. It has to exist. Templated.
        runs_table: the name of the table of runs. Templated.
        counts_table: likewise, of counts by reason, cause and code. Templated.
        lags_table: likewise, of lags. Templated.
        syncs: the names of syncs, such as `customers/webhook`; by default all that the ledger knows. Templated.
        days: runs that ended in the last days are written, so that a day without this task is made up for, and a try
            that a later one resumed is marked; None: all runs that the ledger records.
        hook_params: arguments of the connection's hook. Templated.
        ledger_conn_id: as for the loads. Templated.
        workspace: as for the loads. Templated.

    Returns:
        By table (`runs`, `counts`, `lags`), the number of rows.

    Raises:
        AirflowFailException: not retried: a table does not suit, or the database refuses the login or a statement.
        DestinationUnavailableError, LedgerUnavailableError: retried.
    """

    template_fields: Sequence[str] = (
        "conn_id",
        "schema",
        "runs_table",
        "counts_table",
        "lags_table",
        "syncs",
        "hook_params",
        "ledger_conn_id",
        "workspace",
    )
    ui_color = "#d9d2e9"

    def __init__(
        self,
        *,
        conn_id: str,
        schema: str | None = None,
        runs_table: str = "consent_sync_runs",
        counts_table: str = "consent_sync_counts",
        lags_table: str = "consent_sync_lags",
        syncs: Sequence[str] | None = None,
        days: float | None = 7,
        hook_params: Mapping[str, Any] | None = None,
        ledger_conn_id: str | None = None,
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.schema = schema
        self.runs_table = runs_table
        self.counts_table = counts_table
        self.lags_table = lags_table
        self.syncs = syncs
        self.days = days
        self.hook_params = hook_params
        self.ledger_conn_id = ledger_conn_id
        self.workspace = workspace
        if days is not None and days <= 0:
            raise ConfigurationError("days is more than 0, or None for all runs")
        if len({runs_table, counts_table, lags_table}) < 3:
            raise ConfigurationError("runs_table, counts_table and lags_table are three tables: give them three names")

    def run(self, context: Context) -> dict[str, int]:
        """Write, and return the numbers of rows."""
        from airflow_consent_retl.databases.tables.table_name import TableName
        from airflow_consent_retl.delivery.log_tables import LogTableNames, write_sync_logs
        from airflow_consent_retl.hooks.ledgers import open_ledger
        from airflow_consent_retl.hooks.sql import sql_hook

        names = LogTableNames(
            runs=TableName(self.runs_table, self.schema),
            counts=TableName(self.counts_table, self.schema),
            lags=TableName(self.lags_table, self.schema),
        )
        hook = sql_hook(self.conn_id, self.hook_params)
        since = None if self.days is None else datetime.now(UTC) - timedelta(days=self.days)
        with open_ledger(self.workspace, self.ledger_conn_id) as ledger:
            written = write_sync_logs(ledger, hook, names, syncs=self.syncs, since=since)
        self.log.info(
            "wrote %s runs, %s counts and %s lags on connection `%s`",
            *(f"{written[kind]:,}" for kind in ("runs", "counts", "lags")),
            self.conn_id,
        )
        return written
