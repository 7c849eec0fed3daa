"""The vendor's record of Customer.io, and the parameters that its destination is built from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.destinations.http.vendor import Vendor
from airflow_consent_retl.destinations.http.vendor_auth import LoginAndPassword

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.declared.destination import DeclaredHttpDestination

CustomerioId = Literal["id", "email", "cio_id"]
CustomerioWithdrawal = Literal["leave_audience", "unsubscribe", "suppress", "delete"]

VENDOR = Vendor(
    conn_type="consentcustomerio",
    name="Customer.io",
    hook="airflow_consent_retl.destinations.customerio.customerio_hook.CustomerioHook",
    host="https://track.customer.io",
    authentication=LoginAndPassword(login="Site ID", password="API key"),  # noqa: S106 - labels
    test="GET /api/v1/accounts/region",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerioSpec(DestinationSpec):
    """The parameters of the operator, of the same names."""

    templated: ClassVar[tuple[str, ...]] = ("conn_id", "workspace_id", "segment_id")

    workspace_id: int | str
    on_withdrawal: CustomerioWithdrawal
    conn_id: str = "consentcustomerio_default"
    known_by: CustomerioId = "id"
    segment_id: int | str | None = None
    concurrency: int = 4
    timeout_s: float = 30
    max_attempts: int = 6
    max_retry_s: float = 300

    def build(self) -> DeclaredHttpDestination:
        """Return the destination, not yet opened; reads the connection and contacts nothing."""
        from airflow_consent_retl.destinations.customerio.customerio_requests import customerio
        from airflow_consent_retl.destinations.customerio.destination import CustomerioDestination
        from airflow_consent_retl.destinations.declared.options import DeclaredHttpOptions, built

        options = DeclaredHttpOptions(
            on_withdrawal=self.on_withdrawal,
            parameters={"workspace_id": self.workspace_id, "segment_id": self.segment_id},
            concurrency=self.concurrency,
            timeout_s=self.timeout_s,
            max_attempts=self.max_attempts,
            max_retry_s=self.max_retry_s,
        )
        declaration = customerio(self.known_by, in_segment=self.segment_id is not None)
        return built(declaration, options, conn_id=self.conn_id, kind=CustomerioDestination)
