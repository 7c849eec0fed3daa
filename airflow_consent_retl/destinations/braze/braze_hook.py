"""The hook of connections of the type `consentbraze`. It sends no row: it tests the connection."""

from __future__ import annotations

from airflow_consent_retl.destinations.braze import VENDOR
from airflow_consent_retl.destinations.http.vendor_hook import VendorHook


class BrazeHook(VendorHook):
    """A hook for connections to a Braze workspace: the host is its REST endpoint, the password a REST API key."""

    vendor = VENDOR
