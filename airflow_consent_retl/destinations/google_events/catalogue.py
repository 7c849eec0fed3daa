"""The catalogue's entry of events for Google."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry, Source

_PAGES = "https://developers.google.com/data-manager/api"

CATALOGUE = CatalogueEntry(
    vendor="Google events",
    destination="airflow_consent_retl.destinations.google_events.destination.GoogleEventsDestination",
    operator="LoadToGoogleEventsOperator",
    api_version="v1",
    removal={},
    consent={
        "consent.adUserData": "the field `ad_user_data` of each row, or the category that `consent_signals` names",
        "consent.adPersonalization": "the field `ad_personalization` of each row, or the category of `consent_signals`",
    },
    modes=("event",),
    limits={"batch_rows": 2_000, "requests_per_minute": 300},
    notes=(
        "100,000 requests a day for each Google Cloud project.",
        "An event cannot be taken back by this API; conversions of Google Ads can, by the Google Ads API.",
        "A transaction id that Google Ads knows already restates the value of that conversion.",
        "Where `ad_user_data` is not granted, an event goes without e-mail, phone number and address.",
        "Answers are counts, never rows: events with equal consent go together, and after a partial success every "
        "event of a request is uncertain.",
        "Carts, properties of people, places and devices are not sent.",
    ),
    checked=(
        "the contract suite, with Google's own client against a local gRPC server of its definitions",
        "a sync over three days in real Airflow: adds, withdrawals that stay, denied consent, a partial success",
    ),
    unchecked=(
        "which product needs which field: Google's refusals name it",
        "how old an event may be, which depends on the conversion",
        "what the other products do with a repeated transaction id",
    ),
    sources=(
        Source(f"{_PAGES}/devguides/limits", "2026-11-29", "events, requests a minute"),
        Source(f"{_PAGES}/reference/rest/v1/events/ingest", "2026-11-29", "fields of an event"),
        Source(
            f"{_PAGES}/devguides/events/google-ads/conversion-adjustments", "2026-11-29", "repeated transaction ids"
        ),
        Source("google-ads-datamanager 0.9.4 on PyPI", "2026-11-29", "messages, enumerations, calls"),
    ),
)
