"""Permitted rows upserted into a table of any database that Airflow has an SQL connection to.

Holds the destination and its operator: how a batch is cut until only the refused rows are left. How rows are
written is in `_sql_core` (SQLAlchemy) and `_sql_duckdb`, what a table must be in `_sql_target`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_consent_retl.destinations.base import Batch, Destination, Limits, Load
from airflow_consent_retl.errors import ConfigurationError, DestinationUnavailableError
from airflow_consent_retl.operators.load import LoadOperator

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.delivery.outcomes import Outcomes
    from airflow_consent_retl.destinations._sql_target import Nulls, TableName, TableWriter

_TRIES = 5
_LONGEST_PAUSE_S = 5.0


class SqlTableDestination(Destination):
    """A table with one row per subject, upserted by the primary key.

    `open` makes the table or checks it: every mapped column must be there and hold its field's values exactly, the
    key must be unique, and what is not mapped must take NULL or have a default. Each batch is one transaction. Where
    the database refuses it for a row, the batch is cut in halves, each a transaction of its own, until the refused
    rows stand alone: those are `rejected`, with a code such as `not_null`, `check`, `too_long`, `value_out_of_range`
    or `sqlstate_22P02`; all others are applied. Deadlocks, locks and broken connections are tried again, which an
    upsert allows; rows are `uncertain` when the last answer to a commit stayed away, or when the database went away
    with a part of the batch written.

    PostgreSQL, SQLite, MySQL and DuckDB upsert in one statement; others read the keys that are there, update those
    and insert the rest, in one transaction. Moments with a zone are stored as moments; SQLite has none and gets text
    in UTC, and text for decimals. Names of tables and columns are quoted and taken exactly as written.

    Args:
        hook: of the Airflow connection.
        table: `people`, `crm.people`, or `"a.b"` where a name holds a dot.
        nulls: `"overwrite"` writes NULL over what is there, `"keep"` leaves it.
        create_table: make the table when it is missing.
        batch_rows: rows in one `send`, and in one transaction, at the most.
    """

    def __init__(
        self,
        hook: DbApiHook,
        *,
        table: str,
        nulls: Nulls = "overwrite",
        create_table: bool = True,
        batch_rows: int = 5_000,
    ) -> None:
        from airflow_consent_retl.destinations._sql_target import TableName

        if nulls not in {"overwrite", "keep"}:
            raise ConfigurationError(f"nulls is `overwrite` or `keep`, not `{nulls}`")
        if batch_rows < 1:
            raise ConfigurationError("batch_rows is at least 1")
        self._table = TableName.parse(table)
        self._limits = Limits(batch_rows=batch_rows)
        self._writer = _writer(hook, table=self._table, nulls=nulls, create_table=create_table)
        self._key = ""

    @property
    def limits(self) -> Limits:
        """One transaction at a time, so that a load never waits for itself."""
        return self._limits

    def open(self, load: Load) -> None:
        """Connect, and make or check the table."""
        if load.key_field is None:
            raise ConfigurationError(
                f"the primary key of model `{load.model}` is not mapped: table `{self._table}` is upserted by it"
            )
        self._key = load.key_field
        self._writer.open(load, key=load.key_field)

    def send(self, batch: Batch) -> Outcomes:
        """Upsert a batch."""
        from airflow_consent_retl.delivery.outcomes import Outcome, Outcomes, RowStatus

        refused = {**self._writer.stage(batch.rows), **self._nulls(batch.rows)}
        positions = [row for row in range(batch.rows.num_rows) if row not in refused]
        uncertain = self._write(positions, refused)
        return Outcomes(
            batch.rows.num_rows,
            exceptions={row: Outcome(RowStatus.REJECTED, code) for row, code in refused.items()}
            | {row: Outcome(RowStatus.UNCERTAIN, code) for row, code in uncertain.items()},
        )

    def commit(self) -> None:
        """Let go of the connection; every batch was committed by itself."""
        self._writer.close()

    def abort(self) -> None:
        """Let go of the connection; committed batches stay."""
        self._writer.close()

    def _nulls(self, rows: pa.RecordBatch) -> dict[int, str]:
        # SQLite takes NULL for most primary keys; and what no database takes needs no search by halves.
        refused: dict[int, str] = {}
        for name in (self._writer.not_null | {self._key}) & set(rows.schema.names):
            column = rows.column(name)
            if column.null_count:
                nulls = column.is_null().to_pylist()
                refused.update({row: "not_null" for row, null in enumerate(nulls) if null})
        return refused

    def _write(self, positions: list[int], refused: dict[int, str]) -> dict[int, str]:
        """Write the rows, add the refused ones to `refused`, and return the ones whose fate is unknown."""
        from airflow_consent_retl.destinations._sql_target import (
            BusyError,
            ConnectionLostError,
            RowRefusedError,
        )

        pieces = [positions] if positions else []
        touched, unavailable = False, ""
        while pieces and not unavailable:
            piece = pieces.pop()
            try:
                self._tried(piece)
                touched = True
            except RowRefusedError as error:
                if len(piece) == 1:
                    refused[piece[0]] = error.code
                else:
                    middle = len(piece) // 2
                    pieces += [piece[middle:], piece[:middle]]
            except BusyError as error:
                unavailable = error.code
                pieces.append(piece)
            except ConnectionLostError as error:
                touched = touched or error.in_commit
                unavailable = "connection_lost"
                pieces.append(piece)
        if unavailable and not touched:
            raise DestinationUnavailableError(
                f"table `{self._table}`: {_TRIES} tries failed, nothing of the batch was applied ({unavailable})"
            )
        return {row: unavailable for piece in pieces for row in piece}

    def _tried(self, piece: Sequence[int]) -> None:
        from tenacity import (
            Retrying,
            retry_if_exception_type,
            stop_after_attempt,
            wait_random_exponential,
        )

        from airflow_consent_retl.destinations._sql_target import BusyError, ConnectionLostError

        unknown = False
        for attempt in Retrying(
            retry=retry_if_exception_type((BusyError, ConnectionLostError)),
            stop=stop_after_attempt(_TRIES),
            wait=wait_random_exponential(multiplier=0.1, max=_LONGEST_PAUSE_S),
            reraise=True,
        ):
            with attempt:
                try:
                    self._writer.write(piece)
                except BusyError:
                    if unknown:
                        raise ConnectionLostError(in_commit=True) from None
                    raise
                except ConnectionLostError as error:
                    unknown = unknown or error.in_commit
                    raise ConnectionLostError(in_commit=unknown) from None


class LoadToSqlTableOperator(LoadOperator):
    """Upsert one destination's permitted rows into a table through an Airflow SQL connection.

    Reads the permitted set's files and the table's shape, writes the table, contacts its database. See
    `SqlTableDestination` for transactions, refusals and types.

    Args:
        conn_id: the Airflow connection (templated); any whose hook is a `DbApiHook`.
        table: `people` or `schema.people` (templated), quoted and taken as written.
        nulls: `"overwrite"` writes NULL over what is there, `"keep"` leaves it.
        create_table: make the table, with the key as its primary key, when it is missing.
        batch_rows: rows in one transaction at the most.
        **kwargs: of `LoadOperator`.

    Raises:
        ConfigurationError: the connection, the table or the fields do not suit; not retried.
        DestinationError: the database refuses the login or the statement; not retried.
        DestinationUnavailableError: it does not answer, or stays locked; retried.
    """

    template_fields: Sequence[str] = (*LoadOperator.template_fields, "conn_id", "table")

    def __init__(
        self,
        *,
        conn_id: str,
        table: str,
        nulls: Nulls = "overwrite",
        create_table: bool = True,
        batch_rows: int = 5_000,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.table = table
        self.nulls = nulls
        self.create_table = create_table
        self.batch_rows = batch_rows

    def build_destination(self) -> Destination:
        """Return the destination, not yet opened."""
        return SqlTableDestination(
            _hook(self.conn_id),
            table=self.table,
            nulls=self.nulls,
            create_table=self.create_table,
            batch_rows=self.batch_rows,
        )


def _hook(conn_id: str) -> DbApiHook:
    from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ConfigurationError(f"there is no connection `{conn_id}`") from None
    try:
        hook: object = connection.get_hook()  # type: ignore[no-untyped-call]
    except (AirflowException, ImportError):
        raise ConfigurationError(
            f"connection `{conn_id}`: no installed provider serves `{connection.conn_type}`"
        ) from None
    if not isinstance(hook, DbApiHook):
        raise ConfigurationError(
            f"connection `{conn_id}` is of type `{connection.conn_type}`, which is no SQL database"
        )
    return hook


def _writer(hook: DbApiHook, *, table: TableName, nulls: Nulls, create_table: bool) -> TableWriter:
    if hook.conn_type == "duckdb":
        from airflow_consent_retl.destinations._sql_duckdb import DuckDbWriter

        return DuckDbWriter(hook, table=table, nulls=nulls, create_table=create_table)
    from airflow_consent_retl.destinations._sql_core import CoreWriter

    return CoreWriter(hook, table=table, nulls=nulls, create_table=create_table)
