"""The masking of secrets in a connection's extra, so that Airflow shows none of them in a log or a rendered field.

Airflow itself masks passwords, and keys of an extra whose names sound secret. Here every text of the extra is masked,
unless its key is known to hold no secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Connection

# Keys of the extras of the connections that this package reads: places, names of settings, and choices.
_HARMLESS = frozenset(
    {
        "account", "allow_plain_http", "allow_private", "api_resource_configs", "application_name",
        "auth_provider_x509_cert_url", "auth_uri", "authenticator", "autocommit", "bucket_name", "charset",
        "client_encoding", "client_x509_cert_url", "connect_timeout", "cursor", "data_manager_endpoint",
        "database", "dataset", "dbname", "domain", "driver", "endpoint", "endpoint_url", "host", "hostname",
        "http_path", "impersonation_chain", "is_anonymous", "keepalives", "keepalives_count", "keepalives_idle",
        "keepalives_interval", "labels", "location", "maximum_bytes_billed", "num_retries", "ocsp_fail_open",
        "options", "policy", "port", "priority", "project", "project_id", "quota_project", "region",
        "region_name", "retry_timeout_s", "role", "schema", "scope", "scopes", "server", "session_parameters",
        "ssl_mode", "sslcert", "sslkey", "sslmode", "sslrootcert", "storage_endpoint", "target", "timeout",
        "timezone", "token_uri", "token_url", "type", "universe_domain", "use_legacy_sql", "user", "username",
        "version", "warehouse",
    }
)  # fmt: skip
# The names of headers are the DAG author's: none of them makes its value harmless.
_HEADERS = "headers"
# Airflow's own names for fields of older connection forms begin so.
_PREFIX = "extra__"
# Shorter texts occur in every log line.
_SHORTEST = 5


def mask_extra(connection: Connection) -> None:
    """Have Airflow mask all texts of a connection's extra, except those under keys that are known to be harmless.

    An extra that is no JSON object is masked as a whole.
    """
    from airflow.sdk.log import mask_secret

    if not connection.extra:
        return
    try:
        extra = connection.extra_dejson
    except ValueError:
        extra = None
    for text in _secrets(extra) if isinstance(extra, Mapping) else [connection.extra]:
        if len(text) >= _SHORTEST:
            mask_secret(text)


@cache
def mask_storage(conn_id: str) -> None:
    """Have Airflow mask the extra of an object storage's connection, once in each process."""
    from airflow.sdk import BaseHook

    mask_extra(BaseHook.get_connection(conn_id))


def _secrets(extra: Mapping[str, object], *, below: str = "") -> Iterator[str]:
    for key, value in extra.items():
        name = (key.rsplit("__", 1)[-1] if key.startswith(_PREFIX) else key).lower()
        if below == _HEADERS or name not in _HARMLESS:
            yield from _texts(value, below=name if below != _HEADERS else below)


def _texts(value: object, *, below: str) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        # A key file is often kept as text within the extra.
        if value.startswith(("{", "[")):
            try:
                inner = json.loads(value)
            except ValueError:
                return
            yield from _texts(inner, below=below)
    elif isinstance(value, Mapping):
        yield from _secrets(value, below=below)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, below=below)
