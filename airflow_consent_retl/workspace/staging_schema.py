"""The place that an operator's `workspace` or a manifest names: files, or the staging schema of a warehouse."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.storage.manifest import PermittedManifest, SnapshotManifest
    from airflow_consent_retl.storage.sync_manifests import DeliveredManifest

_SCHEME = "warehouse:"
_SCHEMA = r"[A-Za-z0-9_$-]+(\.[A-Za-z0-9_$-]+){0,2}"


def staging_schema(workspace: str | None) -> str | None:
    """Return the staging schema that `warehouse:<schema>` names; None for a workspace in files.

    Raises:
        ConfigurationError: it names no schema.
    """
    if workspace is None or not workspace.startswith(_SCHEME):
        return None
    schema = workspace.removeprefix(_SCHEME)
    if not re.fullmatch(_SCHEMA, schema):
        raise ConfigurationError(f"workspace `{workspace}`: expected `warehouse:<schema>`, such as `warehouse:staging`")
    return schema


def schema_of(manifest: SnapshotManifest | PermittedManifest | DeliveredManifest) -> str | None:
    """Return the staging schema of a manifest's rows; None where they are in files."""
    table = manifest.warehouse_table
    return None if table is None else table.namespace
