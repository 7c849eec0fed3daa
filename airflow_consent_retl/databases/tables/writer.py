"""The interface of a table writer, its errors, and the checks that a table can take a load's rows.

The checks are the same for all databases. This module runs no SQL.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

import pyarrow as pa

from airflow_consent_retl.errors import ConfigurationError, PeopleMissingError
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.databases.tables.removal_marks import Mark
    from airflow_consent_retl.databases.tables.table_name import TableName

Nulls = Literal["overwrite", "keep"]
Family = Literal[
    "null",
    "boolean",
    "integer",
    "decimal",
    "float32",
    "float",
    "text",
    "binary",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "nested",
]
# The position in a batch of each row that the database cannot hold, and the reason code.
Refused = dict[int, str]

ALL_FAMILIES: frozenset[Family] = frozenset(get_args(Family)) - {"null"}


def kept_columns(load: Load, nulls: Nulls) -> frozenset[str]:
    """Return the columns that an upsert leaves as they are where the row has NULL."""
    kept = frozenset(load.schema.names) - load.nulls_sent if nulls == "keep" else frozenset()
    return kept | load.nulls_omitted


# Codes of rows that the database took without an error, and that it does not show as they were sent.
NOT_STORED, KEY_CHANGED, NOT_VISIBLE, NOT_REMOVED = "not_stored", "key_changed", "not_visible", "not_removed"
NOT_CLEARED = "not_cleared"
# Of a row that is only updated: no row has its key.
NO_ROW = "no_row"


class RowRefusedError(Exception):
    """The database refused one of the rows. The transaction applied nothing. `column`: of the value, where it says."""

    def __init__(self, code: str, column: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.column = column


class BusyError(Exception):
    """A lock, a deadlock or a full disk. The transaction applied nothing, and another try may succeed."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ConnectionLostError(Exception):
    """The connection broke. With `in_commit`, it is unknown whether the rows were applied."""

    def __init__(self, *, in_commit: bool) -> None:
        super().__init__("lost in commit" if in_commit else "lost")
        self.in_commit = in_commit


class UnprovenError(Exception):
    """After a statement, the table shows other rows than it should.

    Args:
        codes: why, by the position of each row that is not as it should be.
        applied: `"nothing"` where the transaction was rolled back; `"rest"` where all other rows are as they should be,
            and these are as they were; `"unknown"` where it cannot be seen what became of these.
    """

    def __init__(self, codes: Refused, *, applied: Literal["nothing", "rest", "unknown"]) -> None:
        super().__init__(f"{len(codes)} rows are not as they should be")
        self.codes = codes
        self.applied = applied


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetColumn:
    """A column of an existing table.

    Args:
        shown: its type as the database writes it.
        accepts: families of values that it holds exactly.
        scale: digits after the point that a decimal keeps; None for all.
        nullable: whether it can be NULL.
        filled: whether the database fills it when an INSERT omits it.
        generated: whether the database computes it, so that no statement may write to it.
    """

    shown: str
    accepts: frozenset[Family]
    scale: int | None = None
    nullable: bool = True
    filled: bool = False
    generated: bool = False


@dataclass(frozen=True, slots=True)
class TableTarget:
    """An existing table.

    Args:
        columns: by name.
        unique: the columns of each primary key and unique constraint.
        deferrable: those of them that are only checked at the end of a transaction.
        constrained: the column of each constraint and index that has just one, by its name; empty where errors name
            none.
    """

    columns: Mapping[str, TargetColumn]
    unique: frozenset[frozenset[str]] = field(default_factory=frozenset)
    deferrable: frozenset[frozenset[str]] = field(default_factory=frozenset)
    constrained: Mapping[str, str] = field(default_factory=dict)

    @property
    def not_null(self) -> frozenset[str]:
        """The columns that cannot be NULL."""
        return frozenset(name for name, column in self.columns.items() if not column.nullable)


