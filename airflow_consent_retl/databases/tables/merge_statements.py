"""A warehouse that is entered for one table, and the statements on a batch that is loaded next to that table.

Executes nothing by itself.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from airflow_consent_retl.databases.staging import Warehouse
from airflow_consent_retl.databases.tables.removal_marks import mark_kind

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.databases.tables.removal_marks import Mark, MarkKind
    from airflow_consent_retl.databases.tables.write_rules import WriteRules
    from airflow_consent_retl.databases.tables.writer import TableTarget

Rows: TypeAlias = Sequence[Sequence[object]]
# Columns of a batch's table: the position of each row or person, and the key. Other columns are C1, C2 and so on.
POSITION, KEY = "P", "C0"


class TargetWarehouse(Warehouse):
    """A warehouse that is entered for one table, and has the table of each batch in the same schema.

    Unlike other warehouses, it raises the errors of a `TableWriter`, always with `in_commit`.
    """

    @property
    @abstractmethod
    def target(self) -> str:
        """The table's name, quoted."""

    @abstractmethod
    def rows(self, statement: str) -> Rows:
        """Run a statement to its end, and return its rows."""

    @abstractmethod
    def names(self) -> list[str]:
        """Return the names of all tables in the table's schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeStatements:
    """The statements for one table. `source` is a batch's table with a WHERE that selects some of its rows.

    Args:
        warehouse: entered for the table.
        target: its columns.
        schema: of the rows.
        key: the column that identifies a row.
        rules: how a row meets a row of the table.
        mark: what a removal leaves; None deletes.
        value: returns the expression that converts a loaded value, for its type and the column's type.
        mark_time: returns the expression for the time of a mark.
    """

    warehouse: TargetWarehouse
    target: TableTarget
    schema: pa.Schema
    key: str
    rules: WriteRules
    mark: Mark | None
    value: Callable[[str, pa.DataType, str], str]
    mark_time: Callable[[MarkKind | None, str, datetime], str]

    def upsert(self, source: str, names: Sequence[str]) -> str:
        """Return the MERGE of rows with these columns, the key first."""
        quote = self.warehouse.quote
        values = {}
        for index, name in enumerate(names):
            column, kind = quote(loaded_name(index)), self.schema.field(name).type
            values[name] = self.value(column, kind, self.target.columns[name].shown) + f" AS {column}"
        loaded = {name: f"source.{quote(loaded_name(index))}" for index, name in enumerate(names)}
        changes = {
            name: value
            for name, new in loaded.items()
            if name != self.key and (value := self.rules.sql(name, new=new, old=f"target.{quote(name)}")) is not None
        }
        if self.mark is not None:
            # A person who is sent again is no longer removed, so the mark is cleared.
            loaded[self.mark.column] = changes[self.mark.column] = "FALSE" if self._mark_kind == "flag" else "NULL"
        changed = ", ".join(f"{quote(name)} = {new}" for name, new in changes.items())
        update = f"WHEN MATCHED THEN UPDATE SET {changed} " if changed else ""
        names_of = ", ".join(map(quote, loaded))
        insert = f"WHEN NOT MATCHED THEN INSERT ({names_of}) VALUES ({', '.join(loaded.values())})"  # noqa: S608
        actions = f"{update}{insert if self.rules.inserts else ''}"
        if not actions:
            # Rows that have a key only, and no one is added: nothing can change.
            return f"SELECT 1 FROM {self.warehouse.target} WHERE FALSE"  # noqa: S608 - names are quoted
        return (
            f"MERGE INTO {self.warehouse.target} AS target "  # noqa: S608 - names are quoted
            f"USING (SELECT {', '.join(values.values())} FROM {source}) AS source "
            f"ON target.{quote(self.key)} = source.{quote(KEY)} {actions}"
        )

    def removal(self, source: str) -> str:
        """Return the statement that deletes or marks people."""
        table, condition = self.warehouse.target, self._has_key_of(source)
        if self.mark is None:
            return f"DELETE FROM {table} WHERE {condition}"  # noqa: S608 - names are quoted
        mark, kind = self.warehouse.quote(self.mark.column), self._mark_kind
        changes = [f"{mark} = TRUE"]
        if kind != "flag":
            time = self.mark_time(kind, self.target.columns[self.mark.column].shown, datetime.now(UTC))
            changes = [f"{mark} = COALESCE({mark}, {time})"]
        changes += [f"{self.warehouse.quote(name)} = NULL" for name in self._emptied]
        return f"UPDATE {table} SET {', '.join(changes)} WHERE {condition}"  # noqa: S608 - names are quoted

    def emptying(self, source: str, names: Sequence[str]) -> str:
        """Return the statement that sets columns of people to NULL."""
        changes = ", ".join(f"{self.warehouse.quote(name)} = NULL" for name in names)
        return f"UPDATE {self.warehouse.target} SET {changes} WHERE {self._has_key_of(source)}"  # noqa: S608 - quoted

    def unemptied(self, source: str, names: Sequence[str]) -> str:
        """Return the query for the positions of people with a row that still has a value in one of some columns."""
        kept = " OR ".join(f"{self.warehouse.quote(name)} IS NOT NULL" for name in names)
        return self._positions(source, "IN", [f"({kept})"])

    def readable(self) -> str:
        """Return a query without rows of the columns that are read back."""
        read_back = [self.key, self.mark.column] if self.mark else [self.key]
        columns = ", ".join(map(self.warehouse.quote, read_back))
        return f"SELECT {columns} FROM {self.warehouse.target} WHERE FALSE"  # noqa: S608 - names are quoted

    def hidden(self, source: str) -> str:
        """Return the query for the positions of rows whose key the table does not show."""
        return self._positions(source, "NOT IN", [])

    def unremoved(self, source: str) -> str:
        """Return the query for the positions of people with a row that is not marked or not emptied."""
        conditions = []
        if self.mark is not None:
            mark = self.warehouse.quote(self.mark.column)
            is_unmarked = f"COALESCE({mark}, FALSE) = FALSE" if self._mark_kind == "flag" else f"{mark} IS NULL"
            kept = [f"{self.warehouse.quote(name)} IS NOT NULL" for name in self._emptied]
            conditions.append(f"({' OR '.join([is_unmarked, *kept])})")
        return self._positions(source, "IN", conditions)

    def _positions(self, source: str, how: str, conditions: Sequence[str]) -> str:
        key, table = self.warehouse.quote(self.key), self.warehouse.target
        shown = " AND ".join([self._has_key_of(source), *conditions])
        return (
            f"SELECT {self.warehouse.quote(POSITION)} FROM {source} "  # noqa: S608 - names are quoted
            f"AND {self._sent_key} {how} (SELECT {key} FROM {table} WHERE {shown})"
        )

    def _has_key_of(self, source: str) -> str:
        return f"{self.warehouse.quote(self.key)} IN (SELECT {self._sent_key} FROM {source})"  # noqa: S608 - quoted

    @property
    def _sent_key(self) -> str:
        column, kind = self.warehouse.quote(KEY), self.schema.field(self.key).type
        return self.value(column, kind, self.target.columns[self.key].shown)

    @property
    def _emptied(self) -> list[str]:
        emptied = self.mark is not None and self.mark.nulls
        return [name for name in self.schema.names if name != self.key and name in self.target.columns and emptied]

    @property
    def _mark_kind(self) -> MarkKind | None:
        return None if self.mark is None else mark_kind(self.target.columns[self.mark.column])


def loaded_name(index: int) -> str:
    """Return the name of a column of a batch's table."""
    return f"C{index}"
