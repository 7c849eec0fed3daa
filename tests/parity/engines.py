"""The databases of the seeded model: one small class per engine, with its types and the values that it cannot store.

A class creates tables and computes the value that the engine stores. It decides nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal

import duckdb
import pyarrow as pa
from parity.cases import Case

Row = Mapping[str, Any]
PADDED = 6
_JSON_KINDS = ("json_text", "json")


@dataclass(frozen=True, slots=True)
class Stored:
    """The value that an engine stores for a case, and its meaning."""

    value: Any
    status: str


class Engine(ABC):
    """A database behind an Airflow connection.

    Args:
        connection: the value of its `AIRFLOW_CONN_…` variable.
        variables: other environment variables that its client needs.

    Attributes:
        name: a name for messages.
        types: the SQL type of each kind of column. `json` is the engine's best type for JSON. `json_text` is a type
            that keeps the text of a document, if there is one.
        cannot: by kind of column, the features that it cannot store, each with the reason.
        repeated: which of several repeated keys the type of kind `json` keeps.
        pads: whether the type of kind `padded` pads with spaces.
        column_types: the types that the extraction must declare, by kind.
        staging: the staging schema, if there is a warehouse workspace.
        id_kinds: the kinds of column for ids.
        widens: the kinds of column whose Arrow type depends on the values.
    """

    name: ClassVar[str]
    types: ClassVar[Mapping[str, str]]
    cannot: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    repeated: ClassVar[Literal["all", "first", "last"]] = "all"
    pads: ClassVar[bool] = False
    column_types: ClassVar[Mapping[str, str]] = {}
    staging: ClassVar[str | None] = None
    id_kinds: ClassVar[tuple[str, ...]] = ("text", "integer", "huge", "padded", "folded")
    widens: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, connection: str, **variables: str) -> None:
        self._variables = {f"AIRFLOW_CONN_{self.conn_id.upper()}": connection, **variables}

    def environment(self, **more: str) -> AbstractContextManager[None]:
        """Set the variables of the connection, and the given ones, while the block runs."""
        return environment(**self._variables, **more)

    @property
    def conn_id(self) -> str:
        """The id of the Airflow connection."""
        return f"parity_{self.name}"

    def cannot_hold(self, kind: str, case: Case) -> str | None:
        """Return the reason why a column of this kind cannot store a case, or None."""
        reasons = self.cannot.get(kind, {})
        return next((reasons[feature] for feature in sorted(case.features) if feature in reasons), None)

    def stored(self, kind: str, case: Case, status: Mapping[Any, str]) -> Stored:
        """Return the value that the engine stores for a case.

        Args:
            kind: the kind of the column.
            case: a case that the engine can store.
            status: the meaning of each value of the column.
        """
        if kind == "padded" and self.pads and case.value is not None:
            padded = case.value.ljust(PADDED)
            return Stored(padded, status[padded])
        if kind == "json" and "repeated_key" in case.features and self.repeated != "all":
            kept = case.first if self.repeated == "first" else case.last
            assert kept is not None
            return Stored(_without_repeated_keys(case.value, keep=self.repeated), kept)
        return Stored(case.value, case.status)

    def id_stored(self, kind: str, value: Any) -> Any:
        """Return the id that the engine stores."""
        return value.ljust(PADDED) if kind == "padded" and self.pads and value is not None else value

    @abstractmethod
    def create(self, table: str, kinds: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Create a table with columns of these kinds. It replaces a table of the same name."""

    def query(self, table: str, kinds: Mapping[str, str]) -> str:
        """Return a model's query."""
        return f"SELECT {', '.join(kinds)} FROM {table}"

    def types_of(self, kinds: Mapping[str, str]) -> dict[str, str]:
        """Return `column_types` for an extraction."""
        return {name: self.column_types[kind] for name, kind in kinds.items() if kind in self.column_types}


