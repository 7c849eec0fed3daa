"""SQLite as a source: read only. Types come from the values, because a SQLite column may hold values of any type."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from airflow_consent_retl.databases.source import DbApiSource
from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError, SourceUnavailableError

if TYPE_CHECKING:
    from airflow_consent_retl.databases.fence import Stage


class SqliteSource(DbApiSource):
    """One query on a SQLite file, through Airflow's `SqliteHook`."""

    def connect(self, resources: ExitStack) -> Any:
        """Open the file. It must exist: SQLite would make an empty one."""
        path, _, parameters = self._hook.get_uri().removeprefix("sqlite:///").partition("?")
        if parse_qs(parameters).get("mode") != ["memory"] and not Path(unquote(path)).is_file():
            raise ConfigurationError(f"connection `{self._query.conn_id}` names a file that does not exist: {path}")
        connection = super().connect(resources)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def execute(self, connection: Any, resources: ExitStack) -> Any:
        """Prepare the query before it runs: an error of this step is about the statement, and its message is safe."""
        self._guarded("check", lambda: connection.execute(f"EXPLAIN {self.statement}").close())
        return super().execute(connection, resources)

    def translate(self, error: Exception, stage: Stage) -> ConsentRetlError:
        """Return an error that another try can resolve for a lock, and a final one otherwise."""
        if _is_locked(error):
            return self._locked()
        if stage == "check" and isinstance(error, sqlite3.Error):
            return self._failure(error, stage, str(error))
        # An OperationalError quotes text that is not UTF-8: only the name of the code is safe.
        failure = self._failure(error, stage, getattr(error, "sqlite_errorname", ""))
        if stage == "connect":
            return ConfigurationError(str(failure))
        return failure

    def _locked(self) -> ConsentRetlError:
        return SourceUnavailableError(f"connection `{self._query.conn_id}` is not available: the database is locked")


def _is_locked(error: Exception) -> bool:
    return str(getattr(error, "sqlite_errorname", "")).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
