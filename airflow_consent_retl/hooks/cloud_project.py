"""The Google Cloud project of a connection, by which Google counts requests. It reads no credentials."""

from __future__ import annotations

import json
from collections.abc import Sequence

from airflow_consent_retl.hooks.lookups import connection_named

_SERVICE_ACCOUNTS = ".iam.gserviceaccount.com"


def cloud_project(conn_id: str, impersonation_chain: str | Sequence[str] | None = None) -> str:
    """Return the project of the service account that is impersonated, or that the connection's key or extra names.

    Otherwise it is the connection itself: two connections of one project are then counted apart.

    Args:
        conn_id: a Google Cloud connection.
        impersonation_chain: service account to impersonate, or a chain of them; by default the connection's.
    """
    extra = connection_named(conn_id).extra_dejson
    chain = impersonation_chain or extra.get("impersonation_chain") or ""
    account = str(chain if isinstance(chain, str) else chain[-1]).rpartition(",")[2].strip()
    name, _, host = account.partition("@")
    if name and host.endswith(_SERVICE_ACCOUNTS):
        return host.removesuffix(_SERVICE_ACCOUNTS)
    key = extra.get("keyfile_dict")
    try:
        key = json.loads(key) if isinstance(key, str) else key
    except ValueError:
        key = None
    named = key.get("project_id") if isinstance(key, dict) else None
    return str(named or extra.get("project") or conn_id)
