"""The vendor's record of Customer.io, and the parameters that its destination is built from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.destinations.declared.options import DeclaredSpec

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.declared.declaration import DestinationDeclaration

CustomerioId = Literal["id", "email", "cio_id"]
CustomerioWithdrawal = Literal["leave_audience", "unsubscribe", "suppress", "delete"]


@parameter_class
class CustomerioSpec(DeclaredSpec):
    """The parameters of the operator, of the same names."""

    templated: ClassVar[tuple[str, ...]] = ("conn_id", "workspace_id", "segment_id")
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"known_by": get_args(CustomerioId)}
    destination: ClassVar[str] = "airflow_consent_retl.destinations.customerio.destination.CustomerioDestination"

    workspace_id: int | str
    on_withdrawal: CustomerioWithdrawal
    conn_id: str = "consentcustomerio_default"
    known_by: CustomerioId = "id"
    segment_id: int | str | None = None

    def declared(self) -> DestinationDeclaration:
        """Return the declaration for the identifier of people, and for the place that they are put in."""
        from airflow_consent_retl.destinations.customerio.customerio_requests import customerio

        return customerio(self.known_by, in_segment=self.segment_id is not None)
