"""The catalogue's entry of Meta's Conversions API."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry, Source

_PAGES = "https://developers.facebook.com/documentation/ads-commerce"

CATALOGUE = CatalogueEntry(
    vendor="Meta conversions",
    destination="airflow_consent_retl.destinations.meta_conversions.destination.MetaConversionsDestination",
    operator="LoadToMetaConversionsOperator",
    api_version="v26.0",
    removal={},
    consent={
        "data_processing_options": "`data_processing_options` of each row: `LDU` unless it is `none`",
        "data_processing_options_country, data_processing_options_state": "`data_processing_state` of each row",
        "opt_out": "the field of this name of each row",
    },
    modes=("event",),
    limits={"batch_rows": 1000},
    notes=(
        "An event cannot be taken back.",
        "No event may be older than 7 days, or 62 days in a physical store.",
        "Meta refuses a whole request for one invalid event: what is left after our checks is found in halves.",
        "Events of one name and id count once if they arrive within 48 hours of each other.",
        "There is no limit on the rate of its own; Meta's errors about it are retried later.",
    ),
    checked=(
        "the contract suite, against a local server that checks shapes, hashes, times, options, token and proof",
        "a sync over three days in real Airflow: adds, withdrawals that stay, a lost answer, an event that is refused",
        "normalised and hashed values against the examples that Meta publishes",
    ),
    unchecked=(
        "how far in the future a time may be; here it is five minutes",
        "the codes of Meta's refusals of events",
        "whether `events_received` counts repeated events",
    ),
    sources=(
        Source(f"{_PAGES}/conversions-api/using-the-api", "2026-11-29", "events in a request, age, refusals, options"),
        Source(
            f"{_PAGES}/conversions-api/parameters/customer-information-parameters",
            "2026-11-29",
            "identifiers, their forms and hashes",
        ),
        Source(f"{_PAGES}/conversions-api/best-practices", "2026-11-29", "identifiers that are too broad"),
        Source(f"{_PAGES}/marketing-api/overview/data-processing-options", "2026-11-29", "Limited Data Use, states"),
        Source("facebook-business 26.0.3 on PyPI", "2026-11-29", "API version, fields of an event and of the answer"),
    ),
)
