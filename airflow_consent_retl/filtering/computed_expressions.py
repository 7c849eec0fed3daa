"""Values of SQL expressions, computed by a DuckDB that reads nothing but the rows it is given."""

from __future__ import annotations

import os
import threading

import duckdb
import pyarrow as pa

from airflow_consent_retl.errors import ModelError
from airflow_consent_retl.fields.sql_expressions import check_expression, checked_sql

# By process: a process that was forked must not use the engine of its parent.
_engines: dict[int, duckdb.DuckDBPyConnection] = {}
_starting = threading.Lock()


def computed(sql: str, rows: pa.RecordBatch) -> pa.Array:
    """Return the value of an expression for each row.

    Args:
        sql: a checked expression.
        rows: with at least its columns.

    Raises:
        ModelError: a value does not suit the expression. The message contains no value.
    """
    inputs = [rows.column(name) for name in check_expression(sql)]
    plain = [one.dictionary_decode() if pa.types.is_dictionary(one.type) else one for one in inputs]
    table = pa.table(plain, names=[_name_of(number) for number in range(len(plain))])
    with _engine() as engine:
        engine.register("given", table)
        try:
            found = engine.sql(f"SELECT {checked_sql(sql, _name_of)} AS value FROM given")  # noqa: S608 - checked parts
            return found.to_arrow_table().column("value").combine_chunks()
        except duckdb.Error as error:
            # Without rows, its words are about the columns' types.
            failure = type(error).__name__ if rows.num_rows else str(error).partition("\n")[0]
        finally:
            engine.unregister("given")
    # INVARIANT: the engine's own words quote the value. Outside of the handler, so that they are not chained.
    if not rows.num_rows:
        raise ModelError(f"expression {sql!r} does not suit the types of its columns: {failure}")
    raise ModelError(
        f"expression {sql!r} cannot be computed for every row ({failure}): a value does not suit it. TRY_CAST gives "
        "NULL where CAST fails"
    )


def _name_of(number: int) -> str:
    return f"column_{number}"


def _engine() -> duckdb.DuckDBPyConnection:
    process = os.getpid()
    with _starting:
        if process not in _engines:
            engine = duckdb.connect(
                config={
                    "threads": 1,
                    "preserve_insertion_order": True,
                    "autoinstall_known_extensions": False,
                    "autoload_known_extensions": False,
                    "enable_external_access": False,
                    # The default is a folder below the working directory.
                    "temp_directory": "",
                }
            )
            # Otherwise a part of a time would depend on the worker's own zone.
            engine.execute("SET GLOBAL TimeZone = 'UTC'")
            engine.execute("SET lock_configuration = true")
            _engines[process] = engine
        return _engines[process].cursor()
