"""A client of Google's Data Manager API, from an Airflow Google Cloud connection. Sends no request of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from airflow_consent_retl import __version__
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.lookups import connection_named
from airflow_consent_retl.masking import mask_extra

if TYPE_CHECKING:
    from google.ads.datamanager_v1 import IngestionServiceClient
    from google.auth.credentials import Credentials

SCOPE = "https://www.googleapis.com/auth/datamanager"
"""Read 2026-11-23: https://developers.google.com/data-manager/api/reference/rest/v1/audienceMembers/ingest."""

# These log whole requests, with every hash in them, where their level is DEBUG.
_PAYLOAD_LOGGERS = tuple(
    f"google.ads.datamanager_v1.services.ingestion_service.transports.{transport}"
    for transport in ("grpc", "grpc_asyncio", "rest")
)


class GoogleDataManagerHook(BaseHook):
    """Makes the official client, with credentials for the Data Manager API only.

    Args:
        gcp_conn_id: a Google Cloud connection. Its extra may name another `data_manager_endpoint`, `host` or
            `host:port`, for a proxy or a test. Credentials and rows go there encrypted, unless it is on this machine
            (a loopback address) and the connection `is_anonymous`: then without credentials and encryption.
        impersonation_chain: service account to impersonate, or a chain of them; by default the connection's.
    """

    conn_name_attr = "gcp_conn_id"
    default_conn_name = "google_cloud_default"
    conn_type = "google_cloud_platform"
    hook_name = "Google Data Manager"

    def __init__(
        self, *, gcp_conn_id: str = default_conn_name, impersonation_chain: str | Sequence[str] | None = None
    ) -> None:
        super().__init__()
        self.gcp_conn_id = gcp_conn_id
        self.impersonation_chain = impersonation_chain

    def get_conn(self) -> IngestionServiceClient:
        """Return a client; contacts at most, for some kinds of credentials, Google's token service.

        Raises:
            ConfigurationError: the connection has no usable credentials or a wrong endpoint, or the extra `google`
                is not installed.
        """
        try:
            from google.ads.datamanager_v1 import IngestionServiceClient
            from google.api_core.client_options import ClientOptions
            from google.api_core.gapic_v1.client_info import ClientInfo
        except ImportError:
            raise ConfigurationError(
                "the Data Manager client is not installed: `pip install 'airflow-consent-retl[google]'`"
            ) from None
        for name in _PAYLOAD_LOGGERS:
            logging.getLogger(name).setLevel(logging.INFO)
        mask_extra(connection_named(self.gcp_conn_id))
        endpoint = self.endpoint()
        if self.get_connection(self.gcp_conn_id).extra_dejson.get("is_anonymous"):
            if endpoint is None or not _is_loopback(endpoint):
                raise ConfigurationError(
                    f"connection `{self.gcp_conn_id}` is anonymous: the Data Manager API accepts nothing without "
                    "credentials, and only a `data_manager_endpoint` on this machine may"
                )
            return _plaintext_client(endpoint)
        return IngestionServiceClient(
            credentials=self._credentials(),
            client_options=ClientOptions(api_endpoint=endpoint),
            client_info=ClientInfo(user_agent=f"airflow-consent-retl/{__version__}"),  # type: ignore[no-untyped-call]
        )

    def endpoint(self) -> str | None:
        """Return the endpoint that the connection names; None: Google's own.

        Raises:
            ConfigurationError: it is no text.
        """
        endpoint = self.get_connection(self.gcp_conn_id).extra_dejson.get("data_manager_endpoint") or None
        if endpoint is not None and not isinstance(endpoint, str):
            raise ConfigurationError(f"`data_manager_endpoint` of connection `{self.gcp_conn_id}` has to be text")
        return endpoint

    def _credentials(self) -> Credentials:
        from airflow.providers.google.common.hooks.base_google import GoogleBaseHook
        from google.auth.credentials import Scoped
        from google.auth.exceptions import GoogleAuthError

        from airflow_consent_retl.compat import AirflowException

        hook = GoogleBaseHook(gcp_conn_id=self.gcp_conn_id, impersonation_chain=self.impersonation_chain)
        try:
            credentials = hook.get_credentials()
        except (AirflowException, GoogleAuthError, OSError, ValueError):
            # The message may contain a part of the key.
            raise ConfigurationError(
                f"connection `{self.gcp_conn_id}` has no usable Google Cloud credentials"
            ) from None
        # This client needs exactly one scope, whatever scopes the connection names.
        if not isinstance(credentials, Scoped):
            return credentials
        scoped: Credentials = credentials.with_scopes((SCOPE,))  # type: ignore[no-untyped-call]
        return scoped


def _plaintext_client(endpoint: str) -> IngestionServiceClient:
    import grpc
    from google.ads.datamanager_v1 import IngestionServiceClient
    from google.ads.datamanager_v1.services.ingestion_service.transports import IngestionServiceGrpcTransport

    options = [
        ("grpc.max_send_message_length", -1),
        ("grpc.max_receive_message_length", -1),
        ("grpc.enable_http_proxy", 0),
    ]
    channel = grpc.insecure_channel(endpoint, options=options)
    return IngestionServiceClient(transport=IngestionServiceGrpcTransport(channel=channel))


def _is_loopback(endpoint: str) -> bool:
    host, _, _ = endpoint.rpartition(":") if ":" in endpoint else (endpoint, "", "")
    host = host.removeprefix("[").removesuffix("]")
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
