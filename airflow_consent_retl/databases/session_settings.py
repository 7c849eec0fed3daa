"""Settings of a session that decide which rows a query returns: the hook's parameters and the time zone, checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from airflow_consent_retl.databases.database import UTC_ZONE, Database
from airflow_consent_retl.errors import ConfigurationError

SERVER_ZONE = "server"
"""The recorded time zone of a database whose sessions have none of their own."""

_SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|passcode|secret|token|private_key|api_?key|access_key|credential|keyfile|authorization",
    re.IGNORECASE,
)
# A path or the name of a secret is no secret.
_NO_SECRET_NAME = re.compile(r"_(path|file|name|id|url|uri|timeout(_\w+)?|lifetime)$", re.IGNORECASE)
_SECRET_TEXT = re.compile(r"-----BEGIN|://[^/@\s:]*:[^/@\s]+@|\b(password|passwd|pwd|token|secret)\s*=", re.IGNORECASE)


def checked_hook_params(hook_params: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a hook's parameters for a manifest.

    Raises:
        ConfigurationError: they are not plain JSON values, or one of them looks like a secret.
    """
    if not hook_params:
        return {}
    try:
        written = json.dumps(hook_params, allow_nan=False)
    except (TypeError, ValueError):
        written = ""
    if not written or not isinstance(hook_params, Mapping):
        raise ConfigurationError(
            "hook_params: expected an object of plain JSON values, since later tasks read it from the manifest"
        )
    params: dict[str, Any] = json.loads(written)
    if secret := next(_secrets(params, "hook_params"), None):
        raise ConfigurationError(
            f"{secret}: this looks like a secret, and hook_params are written into manifests: put it into the "
            "connection, which may be another one for this model"
        )
    return params


def _secrets(value: object, path: str) -> Iterator[str]:
    """Yield the paths of values that look like secrets."""
    if isinstance(value, dict):
        for name, part in value.items():
            is_secret_name = _SECRET_NAME.search(name) and not _NO_SECRET_NAME.search(name)
            if is_secret_name and isinstance(part, str | dict | list):
                yield f"{path}.{name}"
            yield from _secrets(part, f"{path}.{name}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _secrets(part, f"{path}[{number}]")
    elif isinstance(value, str) and _SECRET_TEXT.search(value):
        yield path


def checked_time_zone(database: Database, time_zone: str | None, *, conn_id: str) -> str:
    """Return the time zone of a model's sessions, as the manifest records it: UTC unless the model names another one.

    Args:
        database: of the model's connection.
        time_zone: what the model says, a name of the IANA database; None: nothing.
        conn_id: of the connection, for messages.

    Raises:
        ConfigurationError: there is no such zone, or the database's sessions have no time zone.
    """
    if time_zone is not None and not _is_zone(time_zone):
        raise ConfigurationError(
            f"session_time_zone: `{time_zone}` is no name of the IANA time zone database, such as `Europe/Paris`"
        )
    if database.has_time_zone:
        return time_zone or UTC_ZONE
    if time_zone not in (None, UTC_ZONE):
        title = database.title or "this database"
        raise ConfigurationError(
            f"session_time_zone: no time zone can be set in a session of {title} (connection `{conn_id}`): remove "
            "it, and convert times in the SQL"
        )
    return SERVER_ZONE


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return False
    return True
