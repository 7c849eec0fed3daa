"""The hook of connections of the type `consentiterable`. It sends no row: it tests the connection."""

from __future__ import annotations

from airflow_consent_retl.destinations.http.vendor_hook import VendorHook
from airflow_consent_retl.destinations.iterable import VENDOR


class IterableHook(VendorHook):
    """A hook for connections to a project of Iterable: the password is a server-side API key."""

    vendor = VENDOR
