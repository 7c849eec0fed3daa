"""The Customer.io destination: people of a workspace, or those of a manual segment."""

from __future__ import annotations

from airflow_consent_retl.destinations.http.vendor import Vendor
from airflow_consent_retl.destinations.http.vendor_auth import LoginAndPassword

VENDOR = Vendor(
    conn_type="consentcustomerio",
    name="Customer.io",
    hook="airflow_consent_retl.destinations.customerio.customerio_hook.CustomerioHook",
    host="https://track.customer.io",
    authentication=LoginAndPassword(login="Site ID", password="API key"),  # noqa: S106 - labels
    test="GET /api/v1/accounts/region",
)
