"""A session on Snowflake: opened by Airflow's hook, the same whatever the account's settings, cancelled when left.

It runs statements and knows nothing of their results.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from snowflake.connector import SnowflakeConnection
    from snowflake.connector.cursor import SnowflakeCursor

    Setting: TypeAlias = str | int | bool

_log = logging.getLogger(__name__)
# What a statement means, and how its result is written, must not depend on the account's or user's defaults.
# https://docs.snowflake.com/en/sql-reference/parameters (read 2026-11-24)
_SETTINGS: Mapping[str, Setting] = {
    # A worker that is killed leaves no query behind for longer than 5 minutes.
    "ABORT_DETACHED_QUERY": True,
    "JSON_INDENT": 0,
    # Otherwise a quoted name means another column than it says.
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
    # More than none would cut a result without a word.
    "ROWS_PER_RESULTSET": 0,
    # Otherwise an array's NULL is written `undefined`, which is no JSON.
    "STRICT_JSON_OUTPUT": True,
    "TIMEZONE": "UTC",
    # Text of a value has all its digits: the defaults cut moments at milliseconds.
    "BINARY_OUTPUT_FORMAT": "HEX",
    "DATE_OUTPUT_FORMAT": "YYYY-MM-DD",
    "TIME_OUTPUT_FORMAT": "HH24:MI:SS.FF9",
    "TIMESTAMP_NTZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF9",
    "TIMESTAMP_LTZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF9 TZHTZM",
    "TIMESTAMP_TZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF9 TZHTZM",
    # Moments that are compared with are written in ISO 8601.
    "TIMESTAMP_INPUT_FORMAT": "AUTO",
}
# Better had than not: a session without them is slower, or refuses later.
_CLIENT_SETTINGS: Mapping[str, Setting] = {
    "CLIENT_SESSION_KEEP_ALIVE": False,
    # In MB. It makes chunks of 5 to 13 MiB in memory, where the default of 160 makes up to 100.
    # https://github.com/snowflakedb/snowflake-connector-nodejs/issues/790 (read 2026-11-24)
    "CLIENT_RESULT_CHUNK_SIZE": 16,
    "PYTHON_CONNECTOR_QUERY_RESULT_FORMAT": "ARROW",
}
# What a connection's own `session_parameters` may set otherwise.
_FOR_THE_CONNECTION = frozenset({"QUERY_TAG", "TIMEZONE", "CLIENT_RESULT_CHUNK_SIZE"})
# Memory holds as many, in several forms, and the one that is worked on.
_PREFETCHED_CHUNKS = 2
_TAG_CHARACTERS = 2000
_CANCEL_TIMEOUT_S = 10
_POLL_INTERVAL_S = 1.0
# Airflow tells a task's process where it stands.
_CONTEXT = {"dag_id": "AIRFLOW_CTX_DAG_ID", "task_id": "AIRFLOW_CTX_TASK_ID", "run_id": "AIRFLOW_CTX_DAG_RUN_ID"}


class SnowflakeSession:
    """One session. Opened by `open_session`, closed by `close`, which cancels the statement that still runs."""

    def __init__(self, connection: SnowflakeConnection) -> None:
        self.connection = connection
        self._is_running = False

    def run(self, statement: str) -> SnowflakeCursor:
        """Run one statement to its end, and return the cursor with its result.

        Raises:
            snowflake.connector.Error, OverflowError: as the connector does.
        """
        from snowflake.connector.errors import ProgrammingError

        cursor = self.connection.cursor()
        self._is_running = True
        try:
            cursor.execute(statement)
        except ProgrammingError:
            # The server has ended it. After anything else, a task's end among them, it may go on.
            self._is_running = False
            raise
        self._is_running = False
        return cursor

    def submit(self, statement: str) -> str:
        """Start one statement, and return its query id at once.

        Raises:
            snowflake.connector.Error: as the connector does.
        """
        with self.connection.cursor() as cursor:
            cursor.execute_async(statement)
            return str(cursor.sfqid)

    def is_running(self, query_id: str) -> bool:
        """Tell whether a statement, of any session of the user's, still runs or waits to run.

        Raises:
            snowflake.connector.Error: it failed or was cancelled.
        """
        status = self.connection.get_query_status_throw_if_error(query_id)
        return self.connection.is_still_running(status)

    def wait_for(self, query_id: str) -> None:
        """Wait until a statement is over. Raises as `is_running` does."""
        while self.is_running(query_id):
            time.sleep(_POLL_INTERVAL_S)

    def abort(self, query_id: str) -> None:
        """Stop a statement; one that is over is no error.

        Raises:
            snowflake.connector.Error: as the connector does.
        """
        with self.connection.cursor() as cursor:
            cursor.abort_query(query_id)

    def close(self) -> None:
        """Cancel what still runs, and log out. What fails here has failed before."""
        from snowflake.connector.errors import Error

        try:
            if self._is_running:
                _log.info("cancelling the query that still runs in session %s", self.connection.session_id)
                with suppress(Error):
                    self.cancel()
        finally:
            with suppress(Error):
                self.connection.close()

    def cancel(self) -> None:
        """Have the server end what runs in this session, also from another thread or a signal handler.

        Raises:
            snowflake.connector.Error: as the connector does.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT SYSTEM$CANCEL_ALL_QUERIES({int(self.connection.session_id)})", timeout=_CANCEL_TIMEOUT_S
            )


