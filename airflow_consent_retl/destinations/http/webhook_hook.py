"""The hook of connections of the type `consentwebhook`. It sends no row: it tests the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook

from airflow_consent_retl.destinations.http.probe import probe_client, probed
from airflow_consent_retl.destinations.http.webhook_form import WEBHOOK_FORM
from airflow_consent_retl.hooks.connection_forms import field_behaviour, flask_fields

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import GuardedClient


class WebhookHook(BaseHook):
    """A hook for connections to any host that speaks HTTP: the receiver of a webhook, or a declared API.

    Args:
        webhook_conn_id: the connection: see `http_address` for its fields.
    """

    conn_name_attr = "webhook_conn_id"
    default_conn_name = "consent_webhook_default"
    conn_type = "consentwebhook"
    hook_name = "Consent webhook"

    def __init__(self, webhook_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.webhook_conn_id = webhook_conn_id

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the form's fields, for versions of Airflow that build forms with Flask."""
        return flask_fields(WEBHOOK_FORM)

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return the labels and placeholders of the fields that every connection has."""
        return field_behaviour(WEBHOOK_FORM)

    def get_conn(self) -> GuardedClient:
        """Return a client for the connection's host; contacts nothing.

        Raises:
            ConfigurationError: the connection is not usable; no secret is quoted.
        """
        return probe_client(self._address())

    def test_connection(self) -> tuple[bool, str]:
        """Ask for the base URL by HEAD, with every check that a load makes of the address, and its credentials."""
        found = "it is there. Only a load shows whether its endpoint accepts rows"
        return probed(self._address, "HEAD", verdict=lambda _: (True, found))

    def _address(self) -> HttpAddress:
        from airflow_consent_retl.destinations.http.address import http_address

        return http_address(self.get_connection(self.webhook_conn_id), endpoint="/")
