"""PostgreSQL as a source: COPY in a read-only transaction, with the types that the server declares.

A result with arrays, or with another type whose text is not its value, is read through a server-side cursor instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_consent_retl.databases.cursor_rows import RowColumn, RowConverter
from airflow_consent_retl.databases.plain_query import plain_query
from airflow_consent_retl.databases.postgres.copy_in import literal
from airflow_consent_retl.databases.postgres.copy_out import copied_arrays, copied_blocks, copy_statement, is_psycopg2
from airflow_consent_retl.databases.postgres.edge_values import exact
from airflow_consent_retl.databases.source import DbApiSource
from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError, SourceUnavailableError

if TYPE_CHECKING:
    from airflow_consent_retl.databases.fence import Stage

_CURSOR = "consent_retl"
# Types with a smaller OID are the server's own: https://www.postgresql.org/docs/current/system-catalog-initial-data.html
_FIRST_OF_USERS = 16_384
_NUMERIC, _JSON, _JSONB = 1700, 114, 3802
_ZONED = pa.timestamp("us", "UTC")
# The text of a value must not depend on the server's or the role's settings.
_SETTINGS = (
    "SET LOCAL datestyle TO 'ISO'; SET LOCAL intervalstyle TO 'iso_8601'; SET LOCAL bytea_output TO 'hex'; "
    "SET LOCAL extra_float_digits TO 1; "
)

# https://github.com/postgres/postgres/blob/REL_18_0/src/include/catalog/pg_type.dat (read 2026-11-23)
_TYPES = {
    16: pa.bool_(),
    17: pa.binary(),
    19: pa.string(),
    20: pa.int64(),
    21: pa.int16(),
    23: pa.int32(),
    25: pa.string(),
    26: pa.int64(),
    _JSON: pa.string(),
    700: pa.float32(),
    701: pa.float64(),
    1042: pa.string(),
    1043: pa.string(),
    1082: pa.date32(),
    1083: pa.time64("us"),
    1114: pa.timestamp("us"),
    1184: _ZONED,
    1186: pa.string(),
    1266: pa.string(),
    2950: pa.string(),
    _JSONB: pa.string(),
}
# Read as the text that the server sends: Python's types would lose digits, months, zones or infinity.
_TEXT_TYPES = {
    "json": _JSON,
    "jsonb": _JSONB,
    "date": 1082,
    "time": 1083,
    "timestamp": 1114,
    "timestamptz": 1184,
    "interval": 1186,
    "timetz": 1266,
    "uuid": 2950,
    "inet": 869,
    "cidr": 650,
    "int4range": 3904,
    "int8range": 3926,
    "numrange": 3906,
    "daterange": 3912,
    "tsrange": 3908,
    "tstzrange": 3910,
    "int4multirange": 4451,
    "int8multirange": 4536,
    "nummultirange": 4532,
    "datemultirange": 4535,
    "tsmultirange": 4533,
    "tstzmultirange": 4534,
}
# Lists of time, timestamp, date, timestamptz, interval and timetz.
_LISTS_OF_TIMES = (1183, 1115, 1182, 1185, 1187, 1270)
# Classes of SQLSTATE whose messages are about the statement: syntax and names; unsupported features.
_STATEMENT_SQLSTATES = ("42", "0A")
_NOT_TRANSIENT_AT_CONNECT = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied")


class PostgresSource(DbApiSource):
    """One query through Airflow's `PostgresHook`, with psycopg 3 or psycopg2."""

    def connect(self, resources: ExitStack) -> Any:
        """Return a connection that cannot write."""
        connection = super().connect(resources)
        # The fingerprint and the rows are read by two statements, which have to see the same rows.
        is_repeatable = self._query.has_fingerprint
        if is_psycopg2(connection):
            connection.set_session(readonly=True, isolation_level="REPEATABLE READ" if is_repeatable else None)
        else:
            from psycopg import IsolationLevel

            connection.read_only = True
            connection.isolation_level = IsolationLevel.REPEATABLE_READ if is_repeatable else None
        return connection

    def execute(self, connection: Any, resources: ExitStack) -> Any:
        """Declare a server-side cursor. It describes the result before the server computes a row."""
        with connection.cursor() as settings:
            settings.execute(_SETTINGS + f"SET LOCAL timezone TO {literal(self._query.time_zone)}")
        cursor = _psycopg2_cursor(connection) if is_psycopg2(connection) else _psycopg_cursor(connection)
        resources.callback(cursor.close)
        cursor.execute(self.statement)
        if cursor.description is None:
            # psycopg2 describes a server-side cursor with its first rows.
            cursor.fetchmany(0)
        return cursor

    def column(self, described: Sequence[Any]) -> RowColumn:
        """Return the column with the type that the server declares; None for a numeric without declared digits."""
        name, oid, precision, scale = described[0], described[1], described[4], described[5]
        if oid == _NUMERIC and precision and 1 <= precision <= 38 and 0 <= (scale or 0) <= precision:
            return RowColumn(name, pa.decimal128(precision, scale or 0))
        return RowColumn(name, _TYPES.get(oid))

    def fingerprint(self, connection: Any) -> str:
        """Have the server hash the text of each row."""
        query = plain_query(self.statement, dialect="postgres")
        hashed = "hashtextextended(ROW(consent_model.*)::text, 0)::numeric"
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*), sum({hashed}) FROM (\n{query}\n) AS consent_model")  # noqa: S608 - ours
            rows, total = cursor.fetchone()
        version = connection.info.server_version
        return f"postgres {version} {rows} {total}"

    def exact(self, array: pa.Array, type_: pa.DataType, /, *, column: str) -> pa.Array:
        """Read texts as PostgreSQL writes them."""
        return exact(array, type_, column=column)

    def _batches(self, cursor: Any, converter: RowConverter, resources: ExitStack) -> Iterator[pa.RecordBatch]:
        oids = [described[1] for described in cursor.description]
        if not all(map(_is_copied, oids)):
            return super()._batches(cursor, converter, resources)
        connection = cursor.connection
        self._guarded("prepare", cursor.close)
        statement = copy_statement(plain_query(self.statement, dialect="postgres"))
        blocks = copied_blocks(connection, statement, rows=self._query.batch_rows)
        # They are closed before the connection.
        resources.callback(blocks.close)
        return self._copied(blocks, converter, texts=[oid != _NUMERIC for oid in oids])

    def _copied(
        self, blocks: Iterator[bytes], converter: RowConverter, *, texts: list[bool]
    ) -> Iterator[pa.RecordBatch]:
        while (block := self._guarded("read", lambda: next(blocks, None))) is not None:
            yield converter.arrow_batch(copied_arrays(block, converter.columns, texts=texts))

    def translate(self, error: Exception, stage: Stage) -> ConsentRetlError:
        """Return an error with the server's message, if that is about the statement or the connection."""
        sqlstate = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
        primary = getattr(getattr(error, "diag", None), "message_primary", None) or ""
        if stage == "connect":
            message = str(error).strip()
            if any(part in message for part in _NOT_TRANSIENT_AT_CONNECT):
                return ConfigurationError(f"connection `{self._query.conn_id}` cannot be opened: {message}")
            return self._failure(error, stage, message)
        # INVARIANT: as soon as rows are computed, a message of any class may quote one: `email::regclass` does.
        if stage == "prepare" and sqlstate.startswith(_STATEMENT_SQLSTATES):
            return self._failure(error, stage, primary)
        if not sqlstate and type(error).__name__ in {"OperationalError", "InterfaceError"}:
            return SourceUnavailableError(f"connection `{self._query.conn_id}` is not available: the connection broke")
        return self._failure(error, "read")


def _is_copied(oid: int) -> bool:
    return oid in _TYPES or oid in _TEXT_TYPES.values() or oid == _NUMERIC or oid >= _FIRST_OF_USERS


def _psycopg_cursor(connection: Any) -> Any:
    from psycopg.rows import tuple_row
    from psycopg.types.string import TextLoader

    cursor = connection.cursor(_CURSOR, row_factory=tuple_row)
    for name in _TEXT_TYPES:
        cursor.adapters.register_loader(name, TextLoader)
    return cursor


def _psycopg2_cursor(connection: Any) -> Any:
    from psycopg2 import extensions, extras

    cursor = connection.cursor(_CURSOR, cursor_factory=extensions.cursor)
    extras.register_default_json(cursor, loads=lambda text: text)
    extras.register_default_jsonb(cursor, loads=lambda text: text)
    as_text = extensions.new_type(tuple(_TEXT_TYPES.values()), "TEXT", lambda value, _cursor: value)
    extensions.register_type(as_text, cursor)
    # Within a list, the driver would make the last day of year 9999 of `infinity`.
    extensions.register_type(extensions.new_array_type(_LISTS_OF_TIMES, "TEXT[]", as_text), cursor)
    return cursor
