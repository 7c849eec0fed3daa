"""The workspaces of a deployment with their ledgers: its default, and those of `[consent_retl] page_workspaces`.

A DAG may name any workspace and ledger. The page and a task's links know those of this list.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from airflow_consent_retl.compat import conf
from airflow_consent_retl.errors import ConfigurationError

_OPTION: Final = "page_workspaces"
_FORM: Final = '{"emea": {"workspace": "s3://…", "ledger_conn_id": "…"}}'
_KEYS: Final = {"workspace", "ledger_conn_id"}


@dataclass(frozen=True, slots=True)
class KnownWorkspace:
    """A workspace and its ledger.

    Args:
        name: in the list; empty: the deployment's default.
        workspace: its URI; None: `[consent_retl] workspace`.
        ledger_conn_id: the connection of its ledger; None: `[consent_retl] ledger_conn_id`.
    """

    name: str = ""
    workspace: str | None = None
    ledger_conn_id: str | None = None


def known_workspaces() -> Mapping[str, KnownWorkspace]:
    """Return the workspaces by name, the default first.

    Raises:
        ConfigurationError: the option is no such list.
    """
    configured = conf.get("consent_retl", _OPTION, fallback=None) or "{}"
    try:
        listed = json.loads(configured)
    except ValueError:
        listed = None
    if not isinstance(listed, dict) or not all(_is_entry(name, entry) for name, entry in listed.items()):
        raise ConfigurationError(f"`[consent_retl] {_OPTION}`: expected {_FORM}, with one key or both for each name")
    return {"": KnownWorkspace(), **{name: KnownWorkspace(name, **entry) for name, entry in listed.items()}}


def name_of(workspace: str | None, ledger_conn_id: str | None) -> str:
    """Return the name of the workspace that a task uses; empty: it is the default, or none of the list.

    Raises:
        ConfigurationError: as `known_workspaces`.
    """
    used = _place(workspace, ledger_conn_id)
    found = (one.name for one in known_workspaces().values() if _place(one.workspace, one.ledger_conn_id) == used)
    return next(found, "")


def _place(workspace: str | None, ledger_conn_id: str | None) -> tuple[str, str]:
    folder = workspace or conf.get("consent_retl", "workspace", fallback=None) or ""
    ledger = ledger_conn_id or conf.get("consent_retl", "ledger_conn_id", fallback=None) or ""
    return folder.rstrip("/"), ledger


def _is_entry(name: Any, entry: Any) -> bool:
    return bool(
        name
        and isinstance(entry, dict)
        and entry
        and entry.keys() <= _KEYS
        and all(isinstance(value, str) and value for value in entry.values())
    )
