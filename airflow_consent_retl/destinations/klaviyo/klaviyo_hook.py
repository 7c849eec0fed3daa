"""The hook of connections of the type `consentklaviyo`. It sends no row: it tests the connection."""

from __future__ import annotations

from airflow_consent_retl.destinations.http.vendor_hook import VendorHook
from airflow_consent_retl.destinations.klaviyo import VENDOR


class KlaviyoHook(VendorHook):
    """A hook for connections to a Klaviyo account: the password is a private API key."""

    vendor = VENDOR
