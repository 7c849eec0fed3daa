"""SQLite as a source: read only. Types come from the values, because a SQLite column may hold values of any type."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from airflow_consent_retl.databases.source import DbApiSource
from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError, ModelError, SourceUnavailableError

if TYPE_CHECKING:
    from airflow_consent_retl.databases.fence import Stage


class SqliteSource(DbApiSource):
    """One query on a SQLite file, through Airflow's `SqliteHook`."""

    _names: Sequence[str] = ()

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
        cursor = super().execute(connection, resources)
        self._names = [described[0] for described in cursor.description or ()]
        return cursor

    def translate(self, error: Exception, stage: Stage) -> ConsentRetlError:
        """Return an error that another try can resolve for a lock, and a final one otherwise."""
        if _is_locked(error):
            return self._locked()
        if stage == "check" and isinstance(error, sqlite3.Error):
            return self._failure(error, stage, str(error))
        column = self._undecoded(error)
        if column is not None:
            return ModelError(
                f"column `{column}` holds text that is not UTF-8{self._undecoded_rows(column)}, which a snapshot "
                f"cannot hold: leave the rows out, or read it as bytes, CAST({_quoted(column)} AS BLOB), in the SQL"
            )
        # An OperationalError quotes text that is not UTF-8: only the name of the code is safe.
        failure = self._failure(error, stage, getattr(error, "sqlite_errorname", ""))
        if stage == "connect":
            return ConfigurationError(str(failure))
        return failure

    def _undecoded(self, error: Exception) -> str | None:
        """Return the column with text that is not UTF-8, if that is the error."""
        # The end of the message quotes the text.
        message = str(error)
        beginnings = {name: f"Could not decode to UTF-8 column '{name}' with text '" for name in self._names}
        return next((name for name, beginning in beginnings.items() if message.startswith(beginning)), None)

    def _undecoded_rows(self, column: str) -> str:
        """Return in how many rows, as words; nothing if the query cannot be read again."""
        place = self._names.index(column)
        rows = 0
        try:
            connection = self._hook.get_conn()
            with closing(connection):
                connection.execute("PRAGMA query_only = ON")
                connection.text_factory = _Text
                for row in connection.execute(self.statement):
                    rows += isinstance(row[place], _Text) and not _is_utf8(row[place])
        except sqlite3.Error:
            return ""
        return " in 1 row" if rows == 1 else f" in {rows:,} rows"

    def _locked(self) -> ConsentRetlError:
        return SourceUnavailableError(f"connection `{self._query.conn_id}` is not available: the database is locked")


class _Text(bytes):
    """The bytes of a text; a BLOB is plain bytes."""


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _is_locked(error: Exception) -> bool:
    return str(getattr(error, "sqlite_errorname", "")).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
