"""The options of a declared destination, checked, and its building from a declaration."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.contract.withdrawal import wrong_withdrawal
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.declared.declaration import DestinationDeclaration
    from airflow_consent_retl.destinations.declared.destination import DeclaredHttpDestination
    from airflow_consent_retl.destinations.http.address import HttpAddress

Parameter = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredHttpOptions(HttpOptions):
    """The choices that the DAG makes; the other options are in `HttpOptions`.

    Args:
        on_withdrawal: one of the declaration's choices; None where it has none.
        parameters: the values of the declaration's parameters.
    """

    on_withdrawal: str | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredSpec(DestinationSpec):
    """The parameters of a declared destination. A subclass has the declaration's own as fields of the same names.

    Attributes:
        destination: the full name of the destination's class; empty: one that is made of the declaration.

    Args:
        conn_id: a connection of the declaration's vendor, or of type `consentwebhook` or `http`.
        on_withdrawal: see `DeclaredHttpOptions`, for this parameter and those that follow.
    """

    destination: ClassVar[str] = ""

    conn_id: str
    on_withdrawal: str | None
    concurrency: int = 4
    timeout_s: float = 30
    max_attempts: int = 6
    max_retry_s: float = 300

    @abstractmethod
    def declared(self) -> DestinationDeclaration:
        """Return the declaration that suits the parameters."""

    def values(self) -> Mapping[str, Parameter]:
        """Return the values of the declaration's parameters."""
        return {name: getattr(self, name) for name in self.declared().parameters}

    def build(self) -> DeclaredHttpDestination:
        """Return the destination, not yet opened; reads the connection and contacts nothing."""
        options = DeclaredHttpOptions(
            on_withdrawal=self.on_withdrawal,
            parameters=self.values(),
            concurrency=self.concurrency,
            timeout_s=self.timeout_s,
            max_attempts=self.max_attempts,
            max_retry_s=self.max_retry_s,
        )
        module, _, name = self.destination.rpartition(".")
        kind = getattr(import_module(module), name) if name else None
        return built(self.declared(), options, conn_id=self.conn_id, kind=kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredHttpSpec(DeclaredSpec):
    """The parameters of the operator, of the same names.

    Args:
        declaration: see `DestinationDeclaration`.
        parameters: the values of its parameters.
    """

    templated: ClassVar[tuple[str, ...]] = ("conn_id", "parameters")

    declaration: DestinationDeclaration
    parameters: Mapping[str, Parameter] | None = None
    concurrency: int = 8

    def declared(self) -> DestinationDeclaration:
        """Return the declaration."""
        return self.declaration

    def values(self) -> Mapping[str, Parameter]:
        """Return the values of the declaration's parameters, as they are given."""
        return self.parameters or {}


def wrong_choices(
    declaration: DestinationDeclaration, *, on_withdrawal: str | None, parameters: Mapping[str, object]
) -> list[str]:
    """Return the errors in the choices of a DAG."""
    from airflow_consent_retl.destinations.declared.declaration_checks import wrong_parameters

    wrong = wrong_parameters(declaration, parameters, on_withdrawal=on_withdrawal or "")
    if declaration.on_withdrawal:
        return wrong_withdrawal(on_withdrawal, declaration.withdrawal_choices) + wrong
    if on_withdrawal is not None:
        return [f"{declaration.name} cannot remove people: on_withdrawal has to be None", *wrong]
    return wrong


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
        raise ConfigurationError("; ".join(wrong))
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
