"""The function that opens the ledger: in a PostgreSQL connection, or in a file of a workspace on a local disk."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_consent_retl.compat import conf
from airflow_consent_retl.databases.engine import sqlalchemy_engine
from airflow_consent_retl.databases.registry import database_of, titles
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.sql import sql_hook

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger import Ledger

_FILE = "ledger.db"


def open_ledger(workspace: str | None, ledger_conn_id: str | None = None) -> Ledger:
    """Open the ledger of a workspace, and check that they belong together: see `delivery.pairing`.

    Args:
        workspace: the operator's workspace, or None.
        ledger_conn_id: a PostgreSQL connection. The default is `[consent_retl] ledger_conn_id`; without it, a SQLite
            file in the workspace, for workers on one machine.

    Raises:
        ConfigurationError: the connection is not PostgreSQL, there is no connection and the workspace is not a local
            folder, or the ledger and the workspace do not belong together.
        LedgerUnavailableError: the ledger does not answer.
    """
    from airflow_consent_retl.delivery.pairing import pair
    from airflow_consent_retl.storage.location import open_folder, workspace_root

    ledger = open_unpaired(workspace, ledger_conn_id)
    with ExitStack() as undo:
        undo.callback(ledger.close)
        ledger.workspace = pair(ledger, open_folder(workspace_root(workspace)))
        undo.pop_all()
    return ledger


def unserved_days() -> float:
    """Return after how many days each load warns of syncs with people that no run has served; 0: never."""
    return float(conf.getfloat("consent_retl", "unserved_days", fallback=7.0))


def open_unpaired(workspace: str | None, ledger_conn_id: str | None = None) -> Ledger:
    """Open the ledger that a workspace and the settings name, whatever workspace it belongs to: see `open_ledger`."""
    from sqlalchemy.exc import ArgumentError

    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.storage.location import open_folder, workspace_root

    conn_id = ledger_conn_id or conf.get("consent_retl", "ledger_conn_id", fallback=None)
    if conn_id:
        hook = sql_hook(conn_id)
        if not database_of(hook.conn_type).is_for_ledgers:
            able = titles(lambda database: database.is_for_ledgers)
            raise ConfigurationError(f"connection `{conn_id}` is of type `{hook.conn_type}`: a ledger needs {able}")
        try:
            return Ledger.from_engine(sqlalchemy_engine(hook))
        except (ArgumentError, ImportError):
            raise ConfigurationError(f"connection `{conn_id}`: SQLAlchemy has no driver for it") from None
    root = open_folder(workspace_root(workspace))
    if not root.is_local:
        raise ConfigurationError(
            f"the workspace `{root.uri}` is in object storage: set `[consent_retl] ledger_conn_id` to a PostgreSQL "
            "connection, so that all workers share one ledger"
        )
    root.make()
    return Ledger.sqlite(Path(root.file_path(_FILE)))
