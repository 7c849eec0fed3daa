"""The catalogue's entry of Google Customer Match."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry, Source

CATALOGUE = CatalogueEntry(
    vendor="Google Customer Match",
    destination="airflow_consent_retl.destinations.google_customer_match.destination.GoogleCustomerMatchDestination",
    operator="LoadToGoogleCustomerMatchOperator",
    api_version="v1",
    removal={"always": "The person's identifiers are removed from the audience."},
    consent={
        "consent.adUserData": "the category that `consent_signals` names; the policy has to require it",
        "consent.adPersonalization": "that of `consent_signals`, or the field `ad_personalization` of each row",
    },
    modes=("upsert", "remove", "clear"),
    limits={"batch_rows": 10_000, "requests_per_minute": 300},
    notes=(
        "100,000 requests a day for each Google Cloud project.",
        "Answers are counts, never rows: after a partial success every row of a request is uncertain.",
        "To remove one of two people who share an e-mail removes it for both, until the other one is sent again.",
    ),
    checked=(
        "the contract suite, with Google's own client against a local gRPC server of its definitions",
        "a sync over several days in real Airflow, with the deferrable wait",
    ),
    unchecked=(
        "how long a removal takes at Google",
        "whether a member keeps counting by the identifiers that are left",
    ),
    sources=(
        Source(
            "https://developers.google.com/data-manager/api/devguides/limits",
            "2026-11-23",
            "members, requests a minute",
        ),
    ),
)
