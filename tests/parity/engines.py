"""The databases that hold the seeded model, each with types of its own, and what each of them cannot hold.

One small class an engine. It makes tables, and says what a value is once the engine has it; it decides nothing.
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
class Held:
    """What an engine makes of a case: the value that it holds, and what that means."""

    value: Any
    status: str


class Engine(ABC):
    """A database behind an Airflow connection.

    Args:
        connection: the value of its `AIRFLOW_CONN_…` variable.
        variables: others that its client needs.

    Attributes:
        name: for people.
        types: the SQL type of each kind of column. `json` is the engine's best type for JSON, `json_text` one that
            keeps the text of a document, if there is one.
        cannot: by kind of column, the features that it cannot hold, each with the reason.
        repeated: which of repeated keys the type of kind `json` keeps.
        pads: whether the type of kind `padded` fills up with spaces.
        column_types: what the extraction has to be told, by kind.
        staging: the staging schema, where there is a warehouse workspace.
        id_kinds: the kinds of column that ids come in.
        widens: the kinds of column of which only the values tell the Arrow type.
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
        """Set the variables that make the connection, and others, for as long as the block runs."""
        return environment(**self._variables, **more)

    @property
    def conn_id(self) -> str:
        """The Airflow connection."""
        return f"parity_{self.name}"

    def cannot_hold(self, kind: str, case: Case) -> str | None:
        """Return why a column of this kind cannot hold a case, or None."""
        reasons = self.cannot.get(kind, {})
        return next((reasons[feature] for feature in sorted(case.features) if feature in reasons), None)

    def held(self, kind: str, case: Case, status: Mapping[Any, str]) -> Held:
        """Return what the engine makes of a case.

        Args:
            kind: of the column.
            case: which it can hold.
            status: what each value of the column means.
        """
        if kind == "padded" and self.pads and case.value is not None:
            padded = case.value.ljust(PADDED)
            return Held(padded, status[padded])
        if kind == "json" and "repeated_key" in case.features and self.repeated != "all":
            kept = case.first if self.repeated == "first" else case.last
            assert kept is not None
            return Held(_without_repeated_keys(case.value, keep=self.repeated), kept)
        return Held(case.value, case.status)

    def id_held(self, kind: str, value: Any) -> Any:
        """Return what the engine makes of an id."""
        return value.ljust(PADDED) if kind == "padded" and self.pads and value is not None else value

    @abstractmethod
    def create(self, table: str, kinds: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Make a table, in place of one of the same name, with columns of these kinds."""

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
    # DuckDB's JSON is text that was once checked, by a reader that takes more than JSON.
    cannot: ClassVar[Mapping[str, Mapping[str, str]]] = {
        kind: {
            "not_json": "a cast to JSON refuses most of what is none",
            "surrogate": "a cast to JSON refuses lone surrogates",
        }
        for kind in _JSON_KINDS
    }

    def __init__(self, folder: Path) -> None:
        self._file = folder / "parity.duckdb"
        super().__init__(json.dumps({"conn_type": "duckdb", "host": str(self._file)}))

    def create(self, table: str, kinds: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Insert by way of Arrow."""
        columns = ", ".join(f"{name} {self.types[kind]}" for name, kind in kinds.items())
        given = pa.table({name: _arrow(kind, [row[name] for row in rows]) for name, kind in kinds.items()})
        with duckdb.connect(str(self._file)) as connection:
            connection.execute(f"CREATE OR REPLACE TABLE {table} ({columns})")
            connection.register("given", given)
            connection.execute(f"INSERT INTO {table} SELECT {', '.join(kinds)} FROM given")


class Sqlite(Engine):
    """A SQLite file: every value has a type of its own, and columns hold any."""

    name = "sqlite"
    types: ClassVar[Mapping[str, str]] = dict.fromkeys(DuckDb.types, "") | {"folded": "TEXT COLLATE NOCASE"}
    cannot: ClassVar[Mapping[str, Mapping[str, str]]] = {"float": {"nan": "SQLite stores NaN as NULL"}}
    # The driver gives values without a type.
    column_types: ClassVar[Mapping[str, str]] = {"boolean": "bool", "decimal": "decimal128(38, 6)"}
    id_kinds: ClassVar[tuple[str, ...]] = ("text", "integer", "folded")

    def __init__(self, folder: Path) -> None:
        self._file = folder / "parity.sqlite"
        super().__init__(json.dumps({"conn_type": "sqlite", "host": str(self._file)}))

    def create(self, table: str, kinds: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Insert by parameters; what SQLite has no type for becomes text."""
        columns = ", ".join(f"{name} {self.types[kind]}" for name, kind in kinds.items())
        values = [tuple(_plain(row[name]) for name in kinds) for row in rows]
        with closing(sqlite3.connect(self._file)) as connection, connection:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.execute(f"CREATE TABLE {table} ({columns})")
            connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(kinds))})", values)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set variables of the environment for a while."""
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
    """Return a value as the text that an engine casts back; octets in hex."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    return str(value.isoformat()) if isinstance(value, date) else str(value)


def _without_repeated_keys(text: str, *, keep: str) -> str:
    def pairs(found: list[tuple[str, object]]) -> dict[str, object]:
        return dict(found if keep == "last" else reversed(found))

    # Which number it is has no meaning: that it is one, has.
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
