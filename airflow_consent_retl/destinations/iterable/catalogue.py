"""The catalogue's entry of Iterable."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry, Source
from airflow_consent_retl.destinations.iterable.iterable_requests import iterable

CATALOGUE = CatalogueEntry(
    vendor="Iterable",
    destination="airflow_consent_retl.destinations.iterable.destination.IterableDestination",
    operator="LoadToIterableOperator",
    api_version="unversioned",
    removal=iterable("email", on_list=True).withdrawal_choices,
    modes=("upsert", "remove"),
    limits={"batch_rows": 1_000, "max_body_bytes": 4_000_000, "account_requests_per_s": 5},
    notes=(
        "A deletion takes 100 requests a second; forgetting takes 3 a second, and 1,000 a day.",
        "To leave a list is sent with `channelUnsubscribe: false`: otherwise Iterable silences the whole channel.",
        "Opt-outs of message types and channels cannot be loaded: that request replaces all opt-outs of a person.",
        "Forgotten people are rejected as `forgotten`, for ever: their rows are sent again only when they change.",
    ),
    checked=(
        "the contract suite for users and for a list, against a local server with the shapes of the specification",
        "three days in real Airflow: first load, changes, withdrawals, refused and forgotten people, limited requests",
    ),
    unchecked=(
        "the number of people that a request to a list takes, and its rate: the specification has neither",
        "whether `notFound` people of an unsubscription are counted in `failCount`; both ways of counting are read",
        "whether a null in `dataFields` empties a field, for fields whose consent was withdrawn",
        "whether to be put on a list subscribes a person again who unsubscribed from its channel",
        "the statuses of deletions of unknown users: 404, and 400 with `UnknownEmailError` or `NotFound`, are read",
    ),
    sources=(
        Source("Iterable/api-client@981eeb5: api-docs.json", "2026-11-29", "Iterable's specification, version 1.8"),
        Source(
            "rudderlabs/rudder-transformer@2c739cb: src/v0/destinations/iterable_audience",
            "2026-11-29",
            "1,000 people in a request; forgotten people; the trap of `channelUnsubscribe`",
        ),
        Source("block/iterable-go@ae113075: batch/user_update.go", "2026-11-29", "failures are named by e-mail or id"),
    ),
)
