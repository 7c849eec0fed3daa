"""The options of a declared destination, checked, and its building from a declaration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_consent_retl.destinations.declared.options import Parameter, wrong_choices
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.errors import OptionsError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.declared.declaration import DestinationDeclaration
    from airflow_consent_retl.destinations.declared.destination import DeclaredHttpDestination
    from airflow_consent_retl.destinations.http.address import HttpAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredHttpOptions(HttpOptions):
    """The choices that the DAG makes; the other options are in `HttpOptions`.

    Args:
        on_withdrawal: one of the declaration's choices; None where it has none.
        parameters: the values of the declaration's parameters.
    """

    on_withdrawal: str | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


def built(
    declaration: DestinationDeclaration,
    options: DeclaredHttpOptions,
    *,
    conn_id: str,
    kind: type[DeclaredHttpDestination] | None = None,
) -> DeclaredHttpDestination:
    """Return a declared destination, not yet opened.

    Args:
        declaration: see there.
        options: see there.
        conn_id: the connection.
        kind: the destination's class; None: one that is made of the declaration.

    Raises:
        ConfigurationError: the choices or the connection are wrong; the message names all errors.
    """
    from airflow_consent_retl.destinations.declared.destination import destination_class

    wrong = wrong_choices(declaration, on_withdrawal=options.on_withdrawal, parameters=options.parameters)
    if wrong:
        raise OptionsError(wrong)
    return (kind or destination_class(declaration))(_address(declaration, conn_id), options, declaration)


def _address(declaration: DestinationDeclaration, conn_id: str) -> HttpAddress:
    from airflow_consent_retl.destinations.http.address import http_address
    from airflow_consent_retl.destinations.http.vendor import Vendor, vendor_address
    from airflow_consent_retl.hooks.lookups import connection_named

    vendor, authentication = declaration.vendor, declaration.authentication
    if vendor is None and authentication is not None:
        found = str(connection_named(conn_id).conn_type)
        conn_type = found if found in {"consentwebhook", "http", "https"} else "consentwebhook"
        vendor = Vendor(conn_type=conn_type, name=declaration.name, hook="", host=None, authentication=authentication)
    if vendor is None:
        address = http_address(connection_named(conn_id), endpoint="/")
    else:
        address = vendor_address(conn_id, vendor, "/")
    return replace(address, api_headers={**address.api_headers, **declaration.headers})
