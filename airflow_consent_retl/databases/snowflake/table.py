"""The table writer for Snowflake: Parquet through a temporary stage into a temporary table, then one MERGE."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa

from airflow_consent_retl.databases.snowflake.errors import translated
from airflow_consent_retl.databases.snowflake.session import SnowflakeSession, open_session
from airflow_consent_retl.databases.snowflake.source import quoted
from airflow_consent_retl.databases.snowflake.staging import SnowflakeWarehouse
from airflow_consent_retl.databases.tables.bulk import Capacity
from airflow_consent_retl.databases.tables.merge import MergeWriter
from airflow_consent_retl.databases.tables.merge_statements import TargetWarehouse
from airflow_consent_retl.databases.tables.writer import (
    BusyError,
    ConnectionLostError,
    Family,
    RowRefusedError,
    TableTarget,
    TargetColumn,
    family,
)
from airflow_consent_retl.errors import ConfigurationError, DestinationError, ModelError, SourceUnavailableError
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.databases.fence import Stage
    from airflow_consent_retl.databases.staging import StagingTable
    from airflow_consent_retl.databases.tables.merge_statements import Rows
    from airflow_consent_retl.databases.tables.removal_marks import MarkKind
    from airflow_consent_retl.databases.tables.table_name import TableName

# The effect of a statement must not depend on the account's or user's defaults.
# https://docs.snowflake.com/en/sql-reference/parameters (not read again)
_SETTINGS: Mapping[str, str | int | bool] = {
    "AUTOCOMMIT": True,
    "ERROR_ON_NONDETERMINISTIC_MERGE": True,
    "TIMESTAMP_INPUT_FORMAT": "AUTO",
    "TIME_INPUT_FORMAT": "AUTO",
}
_TYPE = re.compile(r"(?P<name>\w+)(?:\((?P<first>\d+)(?:,\s*(?P<second>\d+))?\))?(?P<rest>.*)", re.DOTALL)
_COLLATED = re.compile(r"COLLATE\s+'(?!utf8'|')(?P<name>[^']*)", re.IGNORECASE)
_ACCEPTED: dict[str, frozenset[Family]] = {
    "BOOLEAN": frozenset({"boolean"}),
    "NUMBER": frozenset({"integer", "decimal"}),
    "FLOAT": frozenset({"float32", "float"}),
    "VARCHAR": frozenset({"text"}),
    "BINARY": frozenset({"binary"}),
    "DATE": frozenset({"date"}),
    "TIME": frozenset({"time"}),
    "TIMESTAMP_NTZ": frozenset({"timestamp"}),
    "TIMESTAMP_LTZ": frozenset({"timestamptz"}),
    "TIMESTAMP_TZ": frozenset({"timestamptz"}),
    # Text is read as JSON, as other databases do.
    "VARIANT": frozenset({"text", "nested"}),
}
_MADE: dict[Family | None, str] = {
    "null": "VARCHAR",
    "boolean": "BOOLEAN",
    "float32": "FLOAT",
    "float": "FLOAT",
    "text": "VARCHAR",
    "binary": "BINARY",
    "date": "DATE",
    "time": "TIME(9)",
    "timestamp": "TIMESTAMP_NTZ(9)",
    "timestamptz": "TIMESTAMP_LTZ(9)",
    "nested": "VARIANT",
}
_MARK = "TIMESTAMP_LTZ(6)"
# Numbers from 100000 on are about values; SQLSTATEs are less precise. There is no list: these are from messages that
# users quote.
_VALUES = range(100_000, 110_000)
_CODES = {
    100038: "datatype",
    100039: "value_out_of_range",
    100069: "json",
    100072: "not_null",
    100078: "too_long",
    100090: "unique",
}


class SnowflakeWriter(MergeWriter["SnowflakeTarget"]):
    """Writes through a Snowflake hook's session. Names are quoted: `people` is not PEOPLE.

    The role needs SELECT, INSERT, UPDATE and DELETE on the table, and the right to make temporary tables and stages in
    its schema. These are dropped at the end of the session.
    """

    case_sensitive: ClassVar[bool] = True

    def _connected(self) -> SnowflakeTarget:
        return SnowflakeTarget(self._hook, self._table, conn_id=self._conn_id).__enter__()

    def _existing(self, warehouse: SnowflakeTarget) -> TableTarget | None:
        kind = warehouse.kinds(like=self._table.name).get(self._table.name)
        if kind is None:
            return None
        if "VIEW" in kind.upper():
            raise ConfigurationError(f"`{self._table}` is a view: name a table")
        columns = {}
        for column in warehouse.described():
            shown = str(column["type"])
            if column["name"] == self._key and (collated := _COLLATED.search(shown)):
                self._check_collation(shown, collated["name"])
            columns[str(column["name"])] = TargetColumn(
                shown=shown,
                accepts=_ACCEPTED.get(_parsed(shown)["name"], frozenset()),
                scale=int(_parsed(shown)["second"] or 0) if shown.startswith("NUMBER") else None,
                nullable=column["null?"] == "Y",
                filled=column["default"] is not None,
                generated=column["kind"] != "COLUMN" or bool(column.get("expression")),
            )
        return TableTarget(columns)

    def _create(self, warehouse: SnowflakeTarget, fields: Iterable[pa.Field], *, key: str, mark: str | None) -> None:
        columns = [
            f"{quoted(field.name)} {_made(field.type)}{' NOT NULL PRIMARY KEY' if field.name == key else ''}"
            for field in fields
        ]
        if mark is not None:
            columns.append(f"{quoted(mark)} {_MARK}")
        warehouse.rows(f"CREATE TABLE IF NOT EXISTS {warehouse.target} ({', '.join(columns)})")

    def _add(self, warehouse: SnowflakeTarget, fields: Iterable[pa.Field]) -> None:
        columns = ", ".join(f"{quoted(field.name)} {_made(field.type)}" for field in fields)
        warehouse.rows(f"ALTER TABLE {warehouse.target} ADD COLUMN {columns}")

    def _capacity(self, shown: str) -> Capacity:
        parsed = _parsed(shown)
        name, first = parsed["name"], parsed["first"]
        if name in {"VARCHAR", "BINARY"}:
            return Capacity(length=int(first) if first else None)
        if name == "NUMBER":
            return Capacity(whole_digits=int(first or 38) - int(parsed["second"] or 0))
        return Capacity(second_digits=int(first or 9))

    def _value(self, staged: str, kind: pa.DataType, shown: str) -> str:
        name, group = _parsed(shown)["name"], family(kind)
        if name == "VARIANT":
            return f"PARSE_JSON({staged})"
        if group in {"null", "time", "timestamptz"}:
            return f"CAST({staged} AS {shown})"
        return staged

    def _mark_time(self, kind: MarkKind | None, shown: str, now: datetime) -> str:
        zone = "+00:00" if kind == "timestamptz" else ""
        return f"CAST('{now:%Y-%m-%d %H:%M:%S.%f}{zone}' AS {shown})"


class SnowflakeTarget(SnowflakeWarehouse, TargetWarehouse):
    """The schema of one table, which holds batches in temporary tables. Raises the errors of a `TableWriter`.

    Args:
        hook: of the connection.
        table: in the schema; a table without a schema is in the connection's.
        conn_id: of the connection, for messages.
    """

    def __init__(self, hook: DbApiHook, table: TableName, *, conn_id: str) -> None:
        super().__init__(hook, table.schema or "", conn_id=conn_id)
        self._table = table

    def __enter__(self) -> Self:
        """Connect, and make the schema the current one."""
        session = self._guarded("connect", lambda: open_session(self.hook, labels=self.labels, settings=_SETTINGS))
        self._entered = session
        is_ready = False
        try:
            self._namespace = self._checked_schema(session)
            # The name of a temporary table is written without its schema.
            self._run(f"USE SCHEMA {self._namespace}")
            is_ready = True
        finally:
            if not is_ready:
                self.__exit__()
        return self

    @property
    def target(self) -> str:
        """The table's name, quoted."""
        return f"{self._namespace}.{quoted(self._table.name)}"

    def name_of(self, table: StagingTable) -> str:
        """Return the name of a batch's table, quoted."""
        return quoted(table.name.upper())

    def rows(self, statement: str) -> Rows:
        """Run a statement, and return its rows."""
        cursor = self._run(statement)
        rows: list[Any] = self._guarded("read", cursor.fetchall)
        return rows

    def names(self) -> list[str]:
        """Return the tables of the schema, without its views."""
        return [name for name, kind in self.kinds().items() if "VIEW" not in kind.upper()]

    def kinds(self, *, like: str | None = None) -> dict[str, str]:
        """Return the kind of each table and view of the schema; only of those with a name like `like`, if given."""
        pattern = "" if like is None else f"LIKE {_literal(_escaped(like))} "
        cursor = self._run(f"SHOW TERSE OBJECTS {pattern}IN SCHEMA {self._namespace}")
        places = [[column.name for column in cursor.description].index(name) for name in ("name", "kind")]
        rows: list[Any] = self._guarded("read", cursor.fetchall)
        return {str(row[places[0]]): str(row[places[1]]) for row in rows}

    def described(self) -> list[dict[str, Any]]:
        """Return the columns, as Snowflake describes them."""
        cursor = self._run(f"DESCRIBE TABLE {self.target}")
        names = [column.name for column in cursor.description]
        rows: list[Any] = self._guarded("read", cursor.fetchall)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _checked_schema(self, session: SnowflakeSession) -> str:
        database, schema = session.connection.database, self._table.schema or session.connection.schema
        if not database or not schema:
            raise ConfigurationError(
                f"connection `{self.conn_id}` names no {'schema' if database else 'database'}: table `{self._table}` "
                "is in none"
            )
        database, schema = database.strip('"'), schema if self._table.schema else schema.strip('"')
        schemas = self._shown(session, f"SCHEMAS IN DATABASE {quoted(database)}")
        if schema not in schemas:
            raise ConfigurationError(f"there is no schema `{schema}`{suggestion(schema, schemas)}")
        return f"{quoted(database)}.{quoted(schema)}"

    def _create(self, table: StagingTable, columns: str, *, expires: bool) -> str:
        return f"CREATE TEMPORARY TABLE {self.name_of(table)} {columns}".rstrip()

    def translate(self, error: Exception, stage: Stage) -> Exception:
        """Return the error of a `TableWriter` for the connector's."""
        return _failure_of(error, stage, conn_id=self.conn_id)


