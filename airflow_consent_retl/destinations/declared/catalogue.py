"""The catalogue's entry of destinations that a DAG repository declares."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry, Source

CATALOGUE = CatalogueEntry(
    vendor="An HTTP API of your own choice",
    destination="airflow_consent_retl.destinations.declared.destination.DeclaredHttpDestination",
    operator="LoadToDeclaredHttpOperator",
    api_version="unversioned",
    removal={"always": "The declaration says what removal can mean, and the DAG chooses one of its ways."},
    consent={
        "Amazon: amznUserData, amznAdStorage": "`AmazonAudienceConsent` or `AmazonEventConsent`: a category for each",
        "TikTok: limited_data_use": "`TikTokConsent`: the category for full use",
        "Pinterest: opt_out": "`PinterestConsent`: the category for tracking",
        "Microsoft: adStorageConsent": "`MicrosoftConsent`: the category for advertising",
        "Mailchimp: status": "`MailchimpConsent`: the category for e-mail",
        "others": "the fields in `consent` of the declaration, each with the values that the vendor takes",
    },
    modes=("upsert", "remove"),
    notes=(
        "Limits, removals, fields for consent and the reading of answers are in the declaration.",
        "The destination clears single fields where the declaration has a request for it.",
    ),
    checked=(
        "the contract suite, for the example of the documentation, against a local server that checks each request",
        "a declaration with errors, by the message that names each of them",
        "the records of consent: loads of people who said yes, no and nothing, against servers that check each body",
    ),
    unchecked=(
        "whether Amazon, TikTok, Pinterest, Microsoft and Mailchimp accept these bodies: no account was at hand",
    ),
    sources=(
        Source(
            "idealerror/amazon-ads-api-docs@08dc185: en-us/guides/ads-data-manager/adm-consent-management.md",
            "2026-11-29",
            "Amazon's signals, their values, and what it takes for a yes",
        ),
        Source(
            "segmentio/action-destinations@970a17e: packages/destination-actions/src/destinations",
            "2026-11-29",
            "the places of Amazon's, TikTok's and Microsoft's fields",
        ),
        Source("pinterest/api-description@c05b189: v5/openapi.yaml", "2026-11-29", "Pinterest's `opt_out`"),
        Source(
            "https://github.com/ibericode/mailchimp-for-wordpress/issues/798",
            "2026-11-29",
            "Mailchimp's refusal of people who unsubscribed there",
        ),
    ),
)