class TableWriter(ABC):
    """A writer that upserts rows into one table, and removes people from it. Not safe for several threads.

    A batch is staged as rows or as people. `write` takes positions of staged rows; `remove`, `empty` and `holds` take
    positions of staged people.
    """

    @abstractmethod
    def open(self, load: Load, *, key: str) -> None:
        """Connect, and make or check the table.

        Raises:
            ConfigurationError: the fields do not fit the table.
            DestinationError: the database refuses the connection or the table.
            DestinationUnavailableError: the database does not answer.
        """

    @property
    @abstractmethod
    def not_null(self) -> frozenset[str]:
        """The columns that cannot be NULL."""

    @property
    @abstractmethod
    def columns(self) -> frozenset[str]:
        """The columns of the table."""

    @abstractmethod
    def stage(self, rows: pa.RecordBatch) -> dict[str, Refused]:
        """Take a batch, and return its rows with a value that the database cannot hold exactly, by column."""

    @abstractmethod
    def write(self, positions: Sequence[int]) -> None:
        """Upsert these rows of the staged batch in one transaction, and read their keys back.

        Raises:
            RowRefusedError: the database refused one of them.
            UnprovenError: the table does not show some of them under exactly their keys.
            BusyError: the transaction applied nothing.
            ConnectionLostError: the connection broke.
            DestinationError: no row can be written.
        """

    @abstractmethod
    def stage_removal(self, keys: pa.Array) -> Refused:
        """Take people's keys, and return those that the database cannot hold exactly: no row has them."""

    @abstractmethod
    def remove(self, positions: Sequence[int]) -> None:
        """Delete or mark those of these staged people who are in the table, and look for them, in one transaction.

        Raises as `write`; an `UnprovenError` has the people who are still there.
        """

    @abstractmethod
    def empty(self, positions: Sequence[int], names: Sequence[str]) -> None:
        """Set columns of those of these staged people who are in the table to NULL, and look, in one transaction.

        Raises as `write`; an `UnprovenError` has the people who still have a value in one of the columns.
        """

    @abstractmethod
    def holds(self, position: int) -> bool:
        """Return whether a row has this staged person's key and is not marked. Raises as `write`."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; may be called at any time, also twice."""


def family(kind: pa.DataType) -> Family | None:
    """Return the family of an Arrow type's values; None if no database can hold them."""
    if isinstance(kind, pa.BaseExtensionType):
        return {"arrow.uuid": "text", "arrow.json": "nested"}.get(kind.extension_name)  # type: ignore[return-value]
    if pa.types.is_dictionary(kind):
        return family(kind.value_type)
    if pa.types.is_timestamp(kind):
        return "timestamp" if kind.tz is None else "timestamptz"
    return next((name for name, fits in _FAMILIES if fits(kind)), None)


def check_fields(load: Load, *, case_sensitive: bool) -> None:
    """Raise a `ConfigurationError` that names all fields that no table of the database could hold.

    For a load without rows, the types do not matter: it only removes.
    """
    unfit = [f"`{field.name}` ({field.type})" for field in load.schema if family(field.type) is None]
    if unfit and load.rows:
        raise ConfigurationError(f"no column can hold {', '.join(unfit)}: cast them in the model")
    seen: dict[str, str] = {}
    for name in load.schema.names:
        if not name or "\0" in name:
            raise ConfigurationError(f"a field is named {name!a}, which no column can be")
        other = seen.setdefault(name if case_sensitive else name.casefold(), name)
        if other != name:
            raise ConfigurationError(f"the fields `{other}` and `{name}` would be the same column")


def check_target(load: Load, *, key: str, table: TableName, target: TableTarget, mark: Mark | None) -> None:
    """Raise a `ConfigurationError` with all reasons why the table cannot take the rows or the removals.

    For a load without rows only removals are checked: a column that was dropped since must not stop removals.
    """
    from airflow_consent_retl.databases.tables.removal_marks import mark_problems

    fields = [field for field in load.schema if load.rows or field.name == key]
    problems = []
    mapped = set(load.schema.names)
    for rows_field in fields:
        column = target.columns.get(rows_field.name)
        if column is None:
            free = target.columns.keys() - mapped
            problems.append(f"there is no column `{rows_field.name}`{suggestion(rows_field.name, free)}")
        elif column.generated and load.rows:
            problems.append(_generated(rows_field.name, is_key=rows_field.name == key))
        else:
            problems.extend(_unfit(rows_field, column))
    if load.rows:
        inserted = mapped | ({mark.column} if mark else set()) if load.write != "update_only" else {*target.columns}
        problems += _unfit_for_upserts(target, key=key, written=inserted)
    if mark is not None:
        problems += mark_problems(mark, target, mapped=mapped, key=key)
    if problems:
        counted = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigurationError(
            "\n".join([f"table `{table}` does not suit the fields, {counted}:", *(f"- {text}" for text in problems)])
        )


