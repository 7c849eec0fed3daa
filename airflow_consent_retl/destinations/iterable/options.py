"""The vendor's record of Iterable, and the parameters that its destination is built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.destinations.declared.options import DeclaredSpec

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.declared.declaration import DestinationDeclaration

IterableId = Literal["email", "userId"]
IterableWithdrawal = Literal["leave_audience", "delete", "privacy_delete"]


@parameter_class
class IterableSpec(DeclaredSpec):
    """The parameters of the operator, of the same names."""

    templated: ClassVar[tuple[str, ...]] = ("conn_id", "project_id", "list_id")
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"known_by": get_args(IterableId)}
    destination: ClassVar[str] = "airflow_consent_retl.destinations.iterable.destination.IterableDestination"

    project_id: int | str
    on_withdrawal: IterableWithdrawal
    conn_id: str = "consentiterable_default"
    known_by: IterableId = "email"
    list_id: int | str | None = None
    timeout_s: float = 60

    def declared(self) -> DestinationDeclaration:
        """Return the declaration for the identifier of people, and for the place that they are put in."""
        from airflow_consent_retl.destinations.iterable.iterable_requests import iterable

        return iterable(self.known_by, on_list=self.list_id is not None)
