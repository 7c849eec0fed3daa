"""The function that opens the ledger: in a PostgreSQL connection, or in a file of a workspace on a local disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_consent_retl.compat import conf
from airflow_consent_retl.databases.engine import sqlalchemy_engine
from airflow_consent_retl.databases.registry import database_of, titles
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.approving import approval_required
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.storage.folder import Folder

_log = module_log(__name__)
_FILE = "ledger.db"
_TRIAL_S = 10.0


def open_ledger(workspace: str | None, ledger_conn_id: str | None = None) -> Ledger:
    """Open the ledger of a workspace, and check that they belong together: see `delivery.pairing`.

    Args:
        workspace: the operator's workspace, or None.
        ledger_conn_id: a PostgreSQL connection. The default is `[consent_retl] ledger_conn_id`; without it, a SQLite
            file in the workspace, for workers on one machine.

    Raises:
        ConfigurationError: the connection is not PostgreSQL, there is no connection and the workspace is not a local
            folder, the ledger and the workspace do not belong together, or the suppression list is an older one, or
            the archive of policies is, where policies need an approval.
        LedgerUnavailableError: the ledger does not answer.
    """
    from airflow_consent_retl.delivery.pairing import pair
    from airflow_consent_retl.storage.location import open_folder, workspace_root

    ledger = open_unpaired(workspace, ledger_conn_id)
    with ExitStack() as undo:
        undo.callback(ledger.close)
        root = open_folder(workspace_root(workspace))
        ledger.workspace = pair(ledger, root)
        _check_backups(ledger, root)
        undo.pop_all()
    return ledger


def unserved_days() -> float:
    """Return after how many days each load warns of syncs with people that no run has served; 0: never."""
    return float(conf.getfloat("consent_retl", "unserved_days", fallback=7.0))


def open_unpaired(workspace: str | None, ledger_conn_id: str | None = None) -> Ledger:
    """Open the ledger that a workspace and the settings name, whatever workspace it belongs to: see `open_ledger`."""
    from airflow_consent_retl.delivery.ledger import Ledger

    engine = _engine(ledger_conn_id)
    if engine is not None:
        return Ledger.from_engine(engine)
    root = _local_root(workspace)
    root.make()
    return Ledger.sqlite(Path(root.file_path(_FILE)))


def existing_ledger(workspace: str | None = None, ledger_conn_id: str | None = None) -> Ledger | None:
    """Open the ledger that a workspace and the settings name, to read it; None: there is no file of it here.

    Raises: as `open_ledger`, except that the workspace is not looked at.
    """
    conn_id = ledger_conn_id or conf.get("consent_retl", "ledger_conn_id", fallback=None)
    if not conn_id and not Path(_local_root(workspace).file_path(_FILE)).exists():
        return None
    return open_unpaired(workspace, ledger_conn_id)


@contextmanager
def ledger_copy(workspace: str | None, ledger_conn_id: str | None = None) -> Iterator[Ledger]:
    """Copy the ledger that `open_ledger` would open, and open the copy: what is written there is gone at the end.

    Neither the ledger nor the workspace changes, also where there is no ledger yet.

    Raises: as `open_ledger`.
    """
    from airflow_consent_retl.delivery.ledger.copying import copy_of_database, copy_of_file
    from airflow_consent_retl.delivery.ledger.ledger_database import LedgerDatabase
    from airflow_consent_retl.delivery.pairing import pair
    from airflow_consent_retl.storage.location import open_folder, workspace_root
    from airflow_consent_retl.values.temporary import temporary_folder

    engine = _engine(ledger_conn_id)
    with ExitStack() as resources:
        copy = Path(resources.enter_context(temporary_folder())) / _FILE
        if engine is None:
            ledger = copy_of_file(Path(_local_root(workspace).file_path(_FILE)), copy)
        else:
            database = LedgerDatabase.to_copy(engine)
            resources.callback(database.close)
            ledger = copy_of_database(database, copy)
        resources.enter_context(ledger)
        root = open_folder(workspace_root(workspace))
        ledger.workspace = pair(ledger, root, joins=False)
        _check_backups(ledger, root)
        yield ledger


def try_ledger(workspace: str | None, ledger_conn_id: str | None = None) -> None:
    """Prove that the ledger that `open_ledger` would open can be written to. Nothing that is written stays.

    A ledger file that is missing is made by the first run, in the workspace.

    Raises:
        ConfigurationError: the connection is wrong, or the ledger refuses the user or the write.
        LedgerUnavailableError: the ledger does not answer.
    """
    from airflow_consent_retl.delivery.ledger.ledger_database import LedgerDatabase

    engine = _engine(ledger_conn_id)
    place = Path(_local_root(workspace).file_path(_FILE)) if engine is None else engine
    if isinstance(place, Path) and not place.exists():
        return
    with closing(LedgerDatabase.on_trial(place, busy_s=_TRIAL_S)) as database:
        database.try_writing()


def seconds_ahead(ledger_conn_id: str | None = None) -> float | None:
    """Return by how many seconds this machine's clock is ahead of the ledger's; None: the ledger is a file.

    Raises:
        ConfigurationError, LedgerUnavailableError: the ledger's database cannot be read.
    """
    from airflow_consent_retl.delivery.ledger.ledger_database import LedgerDatabase

    engine = _engine(ledger_conn_id)
    if engine is None:
        return None
    with closing(LedgerDatabase.to_copy(engine)) as database, database.read() as connection:
        before = datetime.now(UTC)
        theirs = database.now(connection)
        ours = before + (datetime.now(UTC) - before) / 2
    return (ours - theirs).total_seconds()


def _check_backups(ledger: Ledger, root: Folder) -> None:
    """Check that suppression list and archive of policies were not replaced by older ones."""
    from airflow_consent_retl.delivery.pairing import check_acts, check_archive
    from airflow_consent_retl.storage.location import policy_archive_folder

    check_acts(ledger, root)
    check_archive(ledger, policy_archive_folder(), approves=approval_required(), log=_log)


def _engine(ledger_conn_id: str | None) -> Engine | None:
    """Return the engine of the ledger's connection; None: the ledger is a file in the workspace."""
    from sqlalchemy.exc import ArgumentError

    conn_id = ledger_conn_id or conf.get("consent_retl", "ledger_conn_id", fallback=None)
    if not conn_id:
        return None
    hook = sql_hook(conn_id)
    if not database_of(hook.conn_type).is_for_ledgers:
        able = titles(lambda database: database.is_for_ledgers)
        raise ConfigurationError(f"connection `{conn_id}` is of type `{hook.conn_type}`: a ledger needs {able}")
    try:
        return sqlalchemy_engine(hook)
    except (ArgumentError, ImportError):
        raise ConfigurationError(f"connection `{conn_id}`: SQLAlchemy has no driver for it") from None


def _local_root(workspace: str | None) -> Folder:
    from airflow_consent_retl.storage.location import open_folder, workspace_root

    root = open_folder(workspace_root(workspace))
    if not root.is_local:
        raise ConfigurationError(
            f"the workspace `{root.uri}` is in object storage: set `[consent_retl] ledger_conn_id` to a PostgreSQL "
            "connection, so that all workers share one ledger"
        )
    return root
