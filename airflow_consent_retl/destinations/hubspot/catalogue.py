"""The catalogue's entry of HubSpot contacts."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry, Source
from airflow_consent_retl.destinations.hubspot.options import WITHDRAWAL_CHOICES

_SPECIFICATION = "HubSpot/HubSpot-public-api-spec-collection@9989379: PublicApiSpecs/"

CATALOGUE = CatalogueEntry(
    vendor="HubSpot contacts",
    destination="airflow_consent_retl.destinations.hubspot.destination.HubSpotDestination",
    operator="LoadToHubSpotOperator",
    api_version="2026-09",
    removal=WITHDRAWAL_CHOICES,
    consent={
        "subscriptions.<id>": "`SUBSCRIBED` or `UNSUBSCRIBED` for one e-mail subscription; a person who unsubscribed "
        "at HubSpot is never subscribed again",
        "legal_basis, legal_basis_explanation": "recorded with each state",
    },
    limits={"batch_rows": 100},
    notes=(
        "100 requests in 10 seconds (190 from the tier Professional on) for the whole account, and a daily number.",
        "A privacy deletion of an address that HubSpot does not have blocks it for ever: only contacts that were found "
        "are deleted.",
        "A state of a subscription belongs to an address: people who share it share the state.",
        "With `email` as the identifier, HubSpot supports no partial upserts: fields are cleared by the record's id.",
        "NULL and an empty text are the same at HubSpot.",
    ),
    modes=("upsert", "remove", "clear"),
    checked=(
        "the contract suite, against a local server that decodes each request in the shape of the specification",
        "each choice of a removal, opt-outs at HubSpot, shared addresses and answers in part, against the same server",
        "a sync over three days in real Airflow, with a search for personal values",
    ),
    unchecked=(
        "whether answers with status 200 name `objectWriteTraceId`; else rows are matched by the unique property",
        "the context of an error about one state of a subscription: such a state is uncertain",
        "the largest number of inputs for subscriptions: 100 is assumed, as for contacts",
        "the precision of timestamps, and whether unique values differ by the case of letters or by spaces",
        "whether a deleted address can be a contact again",
        "contacts in the recycling bin, which a removal does not find",
        "whether a question names a property without a value: one that the answer does not have is never filled",
    ),
    sources=(
        Source(f"{_SPECIFICATION}CRM/Contacts/Rollouts/424/2026-09/contacts.json", "2026-11-29", "contacts"),
        Source(
            f"{_SPECIFICATION}Communication Preferences/Subscriptions/Rollouts/176901/2026-09/subscriptions.json",
            "2026-11-29",
            "states of subscriptions, legal bases",
        ),
        Source(
            "https://developers.hubspot.com/docs/api-reference/latest/crm/objects/contacts/guide",
            "2026-11-29",
            "100 contacts a request, no partial upserts by e-mail (a stored copy)",
        ),
        Source(
            "https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines",
            "2026-11-29",
            "requests in 10 seconds and in a day (a stored copy)",
        ),
    ),
)
