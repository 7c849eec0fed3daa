"""The HubSpot destination."""

from __future__ import annotations

from airflow_consent_retl.destinations.http.vendor import Vendor
from airflow_consent_retl.destinations.http.vendor_auth import ApiKey

VENDOR = Vendor(
    conn_type="consenthubspot",
    name="HubSpot",
    hook="airflow_consent_retl.destinations.hubspot.hubspot_hook.HubSpotHook",
    host="https://api.hubapi.com",
    authentication=ApiKey(prefix="Bearer ", label="Access token of a private app"),
    test="GET /account-info/2026-09/details",
)
