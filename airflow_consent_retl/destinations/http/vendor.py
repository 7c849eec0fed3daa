"""The record of a vendor: its connection type, its host and its authentication. Importing it is cheap.

    ACME = Vendor(conn_type="consentacme", name="Acme", host="https://api.acme.example", authentication=BEARER, …)

The package of a destination, its `__init__.py`, defines one under the name `VENDOR`; the provider info, which every
process of Airflow reads, the connection's form and its test are computed from it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.vendor_auth import Authentication

NETWORK_FLAGS: Mapping[str, Mapping[str, Any]] = {
    "allow_private": {
        "label": "Allow private addresses",
        "description": "The host may be inside your own network, or on this machine.",
        "schema": {"type": ["boolean", "null"]},
    },
    "allow_plain_http": {
        "label": "Allow plain HTTP",
        "description": "Rows may cross the public internet without encryption.",
        "schema": {"type": ["boolean", "null"]},
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A vendor's API, as connections of a type of its own name it.

    Args:
        conn_type: the connection type, letters only, such as `consentacme`.
        name: the vendor's name for people.
        hook: the full name of the class of its hook, a `VendorHook`.
        host: the URL of its API; None: each account has another one, which the connection has to name.
        authentication: see there.
        headers: sent with every request, such as the version of the API. No part of the place that rows go to.
        test: the method and the endpoint that the test of a connection asks, such as `GET /v1/me`: one that shows
            whether the credentials are valid, and changes nothing.
        test_body: of that request.
        test_statuses: the statuses that show it.
        host_example: shown in the form where `host` is None.
    """

    conn_type: str
    name: str
    hook: str
    host: str | None
    authentication: Authentication
    headers: Mapping[str, str] = field(default_factory=dict)
    test: str = "GET /"
    test_body: bytes = b""
    test_statuses: Collection[int] = (200,)
    host_example: str = "https://api.example.com"

    @property
    def form(self) -> Mapping[str, Any]:
        """The connection's form, an entry of the provider info."""
        labels = dict(self.authentication.labels)
        unused = [name for name in ("login", "password") if name not in labels]
        where = "API host" if self.host is None else "API host (leave it empty)"
        return {
            "connection-type": self.conn_type,
            "hook-class-name": self.hook,
            "hook-name": self.name,
            "ui-field-behaviour": {
                "hidden-fields": ["schema", "port", "extra", *unused],
                "relabeling": {"host": where, **labels},
                "placeholders": {"host": self.host or self.host_example},
            },
            "conn-fields": {**self.authentication.fields, **NETWORK_FLAGS},
        }


def vendor_address(conn_id: str, vendor: Vendor, endpoint: str) -> HttpAddress:
    """Return the address of an endpoint of a vendor, with the connection's credentials; contacts nothing.

    A host in the connection has precedence over the vendor's, for a stand-in or a region.

    Args:
        conn_id: a connection of the vendor's type.
        vendor: see there.
        endpoint: a path below the host, with or without a query. `HttpAddress.at` gives others of the same host, which
            share the token.

    Raises:
        ConfigurationError: the connection or the endpoint is not usable; no secret is quoted.
    """
    from airflow.sdk.log import mask_secret

    from airflow_consent_retl.destinations.http.address import address_of, extra_of, how_to_change
    from airflow_consent_retl.hooks.lookups import connection_named

    connection = connection_named(conn_id)
    if connection.conn_type != vendor.conn_type:
        raise ConfigurationError(
            f"connection `{conn_id}` is of type `{connection.conn_type}`, {vendor.name} needs `{vendor.conn_type}`"
            f"{how_to_change(connection, vendor.conn_type, vendor.name)}"
        )
    if vendor.host is None and not (connection.host or "").strip():
        raise ConfigurationError(
            f"connection `{conn_id}` has no host: each account of {vendor.name} has one of its own, such as "
            f"{vendor.host_example}"
        )
    extra = extra_of(connection, [*vendor.authentication.fields, *NETWORK_FLAGS])
    address = address_of(connection, extra, endpoint=endpoint, host=vendor.host or "")
    headers = vendor.authentication.headers(connection)
    for secret in (connection.password, *headers.values()):
        if secret:
            mask_secret(secret)
    tokens = vendor.authentication.tokens(connection, extra, address)
    return replace(address, headers=headers, api_headers=dict(vendor.headers), tokens=tokens)