def open_session(
    hook: DbApiHook, *, labels: Mapping[str, str] | None = None, settings: Mapping[str, Setting] | None = None
) -> SnowflakeSession:
    """Connect through the hook, and make the session's settings ours.

    The connection's own `session_parameters` keep QUERY_TAG, TIMEZONE and CLIENT_RESULT_CHUNK_SIZE. A `network_timeout`
    in its extra, in seconds, ends statements that take longer; there is none otherwise, as in the connector.

    Args:
        hook: of an Airflow connection.
        labels: names and values for the query tag.
        settings: more session parameters, which nothing else sets.

    Raises:
        snowflake.connector.Error: as the connector does.
    """
    from snowflake.connector.errors import ProgrammingError

    connection: Any = hook.get_conn()
    # Scaled numbers would come as floats otherwise. The connector spells its setter so.
    connection.arrow_number_to_decimal_setter = True
    connection.client_prefetch_threads = _PREFETCHED_CHUNKS
    extra = hook.connection_extra
    if extra.get("network_timeout"):
        # The hook passes no such thing on, and the connector lets nobody set it later.
        connection._network_timeout = int(extra["network_timeout"])
    session = SnowflakeSession(connection)
    given = getattr(hook, "session_parameters", None) or extra.get("session_parameters") or {}
    own = {str(name).upper() for name in given} & _FOR_THE_CONNECTION
    needed = {name: value for name, value in {"QUERY_TAG": _tag(labels), **_SETTINGS}.items() if name not in own}
    needed |= settings or {}
    wished = {name: value for name, value in _CLIENT_SETTINGS.items() if name not in own}
    is_open = False
    try:
        try:
            session.run(_set({**needed, **wished}))
        except ProgrammingError:
            session.run(_set(needed))
        is_open = True
    finally:
        if not is_open:
            session.close()
    return session


def _set(settings: Mapping[str, Setting]) -> str:
    return "ALTER SESSION SET " + ", ".join(f"{name} = {_literal(value)}" for name, value in settings.items())


def _literal(value: Setting) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int):
        return str(value)
    # Backslashes are escapes in Snowflake's literals.
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _tag(labels: Mapping[str, str] | None) -> str:
    context = {name: os.environ[variable] for name, variable in _CONTEXT.items() if variable in os.environ}
    tag = {"app": "airflow-consent-retl", **context, **(labels or {})}
    text = json.dumps(tag)
    return text if len(text) <= _TAG_CHARACTERS else json.dumps({"app": tag["app"]})
