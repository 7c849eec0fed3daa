"""Upserts in PostgreSQL: COPY loads a batch into a temporary table, and one statement upserts its rows.

All of it is one transaction; the temporary table is dropped at its end. If the role may not make temporary tables, rows
are upserted as in any other database.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy as sa

from airflow_consent_retl.databases.fence import fenced
from airflow_consent_retl.databases.postgres.bulk_upsert import BulkUpsert, bulk_upsert_into
from airflow_consent_retl.databases.postgres.copy_in import copy_into, quote
from airflow_consent_retl.databases.postgres.oversized import oversized_column
from airflow_consent_retl.databases.tables.bulk import OUT_OF_RANGE, TOO_LONG, Capacity, is_stageable, staged
from airflow_consent_retl.databases.tables.core import CoreWriter
from airflow_consent_retl.databases.tables.writer import (
    KEY_CHANGED,
    NOT_STORED,
    RowRefusedError,
    TableTarget,
    UnprovenError,
    family,
)
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.databases.tables.proof import Proof
    from airflow_consent_retl.databases.tables.writer import Refused

_log = module_log(__name__)
_OVERSIZED = frozenset({TOO_LONG, OUT_OF_RANGE})
# The columns of each deferrable key. An upsert by these columns is refused, even if another index has them too.
_DEFERRABLE = sa.text(
    "SELECT array_agg(CAST(a.attname AS text)) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a "
    "ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) "
    "WHERE i.indrelid = to_regclass(:table) AND i.indisunique AND NOT i.indimmediate GROUP BY i.indexrelid"
)
# The column of each constraint and unique index of one column. PostgreSQL names these in its errors, and no column.
_CONSTRAINED = sa.text(
    "SELECT CAST(named.name AS text), CAST(a.attname AS text) FROM (SELECT conname AS name, conkey[1] AS place "
    "FROM pg_catalog.pg_constraint WHERE conrelid = to_regclass(:table) AND array_length(conkey, 1) = 1 "
    "UNION SELECT k.relname, i.indkey[0] FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class k ON k.oid = i.indexrelid "
    "WHERE i.indrelid = to_regclass(:table) AND i.indisunique AND i.indnkeyatts = 1 AND i.indkey[0] > 0) AS named "
    "JOIN pg_catalog.pg_attribute a ON a.attrelid = to_regclass(:table) AND a.attnum = named.place"
)
# Whether row-level security applies to the role, and whether it shows the role all rows all the same.
_VISIBLE = sa.text(
    "SELECT row_security_active(to_regclass(:table)), coalesce(bool_or(polpermissive AND is_true) "
    "AND NOT bool_or(NOT polpermissive AND NOT is_true), false) FROM (SELECT polpermissive, "
    "coalesce(pg_get_expr(polqual, polrelid) = 'true', false) AS is_true FROM pg_catalog.pg_policy "
    "WHERE polrelid = to_regclass(:table) AND polcmd IN ('r', '*') AND EXISTS (SELECT 1 FROM unnest(polroles) AS of "
    "WHERE of = 0 OR pg_has_role(of, 'USAGE'))) AS policies"
)


class PostgresWriter(CoreWriter):
    """Writes through the engine of a `PostgresHook`. Arguments are those of `CoreWriter`."""

    _bulk: BulkUpsert | None = None
    _staged_rows = pa.table({})

    def open(self, load: Load, *, key: str) -> None:
        """Connect, make or check the table, and test whether rows can be loaded in bulk."""
        super().open(load, key=key)
        if not load.rows or not self._rules.inserts:
            return
        is_text = family(load.schema.field(key).type) == "text"
        self._bulk = bulk_upsert_into(
            self._table, load.schema.names, key=key, is_text=is_text, rules=self._rules, always=self._always()
        )
        try:
            with self._opened.connect() as connection:
                connection.execute(self._bulk.creation)
                connection.rollback()
        except sa.exc.DBAPIError as error:
            state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
            _log.warning(
                "connection `%s` cannot make temporary tables (SQLSTATE %s): rows are upserted one by one, which takes "
                "longer; GRANT TEMPORARY ON DATABASE",
                self._hook.get_conn_id(),
                state,
            )
            self._bulk = None

    def _existing(self, connection: sa.Connection) -> TableTarget | None:
        target = super()._existing(connection)
        if target is None:
            return None
        deferrable = connection.execute(_DEFERRABLE, {"table": self._regclass}).scalars()
        found = connection.execute(_CONSTRAINED, {"table": self._regclass})
        constrained = {str(name): str(column) for name, column in found}
        return TableTarget(target.columns, target.unique, frozenset(map(frozenset, deferrable)), constrained)

    def _check_readable(self, connection: sa.Connection, proof: Proof) -> None:
        super()._check_readable(connection, proof)
        is_limited, sees_all = connection.execute(_VISIBLE, {"table": self._regclass}).one()
        if is_limited and not sees_all:
            raise ConfigurationError(
                f"row-level security shows connection `{self._hook.get_conn_id()}` only some rows of table "
                f"`{self._table}`, so a hidden person could not be told from a removed one: give its role a policy "
                "FOR SELECT USING (true) on the table, or BYPASSRLS"
            )

    @property
    def _regclass(self) -> str:
        schema = "" if self._table.schema is None else f"{quote(self._table.schema)}."
        return schema + quote(self._table.name)

    def stage(self, rows: pa.RecordBatch) -> dict[str, Refused]:
        """Keep the batch in the form in which it is loaded."""
        if self._bulk is None:
            return super().stage(rows)
        refused: dict[str, Refused] = {}
        columns = []
        for name, column in zip(rows.schema.names, rows.columns, strict=True):
            if is_stageable(column.type):
                values, unfit = staged(column, Capacity())
            else:
                values, unfit = column.cast(pa.string()), {}
            columns.append(values)
            if unfit:
                refused[name] = unfit
        columns.append(pa.array(range(rows.num_rows), pa.int64()))
        if len(self._bulk.table.columns) > len(columns):
            columns.append(columns[rows.schema.get_field_index(self._key)])
        self._staged_rows = pa.Table.from_arrays(columns, names=[str(place) for place in range(len(columns))])
        return refused

    def write(self, positions: Sequence[int]) -> None:
        """Load and upsert, in one transaction."""
        try:
            self._write(positions)
        except RowRefusedError as error:
            # Of several rows, it is unknown which one was refused.
            if error.column or error.code not in _OVERSIZED or len(positions) > 1:
                raise
            column = oversized_column(self._staged_row(positions[0]), self._target.columns)
            raise RowRefusedError(error.code, column) from None

    def _staged_row(self, position: int) -> dict[str, object]:
        if self._bulk is None:
            return dict(zip(self._names, self._staged[position].values(), strict=True))
        return {name: self._staged_rows[place][position].as_py() for place, name in enumerate(self._names)}

    def _write(self, positions: Sequence[int]) -> None:
        bulk = self._bulk
        if bulk is None:
            super().write(positions)
            return
        rows = self._staged_rows.take(pa.array(positions, pa.int64()))

        def work(connection: sa.Connection) -> None:
            connection.execute(bulk.creation)
            _copy(connection, bulk, rows)
            codes = _unproven(connection, bulk)
            if codes:
                raise UnprovenError(codes, applied="nothing")

        self._in_transaction(work)

    def close(self) -> None:
        """Close the connections."""
        self._staged_rows = pa.table({})
        super().close()


def _unproven(connection: sa.Connection, bulk: BulkUpsert) -> Refused:
    """Upsert the loaded rows, and return codes for those that the table does not show as they were sent."""
    result = connection.execute(bulk.upsert)
    untouched = list(result.scalars()) if result.returns_rows else []
    if untouched:
        # A trigger may leave out updates that change nothing.
        untouched = sorted({*untouched} - {*connection.scalars(bulk.unchanged, {"positions": untouched})})
    unstored = connection.execute(bulk.unstored)
    changed = {position: KEY_CHANGED if is_there else NOT_STORED for position, is_there in unstored}
    return changed | dict.fromkeys(untouched, NOT_STORED)


def _copy(connection: sa.Connection, bulk: BulkUpsert, rows: pa.Table) -> None:
    dialect: Any = connection.dialect
    driver: Any = connection.connection.driver_connection

    def failed(error: Exception) -> Exception:
        # SQLAlchemy does not know COPY; this is the error that it raises for other statements.
        is_lost = dialect.is_disconnect(error, driver, None)
        if is_lost:
            connection.invalidate()
        return sa.exc.DBAPIError.instance(
            "COPY", None, error, dialect.dbapi.Error, connection_invalidated=is_lost, dialect=dialect
        )

    fenced(
        lambda: copy_into(driver, quote(bulk.table.name), bulk.table.columns.keys(), rows.to_batches()),
        failed,
        errors=(dialect.dbapi.Error,),
    )
