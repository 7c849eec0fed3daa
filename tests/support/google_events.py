"""Events for Google in the tests: a destination that talks to a local server through the official client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.customer_match import connection_to
from support.data_manager_server import DataManager

from airflow_consent_retl.destinations.google_events.spec import GoogleEventsSpec

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.google_events.destination import GoogleEventsDestination


def events_destination(google: DataManager, *, consent_granted: bool = True, **options: Any) -> GoogleEventsDestination:
    """Return a destination whose retries are short enough for a test."""
    settings: dict[str, Any] = {"timeout_s": 30, "max_attempts": 3, "max_retry_s": 5, "backoff_s": 0.01, **options}
    spec = GoogleEventsSpec(
        gcp_conn_id=connection_to(google),
        product_destination_id="4711",
        operating_account="123-456-7890",
        login_account="987",
        **settings,
    )
    return spec.build(consent_granted=consent_granted)
