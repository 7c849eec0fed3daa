"""The hook of connections of the type `consentcustomerio`. It sends no row: it tests the connection."""

from __future__ import annotations

from airflow_consent_retl.destinations.customerio import VENDOR
from airflow_consent_retl.destinations.http.vendor_hook import VendorHook


class CustomerioHook(VendorHook):
    """A hook for connections to a workspace of Customer.io: login and password are Site ID and API key of Track."""

    vendor = VENDOR
