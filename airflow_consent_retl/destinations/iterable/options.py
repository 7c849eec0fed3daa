"""The vendor's record of Iterable, and the parameters that its destination is built from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.destinations.http.vendor import Vendor
from airflow_consent_retl.destinations.http.vendor_auth import ApiKey

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.declared.destination import DeclaredHttpDestination

IterableId = Literal["email", "userId"]
IterableWithdrawal = Literal["leave_audience", "delete", "privacy_delete"]

VENDOR = Vendor(
    conn_type="consentiterable",
    name="Iterable",
    hook="airflow_consent_retl.destinations.iterable.iterable_hook.IterableHook",
    host="https://api.iterable.com",
    authentication=ApiKey(header="Api-Key"),
    test="GET /api/lists",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IterableSpec(DestinationSpec):
    """The parameters of the operator, of the same names."""

    templated: ClassVar[tuple[str, ...]] = ("conn_id", "project_id", "list_id")

    project_id: int | str
    on_withdrawal: IterableWithdrawal
    conn_id: str = "consentiterable_default"
    known_by: IterableId = "email"
    list_id: int | str | None = None
    concurrency: int = 4
    timeout_s: float = 60
    max_attempts: int = 6
    max_retry_s: float = 300

    def build(self) -> DeclaredHttpDestination:
        """Return the destination, not yet opened; reads the connection and contacts nothing."""
        from airflow_consent_retl.destinations.declared.options import DeclaredHttpOptions, built
        from airflow_consent_retl.destinations.iterable.destination import IterableDestination
        from airflow_consent_retl.destinations.iterable.iterable_requests import iterable

        options = DeclaredHttpOptions(
            on_withdrawal=self.on_withdrawal,
            parameters={"project_id": self.project_id, "list_id": self.list_id},
            concurrency=self.concurrency,
            timeout_s=self.timeout_s,
            max_attempts=self.max_attempts,
            max_retry_s=self.max_retry_s,
        )
        declaration = iterable(self.known_by, on_list=self.list_id is not None)
        return built(declaration, options, conn_id=self.conn_id, kind=IterableDestination)
