"""The look at a SQLite table after a statement: all keys of a transaction in one statement, inside the database.

Reading each key back takes longer than writing the rows. SQLite reads a list of keys as JSON, and counts those that the
table shows; only if one is missing, the keys are read back one by one, to tell which and why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from airflow_consent_retl.databases.tables.proof import Proof

if TYPE_CHECKING:
    from collections.abc import Sequence


class SqliteProof(Proof):
    """Looks for keys in one table of SQLite. Arguments are those of `Proof`."""

    def shows_all(self, connection: sa.Connection, keys: Sequence[object]) -> bool:
        """Return whether the table shows exactly each key; False also where this statement cannot tell.

        Args:
            keys: ascending, which is the order of the index.
        """
        kinds = set(map(type, keys))
        if len(kinds) != 1 or not kinds <= {int, str}:
            return False
        sent = sa.func.json_each(msgspec.json.encode(keys).decode()).table_valued("value")
        # A key that is no text is looked for as the database compares; a text has to be there byte by byte.
        same = [self._key == sent.c.value]
        if kinds == {str}:
            same += [sa.func.typeof(self._key) == "text", self._key.collate("BINARY") == sent.c.value]
        one: sa.ColumnElement[int] = sa.literal_column("1")
        there = sa.exists(sa.select(one).select_from(self._table).where(*same).correlate(sent))
        try:
            found = connection.execute(sa.select(sa.func.count()).select_from(sent).where(there)).scalar_one()
        except sa.exc.OperationalError as error:
            # A SQLite without JSON; every other error is as likely in the statements that follow.
            if error.connection_invalidated:
                raise
            return False
        return bool(found == len(keys))
