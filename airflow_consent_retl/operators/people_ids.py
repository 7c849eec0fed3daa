"""The ids of the people of a request, given as values, in a file, or by a query. They are never logged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from airflow_consent_retl.errors import ConfigurationError


def read_ids(
    *, ids: Sequence[str | int] | None, file: str | None, sql: str | None, conn_id: str | None, id_column: str
) -> list[str] | None:
    """Return the ids as text; None if no source of them is given.

    Args:
        ids: the ids themselves.
        file: a path, or a URI of object storage: one id on each line, in UTF-8; empty lines do not count.
        sql: a query with the ids.
        conn_id: its connection.
        id_column: the column of the ids in its result.

    Raises:
        ConfigurationError: more than one source is given, or the source has no id.
        ModelError, SourceUnavailableError: the query fails.
    """
    given = [name for name, value in (("ids", ids), ("file", file), ("sql", sql)) if value is not None]
    if not given:
        return None
    if len(given) > 1:
        raise ConfigurationError(f"{' and '.join(given)}: give the ids in one way")
    if file is not None:
        found = _in_file(file)
    elif sql is not None:
        found = _by_query(sql, conn_id, id_column)
    else:
        found = [str(one) for one in ids or ()]
    found = [one for one in found if one.strip()]
    if not found:
        raise ConfigurationError(f"{given[0]}: there is no id")
    return found


def _in_file(file: str) -> list[str]:
    from airflow.sdk import ObjectStoragePath

    path = ObjectStoragePath(file) if "://" in file else Path(file)
    try:
        return path.read_bytes().decode("utf-8-sig").splitlines()
    except FileNotFoundError:
        problem = "there is no such file"
    except UnicodeDecodeError:
        problem = "it is not UTF-8"
    # Outside the handler: the error of a decoder quotes the file's bytes.
    raise ConfigurationError(f"file {file}: {problem}")


def _by_query(sql: str, conn_id: str | None, id_column: str) -> list[str]:
    from airflow_consent_retl.databases.source import ModelQuery, read_model
    from airflow_consent_retl.hooks.sql import sql_hook
    from airflow_consent_retl.storage.forgotten import folded_ids

    if conn_id is None:
        raise ConfigurationError("sql: name its connection with conn_id")
    query = ModelQuery(conn_id=conn_id, sql=sql, primary_key=id_column, columns=(id_column,))
    with read_model(sql_hook(conn_id), query) as rows:
        return [one for batch in rows.batches for one in folded_ids(batch.column(0)).to_pylist() if one is not None]
