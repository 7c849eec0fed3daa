"""Sync logs in tables of a database: made, given the columns that they lack, and upserted by their keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.contract.destination import Load
from airflow_consent_retl.databases.registry import database_of
from airflow_consent_retl.databases.tables.table_batches import Batches
from airflow_consent_retl.databases.tables.writer import MissingTableError
from airflow_consent_retl.delivery.log_rows import (
    COUNTS_BY_CODE,
    LAGS,
    RUNS,
    LogTable,
    rows_by_code,
    rows_of_lags,
    rows_of_runs,
)
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.databases.tables.table_name import TableName
    from airflow_consent_retl.databases.tables.writer import TableWriter
    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.run_records import RunRecord

_LOGS: Final = "sync_logs"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTableNames:
    """The names of the three tables."""

    runs: TableName
    counts: TableName
    lags: TableName


def write_sync_logs(
    ledger: Ledger,
    hook: DbApiHook,
    names: LogTableNames,
    *,
    syncs: Sequence[str] | None,
    since: datetime | None,
    runs_at_once: int = 2_000,
) -> dict[str, int]:
    """Write what the ledger records of runs into three tables, and return the numbers of rows.

    A run has the same key each time, so that a second time changes nothing. A table that is made gets all records.

    Args:
        ledger: open.
        hook: of the tables' connection.
        names: of the tables.
        syncs: the names of syncs; None: all.
        since: runs that ended before it are left out; None: none is.
        runs_at_once: the number of records that are in memory at one time.

    Raises:
        ConfigurationError: a table does not suit: a column has another type, or is missing and cannot be added.
        DestinationError: the database refuses the login, the statement or a row.
        DestinationUnavailableError: it does not answer.
    """
    with ledger.identity() as identity:
        ledger_id = identity.id
    until = datetime.now(UTC)
    written = {}
    # The runs come last: whoever sees a run, sees its counts.
    tables: tuple[tuple[str, TableName, LogTable, Callable[[Iterable[RunRecord], str], pa.Table]], ...] = (
        ("counts", names.counts, COUNTS_BY_CODE, rows_by_code),
        ("lags", names.lags, LAGS, rows_of_lags),
        ("runs", names.runs, RUNS, rows_of_runs),
    )
    for kind, name, table, rows_of in tables:
        with _opened(hook, name, table) as (writer, is_new):
            written[kind] = sum(
                _write(writer, name, rows_of(runs, ledger_id), hook=hook)
                for runs in _pages(ledger, syncs, since=None if is_new else since, until=until, limit=runs_at_once)
            )
    return written


def _pages(
    ledger: Ledger, syncs: Sequence[str] | None, *, since: datetime | None, until: datetime, limit: int
) -> Iterator[list[RunRecord]]:
    """Yield records, the latest first. One that is added meanwhile moves others to a later page, never to none."""
    offset = 0
    while True:
        with ledger.history() as history:
            runs = history.runs(syncs, since=since, until=until, limit=limit, offset=offset)
        if runs:
            yield runs
        if len(runs) < limit:
            return
        offset += len(runs)


@contextmanager
def _opened(hook: DbApiHook, name: TableName, table: LogTable) -> Iterator[tuple[TableWriter, bool]]:
    """Open the writer of a table, and tell whether the table is new."""
    database = database_of(hook.conn_type)
    kind: Callable[..., TableWriter] = database.load(database.table)
    at = datetime.now(UTC)
    # One row stands for all: without any, the table would be checked for removals only.
    load = Load(
        key=_LOGS, destination=_LOGS, model=_LOGS, schema=table.schema, key_field=table.key, rows=1, decided_at=at
    )
    for is_new in (False, True):
        writer = kind(hook, table=name, nulls="overwrite", create_table=is_new, add_columns=True)
        try:
            writer.open(load, key=table.key)
        except MissingTableError:
            writer.close()
            continue
        except BaseException:
            writer.close()
            raise
        try:
            yield writer, is_new
        finally:
            writer.close()
        return


def _write(writer: TableWriter, name: TableName, rows: pa.Table, *, hook: DbApiHook) -> int:
    batches = Batches(name, before_transaction=lambda: None)
    for batch in rows.combine_chunks().to_batches(max_chunksize=database_of(hook.conn_type).table_batch_rows):
        refused: dict[int, str] = {}
        for unfit in writer.stage(batch).values():
            refused.update(unfit)
        unclear = batches.apply(writer.write, [n for n in range(batch.num_rows) if n not in refused], refused)
        if refused:
            codes = ", ".join(sorted(set(refused.values())))
            raise DestinationError(f"table `{name}` refuses {len(refused):,} rows of the sync logs ({codes})")
        if unclear:
            codes = ", ".join(sorted(set(unclear.values())))
            raise DestinationUnavailableError(
                f"table `{name}`: the result of {len(unclear):,} rows is unknown ({codes}); the next try writes them "
                "again"
            )
    return int(rows.num_rows)
