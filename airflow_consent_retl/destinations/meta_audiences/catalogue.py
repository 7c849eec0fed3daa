"""The catalogue's entry of Meta's audiences."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry, Source
from airflow_consent_retl.destinations.meta_audiences.options import WITHDRAWAL_CHOICES

_PAGES = "https://developers.facebook.com/documentation/ads-commerce/marketing-api"

CATALOGUE = CatalogueEntry(
    vendor="Meta audiences",
    destination="airflow_consent_retl.destinations.meta_audiences.destination.MetaAudienceDestination",
    operator="LoadToMetaAudienceOperator",
    api_version="v26.0",
    removal=WITHDRAWAL_CHOICES,
    consent={
        "DATA_PROCESSING_OPTIONS": "`data_processing_options` of each row: `LDU` unless it is `none`",
        "DATA_PROCESSING_OPTIONS_COUNTRY, DATA_PROCESSING_OPTIONS_STATE": "`data_processing_state` of each row",
    },
    modes=("upsert", "remove"),
    limits={"batch_rows": 10_000, "max_body_bytes": 60_000},
    notes=(
        "Answers are counts, never rows: where some entries are invalid, requests are halved until they are alone.",
        "A flagged audience refuses removals too (subcode 1713230): the load fails, and says that people are left.",
        "Changes take up to 24 hours. Limited Data Use is offered for customer lists to people in California only.",
        "Calls count in a score for each ad account and hour; Meta's errors about it are retried later.",
        "To remove one of two people who share an e-mail removes it for both, until the other one is sent again.",
    ),
    checked=(
        "the contract suite, against a local server that checks schema, hashes, session, options, token and proof",
        "a sync over three days in real Airflow: adds, changes, withdrawals, a flagged audience, lost answers",
        "normalised and hashed values against the examples that Meta publishes",
    ),
    unchecked=(
        "whether `session` may be left out; Meta's page calls it required, public clients leave it out",
        "the size at which Meta refuses a request: 60 kB is the limit of another public client",
        "whether Meta matches a removal by all keys of a person, or by each of them",
        "how long a removal takes, and what a flagged audience answers today",
    ),
    sources=(
        Source(
            f"{_PAGES}/reference/custom-audience/users", "2026-11-29", "users in a request, answers, flagged audience"
        ),
        Source(f"{_PAGES}/overview/data-processing-options", "2026-11-29", "Limited Data Use, states"),
        Source("facebook-business 26.0.3 on PyPI", "2026-11-29", "API version, schema keys, DELETE of users"),
    ),
)
