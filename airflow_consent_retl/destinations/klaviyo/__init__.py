"""Klaviyo profiles as a destination, by bulk import jobs."""

from __future__ import annotations

from airflow_consent_retl.destinations.http.vendor import Vendor
from airflow_consent_retl.destinations.http.vendor_auth import ApiKey

REVISION = "2026-07-15"
VENDOR = Vendor(
    conn_type="consentklaviyo",
    name="Klaviyo",
    hook="airflow_consent_retl.destinations.klaviyo.klaviyo_hook.KlaviyoHook",
    host="https://a.klaviyo.com",
    authentication=ApiKey(prefix="Klaviyo-API-Key ", label="Private API key"),
    headers={"revision": REVISION},
    test="GET /api/accounts",
)
