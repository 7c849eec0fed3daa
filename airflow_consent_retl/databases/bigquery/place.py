"""The place of a BigQuery dataset: its project."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Connection

_NAMES = ("project", "project_id", "extra__google_cloud_platform__project")


def place(connection: Connection) -> str:
    """Return the project that a connection or its key names; without one, that of the worker's own credentials."""
    extra = connection.extra_dejson
    named = next((extra[name] for name in _NAMES if extra.get(name)), None)
    return f"project {named or _project_of_key(extra.get('keyfile_dict')) or 'of the default credentials'}"


def _project_of_key(key: object) -> str | None:
    try:
        document = json.loads(key) if isinstance(key, str) else key
    except ValueError:
        return None
    return document.get("project_id") if isinstance(document, dict) else None
