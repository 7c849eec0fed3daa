"""The catalogue's entry of Salesforce."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry, Source
from airflow_consent_retl.destinations.salesforce.options import MAX_FILE_BYTES, WITHDRAWAL_CHOICES

_GUIDE = "https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/"

CATALOGUE = CatalogueEntry(
    vendor="Salesforce",
    destination="airflow_consent_retl.destinations.salesforce.destination.SalesforceDestination",
    operator="LoadToSalesforceOperator",
    api_version="66.0",
    removal=WITHDRAWAL_CHOICES,
    consent={
        "ContactPointTypeConsent": "opt-in or opt-out for each way of contact, with the time since when it is valid; "
        "an opt-out that this package did not write is never changed",
        "PartyConsent": "the same for each use of data, such as `Segment` or `ShareData`",
        "Individual": "flags such as HasOptedOutSolicit, set by a withdrawal and never taken back",
    },
    modes=("upsert", "remove", "clear"),
    limits={"max_body_bytes": MAX_FILE_BYTES},
    notes=(
        "A job has at most 100 MB as uploaded, which Salesforce counts as 150 MB after Base64.",
        "150,000,000 records and 15,000 batches of 10,000 records in 24 hours, and the org's own API requests.",
        "NULL and an empty text are the same at Salesforce, and the text `#N/A` would empty a field.",
        "External ids are compared without case unless the field says otherwise.",
        "SOAP login, with a security token, needs a version below 65 in the connection; OAuth 2 does not.",
    ),
    checked=(
        "the contract suite, through Airflow's hook and the real client, against a local org that checks each request",
        "each choice of a removal, opt-outs at Salesforce, lost answers, unprocessed rows, two ways to log in",
        "a sync over three days in real Airflow, with the deferrable wait and a search for personal values",
    ),
    unchecked=(
        "whether Salesforce trims spaces around text, or drops characters, when it stores them",
        "`#N/A` in the column of a relation",
        "the columns of a polymorphic relation such as `Individual:Party.Key__c` in Bulk API 2.0",
        "codes in `sf__Error` beyond the documented ones, and which of them pass by themselves",
        "how the Consent API of an org weighs records of ContactPointTypeConsent",
        "the login of a real org; JWT was not tried at all",
    ),
    sources=(
        Source(f"{_GUIDE}datafiles_prepare_csv.htm", "2026-11-29", "100 MB, `#N/A`, empty values (a stored copy)"),
        Source(f"{_GUIDE}get_job_failed_results.htm", "2026-11-29", "results, in any order (a stored copy)"),
        Source(f"{_GUIDE}get_job_unprocessed_results.htm", "2026-11-29", "unprocessed rows (a stored copy)"),
        Source(
            "https://developer.salesforce.com/docs/atlas.ja-jp.228.0.api_bulk_v2.meta/api_bulk_v2/bulk_api_2_limits.htm",
            "2026-11-29",
            "records, batches and characters (a stored copy)",
        ),
        Source(
            "https://developer.salesforce.com/docs/atlas.en-us.api_tooling.meta/api_tooling/headers_api_usage.htm",
            "2026-11-29",
            "`Sforce-Limit-Info` (a stored copy)",
        ),
        Source(
            "https://developer.salesforce.com/docs/atlas.en-us.222.0.api.meta/api/"
            "sforce_api_objects_contactpointtypeconsent.htm",
            "2026-11-29",
            "the consent object (a stored copy)",
        ),
        Source("simple-salesforce/simple-salesforce@9e96476: simple_salesforce/bulk2.py", "2026-11-29", "the client"),
    ),
)
