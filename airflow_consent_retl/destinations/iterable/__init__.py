"""The Iterable destination: users, and the lists that they are on."""

from __future__ import annotations

from airflow_consent_retl.destinations.http.vendor import Vendor
from airflow_consent_retl.destinations.http.vendor_auth import ApiKey

VENDOR = Vendor(
    conn_type="consentiterable",
    name="Iterable",
    hook="airflow_consent_retl.destinations.iterable.iterable_hook.IterableHook",
    host="https://api.iterable.com",
    authentication=ApiKey(header="Api-Key"),
    test="GET /api/lists",
)
