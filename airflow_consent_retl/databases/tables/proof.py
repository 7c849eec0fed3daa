"""The look at a table after a statement, in its transaction: the keys that it shows are compared with those sent.

A trigger, a rule or a policy may swallow a statement without an error, and a column may store a key in another form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from airflow_consent_retl.databases.tables.statements import KEYS_AT_ONCE, is_one_of, quoted, table_clause
from airflow_consent_retl.databases.tables.writer import KEY_CHANGED, NOT_CLEARED, NOT_REMOVED, NOT_STORED, Refused

if TYPE_CHECKING:
    from airflow_consent_retl.databases.tables.table_name import TableName

# The position of a row or of a person in their batch, and the key as it was bound.
Keyed = Sequence[tuple[int, object]]


class Proof:
    """Looks for keys in one table.

    Args:
        table: to look in.
        key: the column that identifies a row.
        mark: the column that marks removed people; None where they are deleted.
        is_flag: whether that column is a boolean.
        emptied: the columns that a removal sets to NULL, or that are cleared without one.
    """

    def __init__(
        self,
        table: TableName,
        *,
        key: str,
        mark: str | None = None,
        is_flag: bool = False,
        emptied: Sequence[str] = (),
    ) -> None:
        self._key: sa.ColumnClause[Any] = sa.column(quoted(key))
        marked: list[sa.ColumnClause[Any]] = [] if mark is None else [sa.column(quoted(mark))]
        others: list[sa.ColumnClause[Any]] = [sa.column(quoted(name)) for name in emptied]
        self._table = table_clause(table, self._key, *marked, *others)
        self._still_there: list[sa.ColumnElement[bool]] = []
        self._filled = [other.is_not(None) for other in others]
        for column in marked:
            unmarked = sa.or_(column.is_(None), column == sa.false()) if is_flag else column.is_(None)
            self._still_there = [sa.or_(unmarked, *self._filled)]

    def check_readable(self, connection: sa.Connection) -> None:
        """Read no row of the columns that are read back. The driver's error passes if the role may not read them."""
        connection.execute(sa.select(*self._table.columns).select_from(self._table).where(sa.false()))

    def has_rows(self, connection: sa.Connection) -> bool:
        """Return whether the table has a row."""
        one: sa.ColumnElement[int] = sa.literal_column("1")
        return connection.execute(sa.select(one).select_from(self._table).limit(1)).first() is not None

    def distinct(self, connection: sa.Connection, texts: Sequence[str]) -> int | None:
        """Return how many of some texts without quotes the key column tells apart; None if it takes no such text."""
        none: sa.Select[Any] = sa.select(self._key).select_from(self._table).where(sa.false())
        # A UNION compares as its first column does. Literals, since a parameter has a type of its own.
        literals: list[sa.Select[Any]] = [sa.select(sa.literal_column(f"'{text}'")) for text in texts]
        try:
            return len(connection.execute(sa.union(none, *literals)).all())
        except sa.exc.DBAPIError as error:
            if error.connection_invalidated:
                raise
            connection.rollback()
            return None

    def unstored(self, connection: sa.Connection, written: Keyed) -> Refused:
        """Return codes for the written rows of which the table does not show exactly the key."""
        is_text = any(isinstance(key, str) for _, key in written)
        shown: set[object] = set()
        for start in range(0, len(written), KEYS_AT_ONCE):
            keys = [key for _, key in written[start : start + KEYS_AT_ONCE]]
            query: sa.Select[Any] = sa.select(self._key).select_from(self._table).where(is_one_of(self._key, keys))
            found = connection.execute(query).scalars().all()
            shown.update(map(str, found) if is_text else map(_hashable, found))
        codes: Refused = {}
        for position, key in written:
            if key in shown:
                continue
            if not self._shows(connection, [(position, key)], []):
                codes[position] = NOT_STORED
            elif is_text:
                # The database takes both for equal, or has cut or padded the key.
                codes[position] = KEY_CHANGED
        return codes

    def unremoved(self, connection: sa.Connection, removed: Keyed) -> Refused:
        """Return codes for the people who are still there: with a row that is not marked or not emptied."""
        return self._left(connection, removed, self._still_there, NOT_REMOVED)

    def unemptied(self, connection: sa.Connection, emptied: Keyed) -> Refused:
        """Return codes for the people with a row that still has a value in one of the emptied columns."""
        return self._left(connection, emptied, [sa.or_(*self._filled)], NOT_CLEARED)

    def _left(
        self, connection: sa.Connection, removed: Keyed, conditions: list[sa.ColumnElement[bool]], code: str
    ) -> Refused:
        left: Refused = {}
        pieces = [removed[start : start + KEYS_AT_ONCE] for start in range(0, len(removed), KEYS_AT_ONCE)]
        while pieces:
            piece = pieces.pop()
            if not self._shows(connection, piece, conditions):
                continue
            if len(piece) == 1:
                left[piece[0][0]] = code
            else:
                middle = len(piece) // 2
                pieces += [piece[:middle], piece[middle:]]
        return left

    def _shows(self, connection: sa.Connection, keyed: Keyed, conditions: list[sa.ColumnElement[bool]]) -> bool:
        one: sa.ColumnElement[int] = sa.literal_column("1")
        found = is_one_of(self._key, [key for _, key in keyed])
        query: sa.Select[Any] = sa.select(one).select_from(self._table).where(found, *conditions)
        return connection.execute(query).first() is not None


def _hashable(value: Any) -> object:
    # A driver may return bytes as a view.
    return bytes(value) if isinstance(value, memoryview | bytearray) else value
