"""Storage of snapshots, permitted sets, changes and delivered states: folders with manifests."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_consent_retl.storage.opening import OpenedPermitted, OpenedSnapshot, open_permitted, open_snapshot

__all__ = ["OpenedPermitted", "OpenedSnapshot", "open_permitted", "open_snapshot"]


def __getattr__(name: str) -> Any:
    """Import a name when it is used: it loads Airflow, which most of this folder does not need."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.opening"), name)
