"""The Graph API of Meta: the parts that its destinations share. It is no destination itself.

The version was read on 2026-11-29, in the wheel facebook-business 26.0.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_consent_retl.destinations.http.vendor import Vendor
from airflow_consent_retl.destinations.http.vendor_auth import ApiKey

API_VERSION = "v26.0"
PHONE_REGION = (r"[A-Z]{2}", "a region such as `DE`: two capital letters of ISO 3166-1")
"""The form of the option; whether there is such a region is known when the load maps a phone number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphToken(ApiKey):
    """An access token, and the app's secret for the apps that demand a proof of it."""

    header: str = "Authorization"
    prefix: str = "Bearer "
    label: str = "Access token"

    @property
    def fields(self) -> Mapping[str, Mapping[str, Any]]:
        """The app's secret."""
        return {
            "app_secret": {
                "label": "App secret",
                "description": "Only for an app that demands proof of it: each request then carries `appsecret_proof`.",
                "schema": {"type": ["string", "null"], "format": "password"},
            }
        }


META = Vendor(
    conn_type="consentmeta",
    name="Meta",
    hook="airflow_consent_retl.destinations.meta.meta_hook.MetaHook",
    host="https://graph.facebook.com",
    authentication=GraphToken(),
    test=f"GET /{API_VERSION}/me",
)
