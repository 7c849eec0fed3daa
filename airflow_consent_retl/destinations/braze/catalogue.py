"""The catalogue's entry of Braze."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry, Source
from airflow_consent_retl.destinations.braze.options import WITHDRAWAL_CHOICES

_PAGES = "braze-inc/braze-docs@"
_ENDPOINTS = "_docs/_api/endpoints"

CATALOGUE = CatalogueEntry(
    vendor="Braze users",
    destination="airflow_consent_retl.destinations.braze.destination.BrazeDestination",
    operator="LoadToBrazeOperator",
    api_version="unversioned",
    removal=WITHDRAWAL_CHOICES,
    consent={
        "email_subscribe, push_subscribe": "`opted_in`, `subscribed` or `unsubscribed`",
        "subscription_groups.<id>": "`subscribed` or `unsubscribed`; who is unsubscribed at Braze stays so",
    },
    limits={"batch_rows": 75},
    notes=(
        "3,000 requests of `/users/track` in 3 seconds, by the clock, for the whole workspace; contracts on monthly "
        "active users have other limits, and 50 objects in a request.",
        "Setting a state of one user sets it for all users of the same e-mail address or phone number.",
        "Users are known by `external_id`, by an alias, or by an e-mail address, of which Braze picks one user: first "
        "one with an external id, then the one that was changed last.",
        "The state of an address can be set before it has a user: a new user is looked up by the address too, with one "
        "request for each, of which 250,000 an hour are allowed.",
        "Exports of profiles, which are read before someone is subscribed: 50 users a request, 250 requests a minute.",
        "Nested attributes are refused: Braze drops one as a whole if anything in it is null.",
        "Accepted means that Braze has queued the object.",
    ),
    modes=("upsert", "remove", "clear"),
    checked=(
        "the contract suite, against a local server that decodes each request in the shape of its page",
        "each choice of a removal, opt-outs of users and of addresses, shared addresses, and answers in part, likewise",
        "a sync over three days in real Airflow, with a search for personal values",
    ),
    unchecked=(
        "whether `attributes_processed` counts users that `_update_existing_only` leaves out",
        "whether an error in an object refuses all of it, as recorded answers suggest",
        "the form in which `/subscription/status/get` names e-mail addresses and phone numbers",
        "the user that Braze picks of several with an address, and whether a deletion picks the same one",
        "whether an export by alias or by address names what it does not find",
        "the time until a queued state can be read",
        "whether `/users/delete` counts users that Braze does not have",
    ),
    sources=(
        Source(f"{_PAGES}78b3bae: {_ENDPOINTS}/user_data/post_user_track.md", "2026-11-29", "attributes, errors"),
        Source(f"{_PAGES}fb70d7c: _docs/_api/objects_filters/user_attributes_object.md", "2026-11-29", "attributes"),
        Source(f"{_PAGES}577d633: {_ENDPOINTS}/user_data/post_user_delete.md", "2026-11-29", "deletion, 50 users"),
        Source(
            f"{_PAGES}d852054: {_ENDPOINTS}/email/get_query_unsubscribed_email_addresses.md",
            "2026-11-29",
            "addresses that are unsubscribed",
        ),
        Source("https://www.braze.com/docs/api/api_limits", "2026-11-29", "limits of requests (a stored copy)"),
        Source(
            "https://braze.com/docs/api/endpoints/email/post_email_subscription_status/",
            "2026-11-29",
            "states of addresses without a user (a stored copy)",
        ),
    ),
)
