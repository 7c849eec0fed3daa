"""The seeded model on Snowflake, through Snowflake's own client."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, ClassVar

from parity.engines import Engine, Row, text_of
from support.snowflake_server import Snowflake, SnowflakeServer

_ROWS_AT_ONCE = 200


class SnowflakeEngine(Engine):
    """A separate database. Names are quoted, so that they stay in lower case."""

    name = "snowflake"
    types: ClassVar[Mapping[str, str]] = {
        "boolean": "BOOLEAN",
        "text": "VARCHAR",
        # Snowflake never pads.
        "padded": "CHAR(6)",
        # The stand-in has no collations; Snowflake would have `COLLATE 'en-ci'` here.
        "folded": "VARCHAR",
        "integer": "NUMBER(38, 0)",
        "decimal": "NUMBER(38, 6)",
        "huge": "NUMBER(37, 0)",
        "float": "FLOAT",
        "moment": "TIMESTAMP_NTZ(6)",
        "instant": "TIMESTAMP_LTZ(6)",
        "date": "DATE",
        "bytes": "BINARY",
        # It has no type that keeps the text of JSON, other than text.
        "json_text": "VARCHAR",
        "json": "VARIANT",
    }
    cannot: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "huge": {"38_digits": "the stand-in stores NUMBER(38, 0) in 64 bits"},
        "json": {
            "not_json": "PARSE_JSON takes JSON only",
            "repeated_key": "PARSE_JSON refuses repeated keys",
            "surrogate": "PARSE_JSON refuses lone surrogates",
        },
    }
    staging: ClassVar[str | None] = "STAGING"
    id_kinds: ClassVar[tuple[str, ...]] = ("text", "integer", "huge")
    # Every integer is a NUMBER without decimal places: an extraction detects values that need more than 64 bits.
    widens: ClassVar[frozenset[str]] = frozenset({"integer", "huge"})

    def __init__(self, server: SnowflakeServer) -> None:
        database = Snowflake(server, f"PARITY_{uuid.uuid4().hex[:12].upper()}")
        super().__init__(database.airflow_connection(), REQUESTS_CA_BUNDLE=str(server.certificate))
        self._execute([f"CREATE SCHEMA IF NOT EXISTS {self.staging}"])

    def create(self, table: str, kinds: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Insert with parameters, all of them text."""
        columns = ", ".join(f'"{name}" {self.types[kind]}' for name, kind in kinds.items())
        selected = ", ".join(
            _READ.get(kind, "CAST({0} AS {1})").format(f"column{number}", self.types[kind])
            for number, kind in enumerate(kinds.values(), start=1)
        )
        one = f"({', '.join(['%s'] * len(kinds))})"
        inserts = []
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[start : start + _ROWS_AT_ONCE]
            values = [text_of(row[name]) for row in some for name in kinds]
            inserts.append(
                (f"INSERT INTO {table} SELECT {selected} FROM VALUES {', '.join([one] * len(some))}", values)
            )
        self._execute([f"CREATE OR REPLACE TABLE {table} ({columns})", *inserts])

    def query(self, table: str, kinds: Mapping[str, str]) -> str:
        """Return a model's query."""
        names = ", ".join(f'"{name}"' for name in kinds)
        return f"SELECT {names} FROM {table}"

    def _execute(self, statements: Sequence[str | tuple[str, list[Any]]]) -> None:
        from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook

        with (
            self.environment(),
            closing(SnowflakeHook(self.conn_id).get_conn()) as connection,
            closing(connection.cursor()) as cursor,
        ):
            for statement in statements:
                if isinstance(statement, str):
                    cursor.execute(statement)
                else:
                    cursor.execute(*statement)


_READ = {"json": "PARSE_JSON({0})", "bytes": "TO_BINARY({0}, 'HEX')"}
