"""The catalogue's entry of Customer.io."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry, Source
from airflow_consent_retl.destinations.customerio.customerio_requests import customerio

CATALOGUE = CatalogueEntry(
    vendor="Customer.io",
    destination="airflow_consent_retl.destinations.customerio.destination.CustomerioDestination",
    operator="LoadToCustomerioOperator",
    api_version="v2 (people), v1 (segments)",
    removal=customerio("id", in_segment=True).withdrawal_choices,
    modes=("upsert", "remove"),
    limits={"batch_rows": 1_000, "max_body_bytes": 500_000, "max_row_bytes": 32_000, "account_requests_per_s": 100},
    notes=(
        "`suppress` deletes the person, and Customer.io ignores them from then on: a later grant has no effect.",
        "A segment ignores people who are not in the workspace, and answers as if it had added them.",
        "A load never sends `unsubscribed` or `cio_subscription_preferences`, so no opt-out is overwritten.",
        "Not more than one identifier in a request: `known_by` says which one the workspace uses.",
    ),
    checked=(
        "the contract suite for people, against a local server with the shapes of the specification; segments by tests",
        "three days in real Airflow: first load, changes, withdrawals, refused people, limited requests",
    ),
    unchecked=(
        "the 1,000 parts of a batch: the specification has only its bytes",
        "whether the rate is 100 requests a second or 3,000 in 3 seconds: the lower one is kept",
        "whether a null removes an attribute of a person, as it does for objects and relationships",
        "the texts of `reason`: one that is no short word is shown as `unnamed`",
    ),
    sources=(
        Source(
            "api-evangelist/customer-io@14dda59: openapi/customer-io-track-v2-api-openapi.yml",
            "2026-11-29",
            "people: shapes, bytes, answers by index",
        ),
        Source(
            "api-evangelist/customer-io@14dda59: openapi/customer-io-track-segments-api-openapi.yml",
            "2026-11-29",
            "segments: 1,000 people, and unknown ones are ignored",
        ),
        Source(
            "https://docs.customer.io/integrations/api/track/tag/track-customers/suppress/",
            "2026-11-29",
            "to suppress deletes, and later requests are ignored",
        ),
        Source("segmentio/action-destinations@0333a20: customerio/utils.ts", "2026-11-29", "`errors[].batch_index`"),
    ),
)
