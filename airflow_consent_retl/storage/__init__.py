"""Storage of snapshots, permitted sets, changes and delivered states: folders with manifests."""

from __future__ import annotations

from airflow_consent_retl.storage.opening import OpenedPermitted, OpenedSnapshot, open_permitted, open_snapshot

__all__ = ["OpenedPermitted", "OpenedSnapshot", "open_permitted", "open_snapshot"]
