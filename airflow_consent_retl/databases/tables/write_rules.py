"""The rules by which a row that is written meets a row of the table with the same key, column by column.

INVARIANT: in every mode, a NULL of a field that consent withholds empties the column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

from airflow_consent_retl.databases.tables.writer import kept_columns

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_consent_retl.contract.destination import Load, WriteMode
    from airflow_consent_retl.databases.tables.writer import Nulls

# `new`: the new value. `keep`: the new value, unless it is NULL. `fill`: the new value where the column is NULL.
# `clear`: NULL where the new value is, otherwise the old one. `fill_or_clear`: both. `stay`: the old value.
Rule = Literal["new", "keep", "fill", "clear", "fill_or_clear", "stay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRules:
    """The rules of one load.

    Args:
        mode: which rows are written.
        keep: the columns that stay as they are where the row has NULL.
        cleared: the columns whose NULL is written in every mode.
    """

    mode: WriteMode = "upsert"
    keep: Collection[str] = ()
    cleared: Collection[str] = ()

    @classmethod
    def of(cls, load: Load, nulls: Nulls) -> Self:
        """Return the rules of a load."""
        return cls(mode=load.write, keep=kept_columns(load, nulls), cleared=load.cleared)

    @property
    def inserts(self) -> bool:
        """True if a row whose key is not in the table is inserted."""
        return self.mode != "update_only"

    def of_column(self, name: str) -> Rule:
        """Return the rule of a column that is not the key."""
        match self.mode:
            case "create_only":
                return "clear" if name in self.cleared else "stay"
            case "fill_empty":
                return "fill_or_clear" if name in self.cleared else "fill"
            case _:
                return "keep" if name in self.keep else "new"

    def sql(self, name: str, *, new: str, old: str) -> str | None:
        """Return the expression of a column's value after an update; None: it stays as it is."""
        match self.of_column(name):
            case "new":
                return new
            case "keep":
                return f"COALESCE({new}, {old})"
            case "fill":
                return f"COALESCE({old}, {new})"
            case "clear":
                return f"CASE WHEN {new} IS NOT NULL THEN {old} END"
            case "fill_or_clear":
                return f"CASE WHEN {new} IS NOT NULL THEN COALESCE({old}, {new}) END"
            case "stay":
                return None

    def holds(self, name: str, *, new: Any, old: Any) -> bool:
        """Return whether a row of the table has, in a column, the value that it has after the update."""
        match self.of_column(name):
            case "new":
                return bool(old == new)
            case "keep":
                return new is None or bool(old == new)
            case "fill":
                return old is not None or new is None
            case "clear":
                return new is not None or old is None
            case "fill_or_clear":
                return (new is None) == (old is None)
            case "stay":
                return True
