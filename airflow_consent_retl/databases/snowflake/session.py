"""A session on Snowflake, opened by Airflow's hook, whose behaviour does not depend on the account's settings.

It runs statements and does not read their results. Closing it cancels a statement that still runs.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_consent_retl.databases.database import UTC_ZONE
from airflow_consent_retl.databases.snowflake.errors import COMPILING, may_be_about_the_statement
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from snowflake.connector import SnowflakeConnection
    from snowflake.connector.cursor import SnowflakeCursor

    Setting: TypeAlias = str | int | bool

_log = module_log(__name__)
# The meaning of a statement, and the format of its result, must not depend on the account's or user's defaults.
# https://docs.snowflake.com/en/sql-reference/parameters (read 2026-11-24)
_SETTINGS: Mapping[str, Setting] = {
    # A worker that is killed leaves no query behind for longer than 5 minutes.
    "ABORT_DETACHED_QUERY": True,
    "JSON_INDENT": 0,
    # Otherwise a quoted name could mean another column.
    "QUOTED_IDENTIFIERS_IGNORE_CASE": False,
    # Any limit would cut a result without an error.
    "ROWS_PER_RESULTSET": 0,
    # Otherwise an array's NULL is written `undefined`, which is not JSON.
    "STRICT_JSON_OUTPUT": True,
    # The text of a value must have all its digits: the defaults cut timestamps at milliseconds.
    "BINARY_OUTPUT_FORMAT": "HEX",
    "DATE_OUTPUT_FORMAT": "YYYY-MM-DD",
    "TIME_OUTPUT_FORMAT": "HH24:MI:SS.FF9",
    "TIMESTAMP_NTZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF9",
    "TIMESTAMP_LTZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF9 TZHTZM",
    "TIMESTAMP_TZ_OUTPUT_FORMAT": "YYYY-MM-DD HH24:MI:SS.FF9 TZHTZM",
    # Timestamps in comparisons are written in ISO 8601.
    "TIMESTAMP_INPUT_FORMAT": "AUTO",
}
# Optional: a session without them is slower, or refuses a result later.
_CLIENT_SETTINGS: Mapping[str, Setting] = {
    "CLIENT_SESSION_KEEP_ALIVE": False,
    # In MB. Chunks take 5 to 13 MiB in memory; with the default of 160 they take up to 100 MiB.
    # https://github.com/snowflakedb/snowflake-connector-nodejs/issues/790 (read 2026-11-24)
    "CLIENT_RESULT_CHUNK_SIZE": 16,
    "PYTHON_CONNECTOR_QUERY_RESULT_FORMAT": "ARROW",
}
# Parameters that a connection's own `session_parameters` may set.
_FOR_THE_CONNECTION = frozenset({"QUERY_TAG", "CLIENT_RESULT_CHUNK_SIZE"})
# Memory holds this many chunks, in several forms, and the one in progress.
_PREFETCHED_CHUNKS = 2
_TAG_CHARACTERS = 2000
_CANCEL_TIMEOUT_S = 10
_POLL_INTERVAL_S = 1.0
# Airflow sets these variables in a task's process.
_CONTEXT = {"dag_id": "AIRFLOW_CTX_DAG_ID", "task_id": "AIRFLOW_CTX_TASK_ID", "run_id": "AIRFLOW_CTX_DAG_RUN_ID"}


class SnowflakeSession:
    """One session. Opened by `open_session`, closed by `close`, which cancels the statement that still runs."""

    def __init__(self, connection: SnowflakeConnection) -> None:
        self.connection = connection
        self._is_running = False

    def run(self, statement: str) -> SnowflakeCursor:
        """Run one statement to its end, and return the cursor with its result.

        Raises:
            snowflake.connector.Error, OverflowError: from the connector.
        """
        from snowflake.connector.errors import ProgrammingError

        cursor = self.connection.cursor()
        self._is_running = True
        try:
            cursor.execute(statement)
        except ProgrammingError as error:
            # The server has ended it. After any other error, such as the end of the task, it may still run.
            self._is_running = False
            if may_be_about_the_statement(error):
                setattr(error, COMPILING, self._compiling(statement))
            raise
        self._is_running = False
        return cursor

    def _compiling(self, statement: str) -> Exception | None:
        """Return the server's error if it does not even compile a statement; it reads no row for that."""
        from snowflake.connector.errors import ProgrammingError

        try:
            with self.connection.cursor() as cursor:
                cursor.describe(statement)
        except ProgrammingError as error:
            return error
        return None

    def set_time_zone(self, time_zone: str) -> None:
        """Change the session's time zone. Raises the errors of `run`."""
        self.run(_set({"TIMEZONE": time_zone}))

    def submit(self, statement: str) -> str:
        """Start one statement, and return its query id at once.

        Raises:
            snowflake.connector.Error: from the connector.
        """
        with self.connection.cursor() as cursor:
            cursor.execute_async(statement)
            return str(cursor.sfqid)

    def is_running(self, query_id: str) -> bool:
        """Return whether a statement, of any session of the user, still runs or waits to run.

        Raises:
            snowflake.connector.Error: it failed or was cancelled.
        """
        status = self.connection.get_query_status_throw_if_error(query_id)
        return self.connection.is_still_running(status)

    def wait_for(self, query_id: str) -> None:
        """Wait until a statement has finished. Raises the errors of `is_running`."""
        while self.is_running(query_id):
            time.sleep(_POLL_INTERVAL_S)

    def abort(self, query_id: str) -> None:
        """Cancel a statement; a finished one is not an error.

        Raises:
            snowflake.connector.Error: from the connector.
        """
        with self.connection.cursor() as cursor:
            cursor.abort_query(query_id)

    def close(self) -> None:
        """Cancel a statement that still runs, and log out. Errors are ignored: an earlier error has been raised."""
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
        """Cancel the statement that runs in this session, also from another thread or a signal handler.

        Raises:
            snowflake.connector.Error: from the connector.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT SYSTEM$CANCEL_ALL_QUERIES({int(self.connection.session_id)})", timeout=_CANCEL_TIMEOUT_S
            )


def open_session(
    hook: DbApiHook,
    *,
    time_zone: str = UTC_ZONE,
    labels: Mapping[str, str] | None = None,
    settings: Mapping[str, Setting] | None = None,
) -> SnowflakeSession:
    """Connect through the hook, and apply this package's session parameters.

    The connection's own `session_parameters` keep QUERY_TAG and CLIENT_RESULT_CHUNK_SIZE. A `network_timeout`
    in its extra, in seconds, ends statements that take longer; without it there is no limit, as in the connector.

    Args:
        hook: of an Airflow connection.
        time_zone: the session's, whatever the connection says.
        labels: names and values for the query tag.
        settings: more session parameters.

    Raises:
        snowflake.connector.Error: from the connector.
    """
    from snowflake.connector.errors import ProgrammingError

    connection: Any = hook.get_conn()
    # Otherwise numbers with decimal places would come as floats. The setter has this name in the connector.
    connection.arrow_number_to_decimal_setter = True
    connection.client_prefetch_threads = _PREFETCHED_CHUNKS
    extra = hook.connection_extra
    if extra.get("network_timeout"):
        # The hook does not pass it on, and the connector has no public way to set it later.
        connection._network_timeout = int(extra["network_timeout"])
    session = SnowflakeSession(connection)
    given = getattr(hook, "session_parameters", None) or extra.get("session_parameters") or {}
    own = {str(name).upper() for name in given} & _FOR_THE_CONNECTION
    needed = {name: value for name, value in {"QUERY_TAG": _tag(labels), **_SETTINGS}.items() if name not in own}
    needed |= {"TIMEZONE": time_zone, **(settings or {})}
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
