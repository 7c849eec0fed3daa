"""Removals of people from a table: their rows are deleted, or marked in a column. Runs no SQL."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    from airflow_consent_retl.databases.tables.writer import TableTarget, TargetColumn

OnRemove = Literal["delete", "mark"]
# The content of a mark: a boolean, or the time of the removal, in UTC without a zone or with its zone.
MarkKind = Literal["flag", "timestamp", "timestamptz"]


@dataclass(frozen=True, slots=True)
class Mark:
    """The column that marks removed people.

    Args:
        column: a boolean, set to true, or a timestamp, set to the time of the removal.
        nulls: also set the mapped columns to NULL, except the key.
    """

    column: str
    nulls: bool = False


def removal_mark(on_remove: OnRemove, *, column: str | None, nulls: bool) -> Mark | None:
    """Return the mark that removals leave; None if they delete.

    Raises:
        ConfigurationError: the parameters do not fit together.
    """
    if on_remove not in {"delete", "mark"}:
        raise ConfigurationError(f"on_remove is `delete` or `mark`, not `{on_remove}`")
    if on_remove == "mark" and column:
        return Mark(column, nulls)
    if on_remove == "mark":
        raise ConfigurationError('on_remove="mark" needs a mark_column')
    if column is not None or nulls:
        raise ConfigurationError('mark_column and mark_nulls belong to on_remove="mark"')
    return None


def mark_kind(column: TargetColumn) -> MarkKind | None:
    """Return the kind of mark that an existing column holds; None if it is neither boolean nor timestamp."""
    # In SQLite types are only names: a `BOOLEAN` column accepts timestamps too.
    if "boolean" in column.accepts and ("timestamptz" not in column.accepts or "BOOL" in column.shown.upper()):
        return "flag"
    if "timestamptz" in column.accepts:
        return "timestamptz"
    return "timestamp" if "timestamp" in column.accepts else None


def mark_problems(mark: Mark, target: TableTarget, *, mapped: Iterable[str], key: str) -> list[str]:
    """Return the reasons why the table cannot hold the mark."""
    fields = set(mapped)
    if mark.column in fields:
        return [f"mark_column `{mark.column}` is one of the fields: removals alone write it"]
    column = target.columns.get(mark.column)
    if column is None:
        return [f"there is no mark_column `{mark.column}`{suggestion(mark.column, target.columns.keys() - fields)}"]
    kind, problems = mark_kind(column), []
    if kind is None or column.generated:
        problems.append(f"mark_column `{mark.column}` ({column.shown}) is no boolean or timestamp that can be written")
    elif kind != "flag" and not column.nullable:
        problems.append(f"mark_column `{mark.column}` takes no NULL, which marks a person who is not removed")
    if mark.nulls:
        fixed = sorted((target.not_null & fields) - {key})
        problems.extend(f"mark_nulls: column `{name}` takes no NULL" for name in fixed)
    return problems
