"""The operator that sends permitted rows to an HTTP endpoint."""

from __future__ import annotations

from airflow_consent_retl.destinations.webhook.options import WebhookSpec
from airflow_consent_retl.operators.spec_load import SpecLoadOperator


class LoadToWebhookOperator(SpecLoadOperator):
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

    spec_class = WebhookSpec
