"""The requests of Customer.io's Track API, declared as data.

The specification of the Track API (version 1.0.0, with v2), as `api-evangelist/customer-io@14dda59` has it in
`openapi/customer-io-track-v2-api-openapi.yml` and `…-track-segments-api-openapi.yml`, read 2026-11-29, states 500 kB
for a request of `/api/v2/batch`, 32 kB for each of its parts, and 1,000 people for a request to a segment. A copy of
the reference at https://docs.customer.io/integrations/api/track/, read 2026-11-29 through
`konfig-sdks/openapi-examples@2d2b1f3`, states 100 requests a second. The 1,000 parts of a batch are those of
`rudderlabs/rudder-transformer@733d535: src/v0/destinations/customerio/README.md`, read 2026-11-29.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from airflow_consent_retl.destinations.customerio import VENDOR
from airflow_consent_retl.destinations.declared import (
    ByIndex,
    DeclaredRemoval,
    DeclaredRequest,
    DestinationDeclaration,
    Errors,
    Rate,
    each_row,
    field,
    other_fields,
)

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.customerio.options import CustomerioId

_OWN = "it belongs to the person, and a load would overwrite what they chose at Customer.io"


@cache
def customerio(known_by: CustomerioId, *, in_segment: bool) -> DestinationDeclaration:
    """Return the declaration for people who are known by one identifier, in a manual segment or without one."""
    key = field(known_by, as_text=True)
    person = {"type": "person", "identifiers": {known_by: key}}

    def batch(action: str, **parts: object) -> DeclaredRequest:
        body = {"batch": each_row({**person, "action": action, **parts})}
        return DeclaredRequest(path="/api/v2/batch", body=body, max_body_bytes=500_000, max_row_bytes=32_000)

    def segment(verb: str) -> DeclaredRequest:
        path = f"/api/v1/segments/{{segment_id}}/{verb}?id_type={known_by}"
        return DeclaredRequest(path=path, body={"ids": each_row(key)})

    return DestinationDeclaration(
        vendor=VENDOR,
        account="workspace_id",
        parameters={"workspace_id": "the number of the key's workspace", "segment_id": "the manual segment's number"},
        rows=1_000,
        answer=Errors(statuses=(200, 207), row=ByIndex("batch_index"), code="reason", may_be_missing=True),
        rate=Rate(100),
        people_share=known_by == "email",
        refuses=dict.fromkeys(("unsubscribed", "cio_subscription_preferences"), _OWN),
        send=segment("add_customers") if in_segment else batch("identify", attributes=other_fields()),
        on_withdrawal={
            "leave_audience": DeclaredRemoval(
                "the person leaves the segment, and stays in the workspace", segment("remove_customers")
            ),
            "unsubscribe": DeclaredRemoval(
                "the person is unsubscribed from all messages, and stays in the workspace",
                # Only people who are there: no one is made by being unsubscribed.
                batch("identify", attributes={"unsubscribed": True, "_update": True}),
            ),
            "suppress": DeclaredRemoval(
                "the person is deleted, and Customer.io ignores them from then on, also when they grant again",
                batch("suppress"),
            ),
            "delete": DeclaredRemoval("the person is deleted with all their data", batch("delete")),
        },
    )
