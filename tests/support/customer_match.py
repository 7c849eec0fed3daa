"""Customer Match for the tests: people, and a destination that talks to a local server through the official client."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from google.ads.datamanager_v1 import IngestionServiceClient
from support.data_manager_server import DataManager

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.destinations.data_manager.accounts import google_target
from airflow_consent_retl.destinations.data_manager.data_manager_hook import GoogleDataManagerHook
from airflow_consent_retl.destinations.google_customer_match.audience import CustomerMatchOptions
from airflow_consent_retl.destinations.google_customer_match.destination import GoogleCustomerMatchDestination

if TYPE_CHECKING:
    from airflow_consent_retl.contract.outcomes import Outcomes
    from airflow_consent_retl.destinations.http.pace import Pace

CONN_ID = "local_google"


def connection_to(google: DataManager) -> str:
    """Make the connection to a local server, and return its id."""
    extra = {"data_manager_endpoint": google.endpoint, "is_anonymous": True}
    connection = {"conn_type": "google_cloud_platform", "extra": extra}
    os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"] = json.dumps(connection)
    return CONN_ID


def client_of(google: DataManager) -> IngestionServiceClient:
    return GoogleDataManagerHook(gcp_conn_id=connection_to(google)).get_conn()


def destination_of(
    google: DataManager, *, consent_granted: bool = True, pace: Pace | None = None, **options: Any
) -> GoogleCustomerMatchDestination:
    """Return a destination whose retries are short enough for a test."""
    settings: dict[str, Any] = {"timeout_s": 30, "max_attempts": 3, "max_retry_s": 5, "backoff_s": 0.01}
    settings |= {"requests_per_minute": 100_000, **options}
    return GoogleCustomerMatchDestination(
        lambda: client_of(google),
        google_target("audience", "42", operating_account="123-456-7890", login_account="987", linked_account=None),
        CustomerMatchOptions(**settings),
        consent_granted=consent_granted,
        pace=pace,
    )


def people_of(count: int, *, address: bool = False) -> pa.Table:
    columns: dict[str, list[str]] = {
        "email": [f"Canary-{n}@Example.com" for n in range(count)],
        "phone": [f"+49 171 {n:06d}" for n in range(count)],
    }
    if address:
        columns |= {
            "given_name": ["Ann"] * count,
            "family_name": ["Canaryson"] * count,
            "region_code": ["de"] * count,
            "postal_code": [str(10115 + n) for n in range(count)],
        }
    return pa.table(columns)


def removals_of(kept: pa.Table) -> Batch:
    (rows,) = kept.combine_chunks().to_batches()
    return Batch(key=sha256(b"removals").hexdigest(), rows=rows)


def states(outcomes: Outcomes) -> list[str]:
    """Return each row's outcome as `status:code`."""
    return [f"{outcome.status}:{outcome.code}".rstrip(":") for outcome in outcomes]
