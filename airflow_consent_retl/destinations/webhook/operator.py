"""The operator that sends permitted rows to an HTTP endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from airflow_consent_retl.destinations.webhook.options import RemovalMethod, WebhookSpec
from airflow_consent_retl.operators.load import LoadOperator


class LoadToWebhookOperator(LoadOperator):
    """POST the permitted rows of one destination to an HTTP endpoint, as JSON batches, and remove people from it.

    Reads the permitted set's files and an Airflow connection; contacts only the connection's host. The host may not
    resolve to an address inside the own network unless the connection's extra has `{"allow_private": true}`, and never
    to a cloud's metadata service; plain http reaches only such private addresses unless the extra has
    `{"allow_plain_http": true}`. Redirects and proxies are not used.

    Args:
        conn_id: a connection of type `consentwebhook` or `http` (templated): host with or without scheme and base path,
            schema `https`, port, login and password for basic authentication; in the extra `token` (sent as a bearer
            token), `headers`, `allow_private`, `allow_plain_http`.
        endpoint: path below the connection's host (templated), perhaps with a query.
        batch_rows: see `WebhookOptions`, for this parameter and those that are not listed here.
        removal_endpoint: path below the connection's host (templated) that removals go to; None: `endpoint`.
        removal_method: `"DELETE"`, or `"POST"`, which needs a `removal_event` or a `removal_endpoint`.
        removal_event: further fields of a removal's object, such as `{"event": "removed"}`.
        removal_batch_rows: the most people in a removal; None: `batch_rows`.
        own_codes: the receiver's codes of refused rows that are always shown; see `WebhookOptions`.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load.

    Raises:
        ConfigurationError: parameters, connection or field types; not retried.
        DestinationError: 3xx, 401, 403, 404, 405, 407, 410, a refused address, an untrusted certificate; not retried.
        DestinationUnavailableError: the endpoint did not accept a batch in time; retried by Airflow.
    """

    template_fields: Sequence[str] = (*LoadOperator.template_fields, *WebhookSpec.templated)
    spec_class = WebhookSpec

    def __init__(
        self,
        *,
        conn_id: str,
        endpoint: str,
        batch_rows: int = 1000,
        concurrency: int = 8,
        timeout_s: float = 30,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        max_body_bytes: int = 4 * 1024 * 1024,
        nulls: Literal["null", "omit"] = "null",
        integers: Literal["number", "string"] = "number",
        answer: Literal["rows", "status"] = "rows",
        envelope: str | None = "rows",
        removal_endpoint: str | None = None,
        removal_method: RemovalMethod = "DELETE",
        removal_event: Mapping[str, str] | None = None,
        removal_batch_rows: int | None = None,
        own_codes: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Airflow requires templated parameters as attributes.
        self.conn_id = conn_id
        self.endpoint = endpoint
        self.removal_endpoint = removal_endpoint
        self._spec = partial(
            WebhookSpec,
            batch_rows=batch_rows,
            concurrency=concurrency,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            max_retry_s=max_retry_s,
            max_body_bytes=max_body_bytes,
            nulls=nulls,
            integers=integers,
            answer=answer,
            envelope=envelope,
            removal_method=removal_method,
            removal_event=removal_event,
            removal_batch_rows=removal_batch_rows,
            own_codes=own_codes,
        )

    def destination_spec(self) -> WebhookSpec:
        """Return the options and the target of requests."""
        return self._spec(conn_id=self.conn_id, endpoint=self.endpoint, removal_endpoint=self.removal_endpoint)
