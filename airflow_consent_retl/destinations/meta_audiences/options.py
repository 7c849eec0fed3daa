"""The options of a Meta custom audience, checked, and its connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.destinations.meta import API_VERSION, PHONE_REGION

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.meta_audiences.destination import MetaAudienceDestination

MAX_USERS = 10_000
"""Of a request. https://developers.facebook.com/documentation/ads-commerce/marketing-api/reference/custom-audience/users,
read 2026-11-29."""

MAX_BODY_BYTES = 60_000
"""The size at which another public client of this API cuts its requests: github.com/rudderlabs/rudder-transformer, read
2026-11-29. No page of Meta states one."""

AudienceWithdrawal = Literal["leave_audience"]
WITHDRAWAL_CHOICES = {
    "leave_audience": "The person's identifiers are removed from the audience; Meta takes up to 24 hours.",
}


@parameter_class
class MetaAudienceSpec(HttpOptions, DestinationSpec):
    """The connection, the audience and the form of requests; the other options are in `HttpOptions`.

    Args:
        audience_id: the number of a customer list audience.
        conn_id: a connection of type `consentmeta`.
        on_withdrawal: `"leave_audience"`: who withdraws is removed from the audience. Meta offers no other way.
        hashed: identifiers are SHA-256 in hex already, of values in Meta's form; `external_id` and `device_id` are
            plain in any case.
        on_invalid: `"reject"`: a row with an invalid value is rejected as `invalid_email`, `invalid_phone` …;
            `"omit"`: it is sent without that value where another identifier is left. NULL and blank are not invalid.
        phone_region: the region of phone numbers without a country code, such as `DE`; None: they are invalid.

    Raises:
        ConfigurationError: values are out of their ranges; the message names all of them.
    """

    templated: ClassVar[tuple[str, ...]] = ("conn_id", "audience_id")
    internal: ClassVar[frozenset[str]] = frozenset({"backoff_s", "removal_batch_rows"})
    request_rows: ClassVar[tuple[int, str]] = (
        MAX_USERS,
        f"batch_rows must be at most {MAX_USERS:,}: Meta accepts no more users in a request",
    )
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {"on_invalid": ("reject", "omit")}
    patterns: ClassVar[Mapping[str, tuple[str, str]]] = {
        "audience_id": (r"[0-9]{1,32}", "the audience's number"),
        "phone_region": PHONE_REGION,
    }
    withdrawals: ClassVar[Mapping[str, str]] = WITHDRAWAL_CHOICES

    audience_id: str
    conn_id: str = "consentmeta_default"
    on_withdrawal: AudienceWithdrawal
    hashed: bool = False
    on_invalid: Literal["reject", "omit"] = "reject"
    phone_region: str | None = None
    batch_rows: int = MAX_USERS
    concurrency: int = 2
    timeout_s: float = 120
    max_body_bytes: int = MAX_BODY_BYTES

    def build(self) -> MetaAudienceDestination:
        """Return the destination, not yet opened; reads the connection and contacts nothing."""
        from airflow_consent_retl.destinations.meta.graph_api import graph_address
        from airflow_consent_retl.destinations.meta_audiences.destination import MetaAudienceDestination

        address, proof = graph_address(self.conn_id, f"/{API_VERSION}/{self.audience_id}/users")
        return MetaAudienceDestination(address, self, audience_id=self.audience_id, proof=proof)
