"""The table writer for SQLite: rows in the order of their keys, through the driver's own `executemany`.

Keys of a model come in no order, so each insert would touch another page of the key's index.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_consent_retl.databases.tables.core import CoreWriter

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.databases.tables.statements import Parameters, Upsert

# SQLite's default is 2 MiB, less than the pages of an index that a transaction touches.
_CACHE_KIB = 65_536


class SqliteWriter(CoreWriter):
    """Writes through the engine of an Airflow hook. Arguments are those of `CoreWriter`."""

    def _prepare(self, load: Load, *, key: str) -> None:
        super()._prepare(load, key=key)
        # Airflow's engine opens a file anew for each transaction.
        sa.event.listen(self._opened, "connect", _enlarge_cache)

    def _touched(self, connection: sa.Connection, upsert: Upsert, rows: list[Parameters]) -> int | None:
        insert = upsert.one
        if insert is None:
            return upsert(connection, rows)
        compiled = insert.compile(dialect=connection.dialect)
        given = compiled.positiontup or []
        if not rows or not rows[0].keys() >= set(given):
            return upsert(connection, rows)
        key = itemgetter(self._key_parameter)
        ordered = rows if any(key(row) is None for row in rows) else sorted(rows, key=key)
        values = itemgetter(*given) if len(given) > 1 else lambda row: (row[given[0]],)
        found = connection.exec_driver_sql(
            str(compiled), [values(row) for row in ordered], execution_options={"preserve_rowcount": True}
        )
        return found.rowcount if upsert.is_counted else None


def _enlarge_cache(connection: Any, _: object) -> None:
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
