"""The Braze destination."""

from __future__ import annotations

from airflow_consent_retl.destinations.http.vendor import Vendor
from airflow_consent_retl.destinations.http.vendor_auth import ApiKey

VENDOR = Vendor(
    conn_type="consentbraze",
    name="Braze",
    hook="airflow_consent_retl.destinations.braze.braze_hook.BrazeHook",
    host=None,
    host_example="https://rest.iad-01.braze.com",
    authentication=ApiKey(prefix="Bearer ", label="REST API key"),
    # An object without an identifier: a valid key gets 400, and nothing changes.
    test="POST /users/track",
    test_body=b'{"attributes": [{}]}',
    test_statuses=(400,),
)