class DuckDb(Engine):
    """A DuckDB file."""

    name = "duckdb"
    types: ClassVar[Mapping[str, str]] = {
        "boolean": "BOOLEAN",
        "text": "VARCHAR",
        "padded": "CHAR(6)",
        "folded": "VARCHAR COLLATE NOCASE",
        "integer": "BIGINT",
        "decimal": "DECIMAL(38, 6)",
        "huge": "DECIMAL(38, 0)",
        "float": "DOUBLE",
        "moment": "TIMESTAMP",
        "instant": "TIMESTAMPTZ",
        "date": "DATE",
        "bytes": "BLOB",
        "json_text": "JSON",
        "json": "JSON",
    }
    # DuckDB's JSON is text that was checked by a reader that accepts more than JSON.
    cannot: ClassVar[Mapping[str, Mapping[str, str]]] = {
        kind: {
            "not_json": "a cast to JSON refuses most texts that are not JSON",
            "surrogate": "a cast to JSON refuses lone surrogates",
        }
        for kind in _JSON_KINDS
    }

    def __init__(self, folder: Path) -> None:
        self._file = folder / "parity.duckdb"
        super().__init__(json.dumps({"conn_type": "duckdb", "host": str(self._file)}))

    def create(self, table: str, kinds: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Insert from an Arrow table."""
        columns = ", ".join(f"{name} {self.types[kind]}" for name, kind in kinds.items())
        given = pa.table({name: _arrow(kind, [row[name] for row in rows]) for name, kind in kinds.items()})
        with duckdb.connect(str(self._file)) as connection:
            connection.execute(f"CREATE OR REPLACE TABLE {table} ({columns})")
            connection.register("given", given)
            connection.execute(f"INSERT INTO {table} SELECT {', '.join(kinds)} FROM given")


class Sqlite(Engine):
    """A SQLite file: every value has its own type, and columns accept any type."""

    name = "sqlite"
    types: ClassVar[Mapping[str, str]] = dict.fromkeys(DuckDb.types, "") | {"folded": "TEXT COLLATE NOCASE"}
    cannot: ClassVar[Mapping[str, Mapping[str, str]]] = {"float": {"nan": "SQLite stores NaN as NULL"}}
    # The driver returns values without column types.
    column_types: ClassVar[Mapping[str, str]] = {"boolean": "bool", "decimal": "decimal128(38, 6)"}
    id_kinds: ClassVar[tuple[str, ...]] = ("text", "integer", "folded")

    def __init__(self, folder: Path) -> None:
        self._file = folder / "parity.sqlite"
        super().__init__(json.dumps({"conn_type": "sqlite", "host": str(self._file)}))

    def create(self, table: str, kinds: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Insert with parameters. Values without a SQLite type become text."""
        columns = ", ".join(f"{name} {self.types[kind]}" for name, kind in kinds.items())
        values = [tuple(_plain(row[name]) for name in kinds) for row in rows]
        with closing(sqlite3.connect(self._file)) as connection, connection:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.execute(f"CREATE TABLE {table} ({columns})")
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(kinds))})", values)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables while the block runs."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def text_of(value: Any) -> str | None:
    """Return a value as text that an engine can cast back; bytes in hex."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    return str(value.isoformat()) if isinstance(value, date) else str(value)


def _without_repeated_keys(text: str, *, keep: str) -> str:
    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        return dict(found if keep == "last" else reversed(found))

    # Only the type matters here, not the value of a number.
    return json.dumps(json.loads(text, object_pairs_hook=pairs, parse_float=lambda _: 0.5))


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int | float | str | bytes | None):
        return value
    return format(value, "f") if isinstance(value, Decimal) else value.isoformat()


_ARROW = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "decimal": pa.decimal128(38, 6),
    "huge": pa.decimal128(38, 0),
    "float": pa.float64(),
    "moment": pa.timestamp("us"),
    "instant": pa.timestamp("us", "UTC"),
    "date": pa.date32(),
    "bytes": pa.binary(),
}


def _arrow(kind: str, values: list[Any]) -> pa.Array:
    return pa.array(values, _ARROW.get(kind, pa.string()))
