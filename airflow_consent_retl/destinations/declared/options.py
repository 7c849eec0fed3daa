"""The parameters of a declared destination, and the check of the choices among them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.contract.withdrawal import wrong_withdrawal
from airflow_consent_retl.errors import Problem

if TYPE_CHECKING:
    from airflow_consent_retl.contract.checked_options import OptionCheck
    from airflow_consent_retl.destinations.declared.declaration import DestinationDeclaration
    from airflow_consent_retl.destinations.declared.destination import DeclaredHttpDestination

Parameter = str | int | float | bool | None


def _of_declaration(options: DeclaredSpec) -> Iterator[Problem]:
    declaration = options.declared()
    yield from wrong_choices(declaration, on_withdrawal=options.on_withdrawal, parameters=options.values())


@parameter_class
class DeclaredSpec(DestinationSpec):
    """The parameters of a declared destination. A subclass has the declaration's own as fields of the same names.

    Attributes:
        destination: the full name of the destination's class; empty: one that is made of the declaration.

    Args:
        conn_id: a connection of the declaration's vendor, or of type `consentwebhook` or `http`.
        on_withdrawal: see `DeclaredHttpOptions` in `building`, for this parameter and those that follow.
    """

    destination: ClassVar[str] = ""
    reads_templates: ClassVar[bool] = True
    counts: ClassVar[tuple[str, ...]] = ("concurrency", "max_attempts")
    positive: ClassVar[tuple[str, ...]] = ("timeout_s", "max_retry_s")
    checks: ClassVar[tuple[OptionCheck, ...]] = (_of_declaration,)

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
        from airflow_consent_retl.destinations.declared.building import DeclaredHttpOptions, built

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


@parameter_class
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
) -> list[Problem]:
    """Return the errors in the choices of a DAG."""
    from airflow_consent_retl.destinations.declared.declaration_checks import wrong_parameters

    wrong: list[str] = []
    if declaration.on_withdrawal:
        wrong = wrong_withdrawal(on_withdrawal, declaration.withdrawal_choices)
    elif on_withdrawal is not None:
        wrong = [f"{declaration.name} cannot remove people: on_withdrawal has to be None"]
    others = wrong_parameters(declaration, parameters, on_withdrawal=on_withdrawal or "")
    return [*(Problem("on_withdrawal", one) for one in wrong), *(Problem(name, one) for name, one in others)]