def _unfit_for_upserts(target: TableTarget, *, key: str, written: set[str]) -> list[str]:
    problems = []
    if frozenset({key}) not in target.unique and key in target.columns:
        problems.append(f"`{key}` is neither its primary key nor unique by itself")
    if frozenset({key}) in target.deferrable:
        problems.append(
            f"`{key}` is unique by a DEFERRABLE constraint, which no upsert can use: drop it, and add it NOT DEFERRABLE"
        )
    for name in sorted(target.columns.keys() - written):
        column = target.columns[name]
        if not column.nullable and not column.filled:
            problems.append(f"column `{name}` takes no NULL, has no default, and no field is mapped to it")
    return problems


def check_people(table: TableName, load: Load, *, is_there: bool) -> None:
    """Raise a `PeopleMissingError` if people were delivered to a table that is missing or empty.

    Args:
        table: of the load.
        load: with the number of people who were delivered before.
        is_there: whether the table exists, or whether it has a row.
    """
    if load.delivered and not is_there:
        raise PeopleMissingError(
            f"table `{table}` is missing or empty, and {load.delivered:,} people were delivered to it: if it was "
            "renamed or moved, name the table where they are now, and say so with moved_from. If it was dropped or "
            'emptied, run the load once with mode="full": it sends everyone again'
        )


class MissingTableError(ConfigurationError):
    """The table does not exist, and must not be made."""


def missing_table(table: TableName, others: Sequence[str]) -> MissingTableError:
    """Return the error for a missing table that must not be made."""
    return MissingTableError(
        f"table `{table}` does not exist{suggestion(table.name, others)}; create_table=True makes it"
    )


def _generated(name: str, *, is_key: bool) -> str:
    if is_key:
        return (
            f"column `{name}` is the key, and the database generates it: make it GENERATED BY DEFAULT or an ordinary "
            "column, so that it holds the model's keys"
        )
    return f"column `{name}` is generated by the database: leave it out of fields"


def _unfit(rows_field: pa.Field, column: TargetColumn) -> list[str]:
    name, kind = rows_field.name, rows_field.type
    group = family(kind)
    if group == "null":
        return []
    if group not in column.accepts:
        return [f"field `{name}` ({kind}) does not fit column `{name}` ({column.shown}): cast it in the model"]
    if group == "decimal" and column.scale is not None and kind.scale > column.scale:
        return [f"field `{name}` ({kind}) would be rounded by column `{name}` ({column.shown})"]
    return []


def _any_of(*names: str) -> Callable[[pa.DataType], bool]:
    # Older releases of pyarrow lack some types and their predicates.
    fits = [predicate for name in names if (predicate := getattr(pa.types, f"is_{name}", None)) is not None]
    return lambda kind: any(predicate(kind) for predicate in fits)


_FAMILIES: tuple[tuple[Family, Callable[[pa.DataType], bool]], ...] = (
    ("null", _any_of("null")),
    ("boolean", _any_of("boolean")),
    ("integer", _any_of("integer")),
    ("decimal", _any_of("decimal")),
    ("float32", _any_of("float16", "float32")),
    ("float", _any_of("float64")),
    ("text", _any_of("string", "large_string", "string_view")),
    ("binary", _any_of("binary", "large_binary", "fixed_size_binary", "binary_view")),
    ("date", _any_of("date")),
    ("time", _any_of("time")),
    ("nested", _any_of("list", "large_list", "fixed_size_list", "struct")),
)
