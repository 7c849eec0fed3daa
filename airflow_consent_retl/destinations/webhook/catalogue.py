"""The catalogue's entry of webhooks."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry

CATALOGUE = CatalogueEntry(
    vendor="A webhook",
    destination="airflow_consent_retl.destinations.webhook.destination.WebhookDestination",
    operator="LoadToWebhookOperator",
    api_version="unversioned",
    removal={"always": "The receiver gets the primary key, in a DELETE or in a POST with an event."},
    modes=("upsert", "remove", "clear"),
    notes=("The receiver's own limits are options of the operator.",),
    checked=(
        "the contract suite, against a local HTTP server that keeps the contract of answers and breaks it",
        "a sync over several days in real Airflow",
    ),
    unchecked=(),
    sources=(),
)
