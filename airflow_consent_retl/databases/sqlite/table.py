"""The table writer for SQLite: rows in the order of their keys, through the driver's own `executemany`.

Keys of a model come in no order, so each insert would touch another page of the key's index. A transaction has many
rows, so their values are made a few thousand at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from airflow_consent_retl.databases.sqlite.proof import SqliteProof
from airflow_consent_retl.databases.tables.core import CoreWriter
from airflow_consent_retl.databases.tables.statements import parameter_names
from airflow_consent_retl.databases.tables.values import bound_values, unfit_values
from airflow_consent_retl.databases.tables.writer import Family, family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.databases.tables.proof import Proof
    from airflow_consent_retl.databases.tables.statements import Parameters, Upsert
    from airflow_consent_retl.databases.tables.writer import Refused

# SQLite's default is 2 MiB, less than the pages of an index that a transaction touches.
_CACHE_KIB = 65_536
_VALUES_AT_ONCE = 65_536
T = TypeVar("T", pa.Array, pa.RecordBatch)
_ORDERED: frozenset[Family | None] = frozenset({"integer", "text"})


class SqliteWriter(CoreWriter):
    """Writes through the engine of an Airflow hook. Arguments are those of `CoreWriter`."""

    _proof_class = SqliteProof
    _rows: pa.RecordBatch

    def _prepare(self, load: Load, *, key: str) -> None:
        super()._prepare(load, key=key)
        # Airflow's engine opens a file anew for each transaction.
        sa.event.listen(self._opened, "connect", _enlarge_cache)

    def stage(self, rows: pa.RecordBatch) -> dict[str, Refused]:
        """Keep the rows, and find the values that SQLite cannot hold."""
        self._rows = rows = _without_views(rows)
        refused: dict[str, Refused] = {}
        for start in range(0, rows.num_rows, self._rows_at_once):
            piece = rows.slice(start, self._rows_at_once)
            for name, column in zip(piece.schema.names, piece.columns, strict=True):
                for position, code in unfit_values(column, dialect=self._dialect).items():
                    refused.setdefault(name, {})[start + position] = code
        return refused

    def _unstored(self, connection: sa.Connection, proof: Proof, positions: Sequence[int]) -> Refused:
        keys = self._staged_rows(positions).column(self._key)
        ordered = _in_order(keys, keys)
        pieces = (ordered.slice(start, _VALUES_AT_ONCE) for start in range(0, len(ordered), _VALUES_AT_ONCE))
        if isinstance(proof, SqliteProof) and all(proof.shows_all(connection, self._bound(piece)) for piece in pieces):
            return {}
        return proof.unstored(connection, list(zip(positions, self._bound(keys), strict=True)))

    def _parameters(self, positions: Sequence[int]) -> list[Parameters]:
        names = parameter_names(self._names)
        rows = self._staged_rows(positions)
        return [dict(zip(names, row, strict=True)) for row in self._values(rows, self._names)]

    def _upserted(self, connection: sa.Connection, upsert: Upsert, positions: Sequence[int]) -> int | None:
        if upsert.one is None:
            return super()._upserted(connection, upsert, positions)
        compiled = upsert.one.compile(dialect=connection.dialect)
        column_of = dict(zip(parameter_names(self._names), self._names, strict=True))
        names = [column_of[parameter] for parameter in compiled.positiontup or []]
        rows = self._staged_rows(positions)
        ordered = _in_order(rows, rows.column(self._key))
        touched = 0
        for start in range(0, ordered.num_rows, self._rows_at_once):
            values = self._values(ordered.slice(start, self._rows_at_once), names)
            found = connection.exec_driver_sql(str(compiled), values, execution_options={"preserve_rowcount": True})
            touched += found.rowcount
        return touched if upsert.is_counted else None

    @property
    def _rows_at_once(self) -> int:
        return max(1, _VALUES_AT_ONCE // len(self._names))

    def _staged_rows(self, positions: Sequence[int]) -> pa.RecordBatch:
        return self._rows if len(positions) == self._rows.num_rows else self._rows.take(pa.array(positions, pa.int64()))

    def _bound(self, column: pa.Array) -> list[object]:
        return bound_values(column, dialect=self._dialect)[0]

    def _values(self, rows: pa.RecordBatch, names: Sequence[str]) -> list[tuple[object, ...]]:
        """Return the values of some columns of rows."""
        return list(zip(*(self._bound(rows.column(name)) for name in names), strict=True))


def _in_order(rows: T, keys: pa.Array) -> T:
    """Return rows in the order of their keys, where Arrow orders keys as SQLite does."""
    if family(keys.type) not in _ORDERED or isinstance(keys.type, pa.BaseExtensionType):
        return rows
    plain = keys.dictionary_decode() if pa.types.is_dictionary(keys.type) else keys
    # Batches of a large first load are in order as they come.
    is_ordered = pc.all(pc.less_equal(plain.slice(0, max(len(plain) - 1, 0)), plain.slice(1)), min_count=0)
    return rows if is_ordered.as_py() else rows.take(pc.sort_indices(plain))


def _without_views(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows of which some can be taken: Arrow takes none from a column of views."""
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    columns = [column.cast(plain.get(column.type, column.type)) for column in rows.columns]
    return pa.RecordBatch.from_arrays(columns, names=rows.schema.names)


def _enlarge_cache(connection: Any, _: object) -> None:
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
