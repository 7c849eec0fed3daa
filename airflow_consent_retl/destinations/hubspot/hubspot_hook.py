"""The hook of connections of the type `consenthubspot`. It sends no row: it tests the connection."""

from __future__ import annotations

from airflow_consent_retl.destinations.http.vendor_hook import VendorHook
from airflow_consent_retl.destinations.hubspot import VENDOR


class HubSpotHook(VendorHook):
    """A hook for connections to a HubSpot account: a private app's access token, or an OAuth app."""

    vendor = VENDOR