def _failure_of(error: Exception, stage: Stage, *, conn_id: str) -> Exception:
    from snowflake.connector.errors import ProgrammingError

    errno = getattr(error, "errno", None) or 0
    if stage != "connect" and errno in _VALUES:
        return RowRefusedError(_CODES.get(errno, f"error_{errno}"))
    problem = translated(error, stage, conn_id=conn_id)
    if isinstance(problem, SourceUnavailableError):
        # The server has ended the statement, or has run none. After any other error, rows may have been applied.
        if stage == "connect" or isinstance(error, ProgrammingError):
            return BusyError(f"error_{errno:06d}")
        return ConnectionLostError(in_commit=True)
    return DestinationError(str(problem)) if isinstance(problem, ModelError) else problem


def _parsed(shown: str) -> dict[str, str]:
    found = _TYPE.match(shown)
    return {"name": ""} if found is None else found.groupdict()


def _made(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _made(kind.value_type)
    group = family(kind)
    if group == "integer":
        return "NUMBER(20, 0)" if pa.types.is_uint64(kind) else "NUMBER(19, 0)"
    if group == "decimal":
        return f"NUMBER({kind.precision - min(kind.scale, 0)}, {max(kind.scale, 0)})"
    return _MADE[group]


def _escaped(name: str) -> str:
    """Return a pattern that matches the name, in any case, and perhaps other names."""
    return name.replace("\\", "\\\\")


def _literal(text: str) -> str:
    return "'" + _escaped(text).replace("'", "''") + "'"
