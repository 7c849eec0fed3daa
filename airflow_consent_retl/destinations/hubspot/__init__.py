"""The HubSpot destination."""

from __future__ import annotations

from airflow_consent_retl.destinations.http.vendor import Vendor
from airflow_consent_retl.destinations.http.vendor_auth import ApiKey, KeyOrOAuth2, OAuth2

VENDOR = Vendor(
    conn_type="consenthubspot",
    name="HubSpot",
    hook="airflow_consent_retl.destinations.hubspot.hubspot_hook.HubSpotHook",
    host="https://api.hubapi.com",
    authentication=KeyOrOAuth2(
        key=ApiKey(prefix="Bearer ", label="Access token of a private app"),
        # `HubSpot/HubSpot-public-api-spec-collection@0aae1df`, OAuth 2026-09, read 2026-11-29: the refresh token stays,
        # and an access token lives for 30 minutes.
        app=OAuth2(grant="refresh_token", token_url="/oauth/2026-09/token"),  # noqa: S106 - an address
    ),
    test="GET /account-info/2026-09/details",
)
