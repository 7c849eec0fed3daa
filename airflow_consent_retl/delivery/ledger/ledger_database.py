"""The database of the ledger: transactions, its clock, and its errors as errors of this package.

A transaction that ended without an error is on disk. The message of a driver is never shown: it may quote values.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect

from airflow_consent_retl.delivery.ledger.schema import Timestamp, install, is_installed, workspaces
from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError, LedgerUnavailableError

_OPENING_S: Final = 10.0
# The records of some 20,000 runs: the queries of a page read them from the file once, and not once each.
_CACHE_KIB: Final = 16 * 1024
_WRITES: Final = "consent_retl_writes"
# A worker that is paused inside a transaction must not block the others for longer than this.
_POSTGRES_SETTINGS: Final = {
    "synchronous_commit": "on",
    "lock_timeout": "20s",
    "idle_in_transaction_session_timeout": "10s",
}

# https://www.postgresql.org/docs/18/errcodes-appendix.html, read 2026-11-23
_REFUSED_STATES: Final = {
    "28000": "the login was refused",
    "28P01": "the password was refused",
    "3D000": "the database does not exist",
    "3F000": "the schema does not exist",
    "42501": "no permission",
}
_REFUSED_CLASSES: Final = ("22", "23", "28", "42")
# https://www.sqlite.org/rescode.html, read 2026-11-23
_REFUSED_SQLITE: Final = {
    "SQLITE_AUTH": "no permission",
    "SQLITE_PERM": "no permission",
    "SQLITE_READONLY": "the file is read-only",
    "SQLITE_CANTOPEN": "the file cannot be opened",
    "SQLITE_NOTADB": "the file is not a SQLite database",
    "SQLITE_CORRUPT": "the file is damaged",
    "SQLITE_CONSTRAINT": "a constraint was violated",
    "SQLITE_MISMATCH": "a value has the wrong type",
    "SQLITE_ERROR": "a statement was refused",
}


class LedgerDatabase:
    """Read and write transactions on one database. It creates the ledger's tables if they are missing.

    Args:
        engine: for PostgreSQL or a SQLite file; `close` closes its connections.
        name: the ledger's name in error messages.
        installs: whether missing tables are created; otherwise nothing is known of the tables.
    """

    def __init__(self, engine: sa.Engine, *, name: str, installs: bool = True) -> None:
        self._engine = engine
        self._name = name
        self._is_sqlite = engine.dialect.name == "sqlite"
        if not installs:
            return
        with self.read() as connection:
            installed = is_installed(connection)
        if not installed:
            with self.write() as connection:
                install(connection)

    @classmethod
    def sqlite(cls, path: Path, *, busy_s: float) -> LedgerDatabase:
        """Open a SQLite file, and wait `busy_s` for another writer. A missing file is created, for its owner only."""
        file = path.expanduser().absolute()
        _make_private(file)
        return cls._opened(_sqlite_engine(file, busy_s, os.getpid()), name=f"the ledger `{file}`")

    @classmethod
    def from_engine(cls, engine: sa.Engine) -> LedgerDatabase:
        """Use an engine for PostgreSQL, with any driver."""
        if engine.dialect.name != "postgresql":
            raise ConfigurationError(f"a ledger needs PostgreSQL or a SQLite file, not {engine.dialect.name}")
        engine.hide_parameters = True
        committed = engine.execution_options(isolation_level="READ COMMITTED")
        return cls._opened(committed, name=f"the ledger in database `{engine.url.database or ''}`")

    @classmethod
    def to_copy(cls, engine: sa.Engine) -> LedgerDatabase:
        """Use an engine for PostgreSQL to read the tables as they are at one time; nothing is created."""
        engine.hide_parameters = True
        unchanging = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        return cls(unchanging, name=f"the ledger in database `{engine.url.database or ''}`", installs=False)

    @classmethod
    def on_trial(cls, place: sa.Engine | Path, *, busy_s: float) -> LedgerDatabase:
        """Use an engine for PostgreSQL, or a SQLite file that is there, for `try_writing`; nothing is created."""
        if isinstance(place, Path):
            engine = _sqlite_engine(place.expanduser().absolute(), busy_s, os.getpid())
            return cls(engine, name=f"the ledger `{place}`", installs=False)
        place.hide_parameters = True
        name = f"the ledger in database `{place.url.database or ''}` of {place.url.host or 'this machine'}"
        return cls(place, name=f"{name}, as user `{place.url.username or ''}`", installs=False)

    @classmethod
    def _opened(cls, engine: sa.Engine, *, name: str) -> LedgerDatabase:
        try:
            return cls(engine, name=name)
        except ConsentRetlError:
            engine.dispose()
            raise

    def close(self) -> None:
        """Close every connection."""
        with suppress(sa.exc.DBAPIError):
            self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """Open a transaction that only reads.

        Raises:
            LedgerUnavailableError: the database did not answer.
            ConfigurationError: it refused the login or a statement.
        """
        with self._translated_failures(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Open a transaction that writes. It is on disk when the block ends, and rolled back if the block raises.

        Raises:
            LedgerUnavailableError: the database did not answer; it is not known whether it committed.
            ConfigurationError: it refused the login or a statement.
        """
        with (
            self._translated_failures(),
            self._engine.connect().execution_options(**{_WRITES: True}) as connection,
            connection.begin(),
        ):
            if not self._is_sqlite:
                settings = [sa.func.set_config(name, value, True) for name, value in _POSTGRES_SETTINGS.items()]
                connection.execute(sa.select(*settings))
            yield connection

    def try_writing(self) -> None:
        """Write in a transaction, and roll it back. Where the tables are missing, it makes them in the transaction.

        Raises: as `write`.
        """
        with suppress(_RolledBackError), self.write() as connection:
            install(connection)
            trial = {"id": uuid.uuid4().hex, "uri": "", "joined_at": self.now(connection)}
            connection.execute(workspaces.insert().values(trial))
            connection.execute(workspaces.delete().where(workspaces.c.id == trial["id"]))
            raise _RolledBackError

    def clock(self) -> sa.ColumnElement[datetime]:
        """Return an expression for the present time, by the clock that all workers share."""
        if self._is_sqlite:
            return sa.literal(_machine_time(), Timestamp)
        micros = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1_000_000, sa.BigInteger)
        return sa.type_coerce(micros, Timestamp)

    def now(self, connection: sa.Connection) -> datetime:
        """Return the present time, by the same clock."""
        return _machine_time() if self._is_sqlite else connection.execute(sa.select(self.clock())).scalar_one()

    def insert(self, table: sa.Table) -> postgresql.Insert | sqlite_dialect.Insert:
        """Return an insert statement that can define what happens on a conflict."""
        return sqlite_dialect.insert(table) if self._is_sqlite else postgresql.insert(table)

    @contextmanager
    def _translated_failures(self) -> Iterator[None]:
        failure: Exception
        try:
            yield
            return
        except sa.exc.SQLAlchemyError as error:
            failure = _failure_of(error, name=self._name)
        raise failure from None


