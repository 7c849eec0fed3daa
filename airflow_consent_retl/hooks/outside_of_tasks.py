"""Variables and connections for a process that is no task: where it reads them, and what Airflow's errors mean."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from airflow_consent_retl.compat import AirflowException, AirflowNotFoundException
from airflow_consent_retl.errors import ConfigurationError

# Airflow's own commands set it: their process reads the metadata database.
_PROCESS = "_AIRFLOW_PROCESS_CONTEXT"
_TIMEOUT_S = 5
_WITH_CONNECT_TIMEOUT = {"mysqldb", "psycopg", "psycopg2", "pymysql"}
# Why the metadata database cannot be read; None: it is read, or no one asked.
_obstacle: ContextVar[str | None] = ContextVar("obstacle", default=None)


@contextmanager
def reading_airflow() -> Iterator[None]:
    """Have Airflow read Variables and connections from its metadata database, where this process reaches it.

    Where not, they are read from the secrets backend and the environment only.
    """
    before = os.environ.get(_PROCESS)
    obstacle = database_obstacle()
    token = _obstacle.set(obstacle)
    if obstacle is None:
        os.environ[_PROCESS] = "server"
    else:
        # Each lookup in a database that is not reached would print a traceback.
        os.environ.pop(_PROCESS, None)
    try:
        with warnings.catch_warnings():
            # Airflow's own connections of the database look their hook up in a way that Airflow deprecated.
            warnings.filterwarnings("ignore", message="ProvidersManager.hooks is deprecated", category=FutureWarning)
            yield
    finally:
        _obstacle.reset(token)
        os.environ.pop(_PROCESS, None)
        if before is not None:
            os.environ[_PROCESS] = before


def database_obstacle() -> str | None:
    """Return why Airflow's metadata database cannot be read here, without its password; None: it can.

    It makes no file: SQLite would make an empty database.
    """
    import sqlalchemy as sa
    from airflow.configuration import conf

    try:
        url = sa.make_url(conf.get("database", "sql_alchemy_conn"))
    except (sa.exc.ArgumentError, AirflowException, ValueError):
        # Their messages may have the password in them.
        return "`[database] sql_alchemy_conn` is no URL"
    is_file = url.get_backend_name() == "sqlite"
    if is_file and not Path(url.database or "").is_file():
        return f"there is no file `{url.database}`"
    try:
        timeout = "timeout" if is_file else "connect_timeout"
        options = {timeout: _TIMEOUT_S} if is_file or url.get_driver_name() in _WITH_CONNECT_TIMEOUT else {}
        engine = sa.create_engine(url, poolclass=sa.NullPool, connect_args=options)
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT 1 FROM variable WHERE 1 = 0"))
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        found = str(getattr(error, "orig", error)).strip().partition("\n")[0]
        return f"{url.render_as_string(hide_password=True)}: {found}"
    return None


@contextmanager
def missing_in_words() -> Iterator[None]:
    """Turn Airflow's errors about a Variable or a connection that is nowhere into errors of this package.

    Raises:
        ConfigurationError: a Variable or a connection was not found.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError

    message = ""
    try:
        yield
    except AirflowNotFoundException as error:
        message = f"{error}; {_places('AIRFLOW_CONN_<CONN_ID>')}"
    except AirflowRuntimeError as error:
        detail = error.error.detail or {}
        message = (
            f"{detail.get('message', str(error))}; {_places('AIRFLOW_VAR_<KEY>')}, or name a policy by --policy-file "
            "where the verb has it"
        )
    if message:
        raise ConfigurationError(message)


def why_unread() -> str:
    """Return, for messages, why this process does not read Airflow's database; empty if it does, or no one asked."""
    obstacle = _obstacle.get()
    return "" if obstacle is None else f" (Airflow's database is not read: {obstacle})"


def _places(name: str) -> str:
    return (
        "this process reads Variables and connections from Airflow's secrets backend, the environment, and Airflow's "
        f"database where it reaches it{why_unread()}: set {name}"
    )
