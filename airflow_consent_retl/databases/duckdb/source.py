"""DuckDB as a source: native Arrow batches from a file opened for reading, or from the hook's connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from airflow_consent_retl.databases.source import ArrowSource, ModelRows, MoreMemoryNeededError
from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError, ModelError, SourceUnavailableError
from airflow_consent_retl.values.columns import cast
from airflow_consent_retl.values.temporary import temporary_folder

if TYPE_CHECKING:
    from airflow_consent_retl.databases.fence import Stage

# Joins, sorts and groups that need more memory use the disk.
_MEMORY_LIMIT = "1GiB"
# A scan fills all the memory it gets with cached blocks, which a single pass never reads again.
_SCAN_MIB, _SCAN_MIB_PER_THREAD = 32, 16
_SCAN_OPERATORS = frozenset({"SEQ_SCAN", "PROJECTION", "FILTER", "STREAMING_LIMIT"})
# Types whose Arrow form drops digits, months or a zone, or that Parquet has no type for.
_AS_TEXT = ("BIT", "BIGNUM", "INTERVAL", "TIME WITH TIME ZONE", "UUID")
_CASTS = {
    "HUGEINT": "DECIMAL(38,0)",
    "UHUGEINT": "DECIMAL(38,0)",
    "TIMESTAMP_S": "TIMESTAMP",
    "TIMESTAMP_MS": "TIMESTAMP",
}

# Of other types, different values have one hash: an empty list and NULL, a month and 30 days; of an enum, the number of
# the value is hashed.
_HASHED_EXACTLY = frozenset(
    {
        *("BOOLEAN", "VARCHAR", "BLOB", "UUID", "FLOAT", "DOUBLE", "DATE", "TIME"),
        *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
        *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
        *("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"),
    }
)

# Their largest number that a decimal of 38 digits holds.
_WIDE, _MOST = ("HUGEINT", "UHUGEINT"), "9" * 38

# The same types as items of a list or fields of a struct, where no cast reaches them.
_INEXACT_WITHIN = ("HUGEINT", "TIME WITH TIME ZONE", "TIMESTAMP_S", "BIT[", "BIT)", "BIT,")


class DuckDbSource(ArrowSource):
    """One query on a DuckDB file, or on any other database that the hook of `airflow-provider-duckdb` opens."""

    # Whether this source may change the engine's settings.
    _owns_instance = True
    # Whether the rows are in a file that no one can change while it is open.
    _has_file = False
    # Whether the query runs with the small memory limit of a plain scan.
    _is_tight = False
    _relation: duckdb.DuckDBPyRelation | None = None

    def open(self, resources: ExitStack) -> ModelRows:
        """Connect, run the settings in front of the query, and bind the query."""
        connection = self._guarded("connect", lambda: self._connect(resources))
        relation = self._guarded("prepare", lambda: self._bind(connection))
        self._check_columns(relation.columns)
        self._relation = relation
        exact = self._guarded("prepare", lambda: _exact(relation))
        fingerprint = self._guarded("read", lambda: self._fingerprint(connection, relation))
        reader = self._guarded("read", lambda: exact.to_arrow_reader(self._query.batch_rows))
        # A stream that was not read to its end keeps the file's instance, and the next attempt to open the file waits.
        resources.callback(reader.close)
        schema = pa.schema(pa.field(field.name, self._type(field)) for field in reader.schema)
        self._check_schema(schema)
        return ModelRows(schema, self._batches(reader, schema), fingerprint=fingerprint)

    def translate(self, error: Exception, stage: Stage) -> ConsentRetlError:
        """Return an error with DuckDB's message, if that is about the statement or the file."""
        message = str(error).partition("\n\nLINE")[0]
        # A failure in the middle of a stream is an OSError.
        if isinstance(error, duckdb.OutOfMemoryException) or message.startswith("Out of Memory Error"):
            if self._is_tight:
                return MoreMemoryNeededError(f"connection `{self._query.conn_id}`: a scan needs more memory")
            return ModelError(
                f"the query on connection `{self._query.conn_id}` needs more memory than {_MEMORY_LIMIT}: put "
                f"`SET memory_limit = '…';` before it"
            )
        if isinstance(error, duckdb.HTTPException):
            return SourceUnavailableError(f"connection `{self._query.conn_id}` is not available: HTTPException")
        if stage == "connect" and isinstance(error, duckdb.IOException):
            failure = f"connection `{self._query.conn_id}` cannot be opened: {message}"
            return SourceUnavailableError(failure) if "lock" in message else ConfigurationError(failure)
        if stage == "prepare" and isinstance(
            error, duckdb.ParserException | duckdb.CatalogException | duckdb.BinderException
        ):
            return self._failure(error, stage, message)
        # A failure in the middle of a stream says so only in its message.
        is_conversion = isinstance(error, duckdb.ConversionException) or message.startswith("Conversion Error")
        return (self._too_long() if is_conversion else None) or self._failure(error, stage)

    def _too_long(self) -> ModelError | None:
        """Return the error for integers of more than 38 digits; None if there are none, or the query itself fails."""
        relation = self._relation
        if relation is None:
            return None
        names = [name for name, type_ in zip(relation.columns, relation.types, strict=True) if str(type_) in _WIDE]
        for name in names:
            quoted = _quoted(name)
            fits = f"{quoted} BETWEEN -{_MOST}::HUGEINT AND {_MOST}::HUGEINT"
            try:
                rows = relation.filter(f"NOT ({fits})").aggregate("count(*)").fetchall()[0][0]
            except duckdb.Error:
                return None
            if rows:
                counted = "1 row" if rows == 1 else f"{rows:,} rows"
                return ModelError(
                    f"column `{name}` holds an integer of more than 38 digits in {counted}, which a snapshot cannot "
                    f"hold: leave the rows out, or cast it to text, CAST({quoted} AS VARCHAR), in the SQL"
                )
        return None

    def _connect(self, resources: ExitStack) -> duckdb.DuckDBPyConnection:
        spill = resources.enter_context(temporary_folder())
        connection = self._read_only_file(spill)
        self._has_file = connection is not None
        if connection is None:
            connection = self._hook.get_conn()
            self._owns_instance = not self._is_file
            if self._owns_instance:
                connection.execute(f"SET memory_limit = '{_MEMORY_LIMIT}'; SET temp_directory = '{spill}'")
        resources.callback(connection.close)
        self._stop = connection.interrupt
        return connection

    @property
    def _is_file(self) -> bool:
        return bool(getattr(self._hook, "is_local", False)) and self._hook.connection.host != ":memory:"

    def _read_only_file(self, spill: str) -> duckdb.DuckDBPyConnection | None:
        """Open the connection's file. The hook would open it for writing, which locks out every other reader."""
        if not self._is_file:
            return None
        path = str(self._hook.connection.host)
        if not Path(path).is_file():
            raise ConfigurationError(f"connection `{self._query.conn_id}` names a file that does not exist: {path}")
        try:
            return duckdb.connect(path, read_only=True, config={"memory_limit": _MEMORY_LIMIT, "temp_directory": spill})
        except duckdb.ConnectionException:
            # This process has it open for writing: the hook's connection shares that instance and its settings.
            return None

    def _bind(self, connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyRelation:
        statements = connection.extract_statements(self._query.sql)
        if not statements or statements[-1].type != duckdb.StatementType.SELECT:
            raise ModelError("the SQL does not end in a query")
        connection.execute(f"SET TimeZone = '{self._query.time_zone}'")
        for statement in statements[:-1]:
            connection.execute(statement)
        self._check_time_zone(connection)
        query = statements[-1].query
        if self._owns_instance and len(statements) == 1 and not self._query.more_memory and _is_scan(connection, query):
            threads = connection.execute("SELECT current_setting('threads')").fetchall()[0][0]
            connection.execute(f"SET memory_limit = '{max(_SCAN_MIB, _SCAN_MIB_PER_THREAD * threads)}MiB'")
            self._is_tight = True
        relation = connection.sql(query)
        if self._query.columns is None:
            return relation
        return relation.select(*map(duckdb.ColumnExpression, self._query.columns))

    def _check_time_zone(self, connection: duckdb.DuckDBPyConnection) -> None:
        ((found,),) = connection.execute("SELECT current_setting('TimeZone')").fetchall()
        if found != self._query.time_zone:
            raise ConfigurationError(
                f"the SQL for connection `{self._query.conn_id}` sets the time zone {found}, the model's is "
                f"{self._query.time_zone}: remove the setting and give the model session_time_zone='{found}'"
            )

    def _fingerprint(self, connection: duckdb.DuckDBPyConnection, relation: duckdb.DuckDBPyRelation) -> str:
        if not (self._query.has_fingerprint and self._has_file):
            return ""
        # For both statements it is the same time.
        connection.begin()
        values = ", ".join(
            _quoted(name) if _is_hashed_exactly(str(type_)) else f"to_json({_quoted(name)})"
            for name, type_ in zip(relation.columns, relation.types, strict=True)
        )
        # The hash of a row combines those of its columns bit by bit: hashed once more, rows that exchange a value have
        # another sum.
        hashed = relation.aggregate(f"count(*), sum(hash(hash({values}))::HUGEINT)")
        ((rows, total),) = hashed.fetchall()
        return f"duckdb {duckdb.__version__} {rows} {total}"

    def _type(self, field: pa.Field) -> pa.DataType:
        return self._query.column_types.get(field.name) or _plain(field)

    def _batches(self, reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        while (batch := self._guarded("read", lambda: next(reader, None))) is not None:
            arrays = []
            for array, source, target in zip(batch.columns, batch.schema, schema, strict=True):
                _refuse_edges(array, column=source.name)
                arrays.append(cast(array.cast(_plain(source)), target.type, column=source.name))
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _is_scan(connection: duckdb.DuckDBPyConnection, query: str) -> bool:
    """Return whether the query reads tables from start to end and keeps no rows in memory."""
    plans = connection.execute(f"EXPLAIN (FORMAT json) {query}").fetchall()
    return all(_operators(plan) <= _SCAN_OPERATORS for _, text in plans for plan in json.loads(text))


def _operators(plan: dict[str, Any]) -> set[str]:
    return {plan["name"]}.union(*map(_operators, plan.get("children", [])))


def _exact(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Return the relation with casts of the columns whose Arrow form would not be exact."""
    expressions = [_expression(name, str(type_)) for name, type_ in zip(relation.columns, relation.types, strict=True)]
    if all(plain for plain, _ in expressions):
        return relation
    return relation.project(", ".join(expression for _, expression in expressions))


def _is_hashed_exactly(type_: str) -> bool:
    return type_ in _HASHED_EXACTLY or type_.startswith("DECIMAL(")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _expression(name: str, type_: str) -> tuple[bool, str]:
    quoted = _quoted(name)
    if type_.endswith(("]", ")")) and any(inexact in type_ for inexact in _INEXACT_WITHIN):
        raise ModelError(f"column `{name}` is {type_}, which a snapshot cannot hold exactly: cast it in the SQL")
    wanted = "VARCHAR" if type_ in _AS_TEXT else _CASTS.get(type_)
    return wanted is None, quoted if wanted is None else f"CAST({quoted} AS {wanted}) AS {quoted}"


def _plain(field: pa.Field) -> pa.DataType:
    """Return the type to store: the text of an enum, and one name for UTC."""
    type_ = field.type
    if pt.is_dictionary(type_):
        type_ = type_.value_type
    if pt.is_timestamp(type_) and type_.tz is not None:
        return pa.timestamp(type_.unit, "UTC")
    if not _is_storable(type_) or (field.metadata and b"ARROW:extension:name" in field.metadata):
        raise ModelError(f"column `{field.name}` is {type_}, which a snapshot cannot hold exactly: cast it in the SQL")
    return type_


def _is_storable(type_: pa.DataType) -> bool:
    if pt.is_nested(type_):
        return not pt.is_union(type_) and all(
            _is_storable(type_.field(index).type) for index in range(type_.num_fields)
        )
    return not pt.is_interval(type_) and not isinstance(type_, pa.BaseExtensionType)


def _refuse_edges(array: pa.Array, *, column: str) -> None:
    """Raise a `ModelError` for infinite dates and the time 24:00, also within lists and structs."""
    if pt.is_list(array.type) or pt.is_large_list(array.type) or pt.is_fixed_size_list(array.type):
        _refuse_edges(array.flatten(), column=column)
    elif pt.is_struct(array.type):
        for values in array.flatten():
            _refuse_edges(values, column=column)
    elif pt.is_map(array.type):
        _refuse_edges(array.keys, column=column)
        _refuse_edges(array.items, column=column)
    elif pt.is_timestamp(array.type) or pt.is_date32(array.type):
        # DuckDB stores infinity as the largest number.
        infinity = 2 ** (array.type.bit_width - 1) - 1
        _refuse(array, [infinity, -infinity], "an infinite date", "CASE WHEN isfinite({0}) THEN {0} END", column)
    elif pt.is_time64(array.type):
        midnight = 86_400 * 10 ** (6 if array.type.unit == "us" else 9)
        _refuse(array, [midnight], "the time 24:00", "NULLIF({0}, '24:00:00')", column)


def _refuse(array: pa.Array, edges: list[int], kind: str, without: str, column: str) -> None:
    stored = array.view(pa.int32() if array.type.bit_width == 32 else pa.int64())
    extremes = pc.min_max(stored)
    if not {extremes["min"].as_py(), extremes["max"].as_py()} & set(edges):
        return
    values = pc.sum(pc.is_in(stored, value_set=pa.array(edges, stored.type)), min_count=0).as_py()
    counted = "1 value" if values == 1 else f"{values:,} values"
    raise ModelError(
        f"column `{column}` holds {kind} ({counted} in one batch), which a snapshot cannot hold: leave the rows out, "
        f"or select {without.format(_quoted(column))}"
    )
