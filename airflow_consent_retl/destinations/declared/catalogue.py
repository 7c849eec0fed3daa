"""The catalogue's entry of destinations that a DAG repository declares."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry

CATALOGUE = CatalogueEntry(
    vendor="An HTTP API of your own choice",
    destination="airflow_consent_retl.destinations.declared.destination.DeclaredHttpDestination",
    operator="LoadToDeclaredHttpOperator",
    api_version="unversioned",
    removal={"always": "The declaration says what removal can mean, and the DAG chooses one of its ways."},
    modes=("upsert", "remove"),
    notes=(
        "Limits, removals, fields for consent and the reading of answers are in the declaration.",
        "The destination clears single fields where the declaration has a request for it.",
    ),
    checked=(
        "the contract suite, for the example of the documentation, against a local server that checks each request",
        "a declaration with errors, by the message that names each of them",
    ),
    unchecked=(),
    sources=(),
)
