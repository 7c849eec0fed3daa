"""Statements of the table writer for DuckDB, on a batch that is registered as a table. Executes nothing by itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_consent_retl.databases.tables.removal_marks import mark_kind
from airflow_consent_retl.databases.tables.writer import family

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.databases.tables.removal_marks import Mark, MarkKind
    from airflow_consent_retl.databases.tables.table_name import TableName
    from airflow_consent_retl.databases.tables.write_rules import WriteRules
    from airflow_consent_retl.databases.tables.writer import TableTarget

# The name of a batch, and of its column with the position of each row or person. A batch of people has the key as `id`.
BATCH, POSITION = "_consent_retl_batch", "_consent_retl_position"


class Statements:
    """The statements for one table.

    Args:
        table: to write to.
        target: its columns.
        schema: of the rows.
        key: the column that identifies a row.
        rules: how a row meets a row of the table.
        mark: what a removal leaves; None deletes.

    Attributes:
        upsert: upserts the rows of a batch.
        unstored: the position of each row of which the table does not show exactly the key, and whether it shows a key
            that the column takes for equal.
        removal: deletes or marks the people of a batch.
        unremoved: the position of each person who is still there: with a row that is not marked or not emptied.
    """

    def __init__(
        self,
        table: TableName,
        target: TableTarget,
        schema: pa.Schema,
        *,
        key: str,
        rules: WriteRules,
        mark: Mark | None,
    ) -> None:
        self._name = table_name(table)
        self._target = target
        self._names = schema.names
        self._key = key
        self._rules = rules
        self._mark = mark
        self.upsert = self._upsert_for()
        self.unstored = self._search_for_rows(is_text=family(schema.field(key).type) == "text")
        self.removal = self._removal_for()
        self.unremoved = self._search_for_people()

    def distinct(self, texts: Iterable[str]) -> str:
        """Return a query that has a row for each of some texts without quotes that the key column tells apart."""
        none = f"SELECT {quoted(self._key)} FROM {self._name} WHERE false"  # noqa: S608 - quoted
        # A UNION compares as its first column does.
        return " UNION ".join([none, *(f"SELECT '{text}'" for text in texts)])

    def _upsert_for(self) -> str:
        columns = values = ", ".join(map(quoted, self._names))
        changes = []
        for name in self._names:
            if name != self._key:
                new, old = f"excluded.{quoted(name)}", f"target.{quoted(name)}"
                value = self._rules.sql(name, new=new, old=old)
                changes += [] if value is None else [f"{quoted(name)} = {value}"]
        if self._mark is not None:
            # A person who is sent again is no longer removed, so the mark is cleared.
            mark, cleared = quoted(self._mark.column), "FALSE" if self._mark_kind == "flag" else "NULL"
            columns, values = f"{columns}, {mark}", f"{values}, {cleared}"
            changes.append(f"{mark} = {cleared}")
        if not self._rules.inserts:
            sent = self._as_key(f"excluded.{quoted(self._key)}")
            # Where there is only a key, nothing can change.
            if not changes:
                return "SELECT 1"
            return (
                f"UPDATE {self._name} AS target SET {', '.join(changes)} FROM {BATCH} AS excluded "  # noqa: S608 - quoted
                f"WHERE target.{quoted(self._key)} = {sent}"
            )
        action = f"UPDATE SET {', '.join(changes)}" if changes else "NOTHING"
        return (
            f"INSERT INTO {self._name} AS target ({columns}) SELECT {values} FROM {BATCH} "  # noqa: S608
            f"ON CONFLICT ({quoted(self._key)}) DO {action}"
        )

    def _removal_for(self) -> str:
        if self._mark is None:
            return self._statement_on_people("DELETE FROM", "")
        mark, kind = quoted(self._mark.column), self._mark_kind
        shown = self._target.columns[self._mark.column].shown
        time = f'(SELECT CAST(any_value("{kind}") AS {shown}) FROM {BATCH})'  # noqa: S608 - constants
        value = "TRUE" if kind == "flag" else f"coalesce({mark}, {time})"
        changes = [f"{mark} = {value}"]
        changes += [f"{quoted(name)} = NULL" for name in self._emptied]
        return self._statement_on_people("UPDATE", f"SET {', '.join(changes)}")

    def _statement_on_people(self, verb: str, changes: str) -> str:
        # A key that the column cannot hold becomes NULL, which matches no row: no person has it.
        condition = f"{quoted(self._key)} IN (SELECT {self._as_key('id')} FROM {BATCH})"  # noqa: S608 - quoted
        return f"{verb} {self._name} {changes} WHERE {condition}"

    def emptying(self, names: Iterable[str]) -> str:
        """Return the statement that sets columns of the people of a batch to NULL."""
        changes = ", ".join(f"{quoted(name)} = NULL" for name in names)
        return self._statement_on_people("UPDATE", f"SET {changes}")

    def unemptied(self, names: Iterable[str]) -> str:
        """Return the query for the position of each person who still has a value in one of some columns."""
        kept = " OR ".join(f"{quoted(name)} IS NOT NULL" for name in names)
        return self._positions_of([f"{quoted(self._key)} IS NOT NULL", f"({kept})"])

    def _search_for_people(self) -> str:
        conditions = [f"{quoted(self._key)} IS NOT NULL"]
        if self._mark is not None:
            mark = quoted(self._mark.column)
            is_unmarked = f"{mark} IS NOT TRUE" if self._mark_kind == "flag" else f"{mark} IS NULL"
            kept = [f"{quoted(name)} IS NOT NULL" for name in self._emptied]
            conditions.append(f"({' OR '.join([is_unmarked, *kept])})")
        return self._positions_of(conditions)

    def _positions_of(self, conditions: Iterable[str]) -> str:
        return (
            f"SELECT {POSITION} FROM {BATCH} WHERE {self._as_key('id')} "  # noqa: S608 - quoted, constants
            f"IN (SELECT {quoted(self._key)} FROM {self._name} WHERE {' AND '.join(conditions)})"
        )

    def _search_for_rows(self, *, is_text: bool) -> str:
        sent, shown = f"batch.{quoted(self._key)}", f"target.{quoted(self._key)}"
        is_exact = f"{shown} IS NOT NULL"
        if is_text:
            # As bytes: a collation takes different texts for equal.
            is_exact = f"encode(CAST({shown} AS VARCHAR)) = encode(CAST({sent} AS VARCHAR))"
        return (
            f"SELECT {POSITION}, count({shown}) > 0 FROM {BATCH} AS batch "  # noqa: S608 - quoted, constants
            f"LEFT JOIN {self._name} AS target ON {shown} = {self._as_key(sent)} "
            f"GROUP BY {POSITION} HAVING bool_or({is_exact}) IS NOT TRUE"
        )

    def _as_key(self, value: str) -> str:
        return f"TRY_CAST({value} AS {self._target.columns[self._key].shown})"

    @property
    def _emptied(self) -> list[str]:
        emptied = self._mark is not None and self._mark.nulls
        return [name for name in self._names if name != self._key and name in self._target.columns] if emptied else []

    @property
    def _mark_kind(self) -> MarkKind | None:
        return None if self._mark is None else mark_kind(self._target.columns[self._mark.column])


def table_name(table: TableName) -> str:
    """Return the table's name, quoted."""
    schema = "" if table.schema is None else f"{quoted(table.schema)}."
    return schema + quoted(table.name)


def quoted(name: str) -> str:
    """Return a name, quoted."""
    return '"' + name.replace('"', '""') + '"'