class _RolledBackError(Exception):
    """The end of a transaction on trial."""


# To compile its statements is most of the work of an engine, so one serves each ledger that is opened on a file.
@functools.lru_cache(maxsize=4)
def _sqlite_engine(file: Path, busy_s: float, _process: int) -> sa.Engine:
    # A process that was forked must not use the connections of its parent.
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(file)),
        connect_args={"timeout": busy_s, "isolation_level": None, "check_same_thread": False},
        hide_parameters=True,
    )
    sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _machine_time() -> datetime:
    return datetime.now(UTC)


def _make_private(file: Path) -> None:
    # Closed before it is linked into place: closing a descriptor of a SQLite file drops the locks of the whole process.
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if file.exists():
            return
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as draft:
            pass
        with suppress(FileExistsError):
            file.hardlink_to(draft.name)
        Path(draft.name).unlink()
    except OSError as error:
        raise ConfigurationError(f"the ledger `{file}` cannot be created: {error.strerror}") from None


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.execute(f"PRAGMA cache_size={-_CACHE_KIB}")
    deadline = time.monotonic() + _OPENING_S
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            # While another process switches the file to WAL, SQLite refuses this at once, whatever the timeout.
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    if mode != "wal":
        raise ConfigurationError(
            "the ledger's file system has no shared memory, like most network file systems: "
            "put the ledger on a local disk or into PostgreSQL"
        )
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that begins with a read cannot wait for another writer later.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _failure_of(error: sa.exc.SQLAlchemyError, *, name: str) -> ConsentRetlError:
    if isinstance(error, sa.exc.TimeoutError):
        return LedgerUnavailableError(f"{name} has no free connection")
    if not isinstance(error, sa.exc.DBAPIError):
        return ConfigurationError(f"{name} cannot be used ({type(error).__name__})")
    sqlite_name = getattr(error.orig, "sqlite_errorname", None)
    if isinstance(sqlite_name, str):
        meaning = next((text for code, text in _REFUSED_SQLITE.items() if sqlite_name.startswith(code)), None)
        return _failure(name, meaning, sqlite_name)
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    if isinstance(state, str):
        refused = _REFUSED_STATES.get(state, "a statement was refused")
        is_refusal = state in _REFUSED_STATES or state.startswith(_REFUSED_CLASSES)
        return _failure(name, refused if is_refusal else None, f"SQLSTATE {state}")
    # libpq returns only text, and no SQLSTATE, when it cannot log in.
    text = str(error.orig)
    login = "authentication failed" in text or " does not exist" in text or "no password supplied" in text
    refused_login = "the login was refused, or the database does not exist"
    return _failure(name, refused_login if login else None, type(error.orig).__name__)


def _failure(name: str, refusal: str | None, code: str) -> ConsentRetlError:
    if refusal is not None:
        return ConfigurationError(f"{name}: {refusal} ({code})")
    return LedgerUnavailableError(f"{name} does not answer ({code})")
