"""The hook of connections of the type `consentmeta`."""

from __future__ import annotations

from airflow_consent_retl.destinations.http.probe import probed
from airflow_consent_retl.destinations.http.vendor_hook import VendorHook
from airflow_consent_retl.destinations.meta import META
from airflow_consent_retl.destinations.meta.graph_api import proved_address


class MetaHook(VendorHook):
    """A hook for connections to Meta's Graph API: an access token, and the app's secret if the app demands a proof."""

    vendor = META

    def test_connection(self) -> tuple[bool, str]:
        """Ask for the token's own user, with the proof of the app's secret if there is one."""
        method, _, endpoint = META.test.partition(" ")

        def verdict(status: int) -> tuple[bool, str]:
            if status == 200:
                return True, "Meta accepts the access token. Only a load shows whether it may use the audience"
            return False, "Meta does not accept the access token, or wants a proof of the app's secret"

        return probed(lambda: proved_address(self.conn_id, endpoint), method, verdict=verdict)
