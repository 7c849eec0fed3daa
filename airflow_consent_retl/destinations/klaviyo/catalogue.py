"""The catalogue's entry of Klaviyo."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry, Source
from airflow_consent_retl.destinations.klaviyo import REVISION
from airflow_consent_retl.destinations.klaviyo.options import (
    MOST_BYTES,
    MOST_REMOVALS,
    MOST_ROWS,
    WITHDRAWAL_CHOICES,
)

_APIS = "klaviyo/openapi@f0a30ba: openapi/stable/apis/"

CATALOGUE = CatalogueEntry(
    vendor="Klaviyo",
    destination="airflow_consent_retl.destinations.klaviyo.destination.KlaviyoDestination",
    operator="LoadToKlaviyoOperator",
    api_version=REVISION,
    removal=WITHDRAWAL_CHOICES,
    consent={
        "subscriptions.<email, sms>.marketing.consent": "`SUBSCRIBED` or `UNSUBSCRIBED` for the whole channel; only "
        "people without a state at Klaviyo are subscribed",
        "subscriptions.<email, sms>.marketing.consented_at": "the time of the person's own consent",
        "properties.<name>": "an answer to a category, as a property for the account's own rules",
    },
    modes=("upsert", "remove", "clear"),
    limits={"batch_rows": MOST_ROWS, "removal_rows": MOST_REMOVALS, "max_body_bytes": MOST_BYTES},
    notes=(
        "10 requests a second and 150 a minute for imports and lists, 60 a minute for privacy deletions.",
        "An unsubscription that names a list is global for whoever is not on it: the load asks who is, first.",
        "Unsubscribing or suppressing an unknown address would make a profile of it: only known ones are sent.",
        "Subscribing deletes what a person decided at Klaviyo. The state is read just before it, and a person with an "
        "opt-out, a suppression, or a state that is not clear is left as they are.",
        "A batch with states waits for its import: at most `job_wait_s`, in a worker.",
        "Keys with quotes, backslashes or characters that cannot be seen are rejected: no filter can name them.",
    ),
    checked=(
        "the contract suite, against a local server that decodes each request in the shape of the specification",
        "each choice of a removal with its traps, pages of errors, results that do not add up, against the same server",
        "states that are unclear, suppressed, lost or late, a person whose address changes, two who share one",
        "two syncs over three days in real Airflow, with the deferrable wait and a search for personal values",
    ),
    unchecked=(
        "an opt-out at Klaviyo between the question and the subscription, some seconds later, is deleted by it: no "
        "request subscribes only people without a state",
        "whether Klaviyo processes a subscription and a later unsubscription in this order",
        "the words of a state are those of a guide, not of the specification; every other one is a doubt",
        "whether a profile that was never subscribed has empty lists of suppressions: a null is a doubt",
        "accounts that ask for a date of birth before they change the consent to SMS",
        "the most values in a filter with `any`: 50 are sent",
        "how long an unsubscription or a privacy deletion takes, and whether a deleted profile is found until then",
        "whether a null in an import empties an attribute, and one of `properties` or `location`",
        "whether the pointer of an error always begins with `/data/attributes/profiles/data/`",
        "whether to remove a profile from a list that it is not on succeeds",
        "whether profiles that were merged at Klaviyo keep the external id",
    ),
    sources=(
        Source(f"{_APIS}bulk_import_profiles.json", "2026-11-29", "profiles, bytes, requests"),
        Source(f"{_APIS}get_errors_for_bulk_import_profiles_job.json", "2026-11-29", "errors by pointer"),
        Source(f"{_APIS}remove_profiles_from_list.json", "2026-11-29", "leaving a list"),
        Source(f"{_APIS}bulk_subscribe_profiles.json", "2026-11-30", "subscribing, and its trap"),
        Source(
            "https://developers.klaviyo.com/en/docs/collect_email_and_sms_consent_via_api",
            "2026-11-30",
            "words of states",
        ),
        Source(f"{_APIS}bulk_unsubscribe_profiles.json", "2026-11-29", "unsubscribing, and its trap"),
        Source(f"{_APIS}bulk_suppress_profiles.json", "2026-11-29", "suppressing, and its trap"),
        Source(f"{_APIS}request_profile_deletion.json", "2026-11-29", "privacy deletion"),
        Source(f"{_APIS}get_profiles.json", "2026-11-30", "filters and subscriptions"),
    ),
)
