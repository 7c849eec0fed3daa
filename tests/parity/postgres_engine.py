"""The seeded model on PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from parity.engines import Engine, Row
from support.postgres import Postgres


class PostgreSql(Engine):
    """A PostgreSQL server with a case-insensitive text type like the one of the extension citext."""

    name = "postgres"
    types: ClassVar[Mapping[str, str]] = {
        "boolean": "boolean",
        "text": "text",
        "padded": "char(6)",
        "folded": "parity.citext",
        "integer": "bigint",
        "decimal": "numeric(38, 6)",
        "huge": "numeric(38, 0)",
        "numeric": "numeric",
        "float": "double precision",
        "moment": "timestamp",
        "instant": "timestamptz",
        "date": "date",
        "bytes": "bytea",
        "json_text": "json",
        "json": "jsonb",
    }
    _TEXT: ClassVar[Mapping[str, str]] = {"nul": "PostgreSQL's text has no U+0000"}
    cannot: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "text": _TEXT,
        "padded": _TEXT,
        "folded": _TEXT,
        "json_text": {**_TEXT, "not_json": "json takes JSON only"},
        "json": {
            **_TEXT,
            "not_json": "jsonb takes JSON only",
            "escaped_nul": "jsonb has no U+0000",
            "surrogate": "jsonb has no lone surrogates",
        },
    }
    repeated: ClassVar[Literal["all", "first", "last"]] = "last"
    pads: ClassVar[bool] = True
    staging: ClassVar[str | None] = "parity_staging"
    id_kinds: ClassVar[tuple[str, ...]] = (*Engine.id_kinds, "numeric", "moment", "instant", "date", "bytes")

    def __init__(self, server: Postgres) -> None:
        super().__init__(server.airflow_connection())
        self._server = server
        with server.connect() as connection:
            for statement in (*_CITEXT, f"CREATE SCHEMA IF NOT EXISTS {self.staging}"):
                connection.execute(statement)

    def query(self, table: str, kinds: Mapping[str, str]) -> str:
        """Quote the names, which may have capital letters."""
        names = ", ".join(f'"{name}"' for name in kinds)
        return f"SELECT {names} FROM {table}"

    def create(self, table: str, kinds: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Insert with parameters, each with the column's type."""
        columns = ", ".join(f'"{name}" {self.types[kind]}' for name, kind in kinds.items())
        values = ", ".join(f"CAST(%s AS {self.types[kind]})" for kind in kinds.values())
        with self._server.connect() as connection:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.execute(f"CREATE TABLE {table} ({columns})")
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(
                    f"INSERT INTO {table} VALUES ({values})", [tuple(row[name] for name in kinds) for row in rows]
                )


# The statements of the extension's own script, with comparisons in SQL: the tests' server has no extensions.
# https://github.com/postgres/postgres/blob/REL_18_0/contrib/citext/citext--1.4.sql (read 2026-11-24)
_CITEXT = (
    "DROP SCHEMA IF EXISTS parity CASCADE",
    "CREATE SCHEMA parity",
    "CREATE TYPE parity.citext",
    "CREATE FUNCTION parity.citextin(cstring) RETURNS parity.citext LANGUAGE internal IMMUTABLE STRICT AS 'textin'",
    "CREATE FUNCTION parity.citextout(parity.citext) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout'",
    "CREATE FUNCTION parity.citextrecv(internal) RETURNS parity.citext LANGUAGE internal STABLE STRICT AS 'textrecv'",
    "CREATE FUNCTION parity.citextsend(parity.citext) RETURNS bytea LANGUAGE internal STABLE STRICT AS 'textsend'",
    """CREATE TYPE parity.citext (
        INPUT = parity.citextin, OUTPUT = parity.citextout, RECEIVE = parity.citextrecv, SEND = parity.citextsend,
        INTERNALLENGTH = VARIABLE, STORAGE = extended, CATEGORY = 'S', PREFERRED = false, COLLATABLE = true)""",
    "CREATE CAST (parity.citext AS text) WITHOUT FUNCTION AS IMPLICIT",
    "CREATE CAST (parity.citext AS varchar) WITHOUT FUNCTION AS IMPLICIT",
    "CREATE CAST (text AS parity.citext) WITHOUT FUNCTION AS ASSIGNMENT",
    "CREATE CAST (varchar AS parity.citext) WITHOUT FUNCTION AS ASSIGNMENT",
    *(
        f"CREATE FUNCTION parity.citext_{name}(parity.citext, parity.citext) RETURNS boolean LANGUAGE sql IMMUTABLE "
        f"STRICT AS 'SELECT lower($1::text) {sign} lower($2::text)'"
        for name, sign in (("eq", "="), ("ne", "<>"), ("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="))
    ),
    "CREATE FUNCTION parity.citext_cmp(parity.citext, parity.citext) RETURNS integer LANGUAGE sql IMMUTABLE STRICT "
    "AS 'SELECT bttextcmp(lower($1::text), lower($2::text))'",
    "CREATE FUNCTION parity.citext_hash(parity.citext) RETURNS integer LANGUAGE sql IMMUTABLE STRICT "
    "AS 'SELECT hashtext(lower($1::text))'",
    "CREATE OPERATOR parity.= (LEFTARG = parity.citext, RIGHTARG = parity.citext, COMMUTATOR = OPERATOR(parity.=), "
    "FUNCTION = parity.citext_eq, HASHES, MERGES)",
    *(
        f"CREATE OPERATOR parity.{sign} (LEFTARG = parity.citext, RIGHTARG = parity.citext, "
        f"FUNCTION = parity.citext_{name})"
        for name, sign in (("ne", "<>"), ("lt", "<"), ("le", "<="), ("gt", ">"), ("ge", ">="))
    ),
    """CREATE OPERATOR CLASS parity.citext_ops DEFAULT FOR TYPE parity.citext USING btree AS
        OPERATOR 1 parity.<, OPERATOR 2 parity.<=, OPERATOR 3 parity.=, OPERATOR 4 parity.>=, OPERATOR 5 parity.>,
        FUNCTION 1 parity.citext_cmp(parity.citext, parity.citext)""",
    """CREATE OPERATOR CLASS parity.citext_ops DEFAULT FOR TYPE parity.citext USING hash AS
        OPERATOR 1 parity.=, FUNCTION 1 parity.citext_hash(parity.citext)""",
)
