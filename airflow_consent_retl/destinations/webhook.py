"""Permitted rows to an HTTP endpoint, as JSON batches; what its answers leave open is `uncertain`, never success.

A request:

    POST /v1/people
    Content-Type: application/json
    Idempotency-Key: 5f1c…            the same rows under the same key, at every try

    {"rows": [{"id": 9007199254740993, "email": "…", "score": "12.50", "seen_at": "2026-11-23T17:50:57.000000+00:00"}]}

Integers are JSON integers with all their digits (or text, with `integers="string"`: a reader in JavaScript rounds
beyond 2^53), decimals text without exponent, floats the shortest text that reads back the same, timestamps ISO 8601
with the offset `+00:00` (without one where the column has no zone), dates and times ISO 8601, binary base64, lists
and structs arrays and objects, JSON columns text. A row with NaN or infinity is rejected as `not_a_number`, a year
outside 1 to 9999 as `year_out_of_range`, text that is not UTF-8 as `not_utf8`. The contract of
answers is in `_webhook_answers`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk import BaseHook

from airflow_consent_retl.destinations._webhook_address import WebhookAddress, webhook_address
from airflow_consent_retl.destinations.base import Batch, Destination, Limits, Load
from airflow_consent_retl.errors import ConfigurationError, DestinationError
from airflow_consent_retl.operators.load import LoadOperator

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.outcomes import Outcomes
    from airflow_consent_retl.destinations._webhook_delivery import WebhookDelivery


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOptions:
    """How rows are sent, and how answers are read.

    Args:
        batch_rows: rows a request at the most.
        concurrency: requests at the same time, and connections kept.
        timeout_s: seconds to connect, and again for each answer.
        max_attempts: requests per batch at the most.
        max_retry_s: seconds after which a batch is not tried again; a `Retry-After` beyond them ends it at once.
        backoff_s: longest wait before the second try; doubles with each, up to a minute; a random part of it is waited.
        max_body_bytes: a larger request is sent in halves, each under a key of its own.
        nulls: `"null"` sends JSON null, `"omit"` leaves the field out.
        integers: `"number"`, or `"string"` for receivers that round beyond 2^53.
        answer: `"rows"` reads answers by the contract and takes an empty 2xx for acceptance of all, `"status"` takes
            any 2xx for it.
        envelope: the field of the body's object that holds the rows; None sends a bare array.

    Raises:
        ConfigurationError: a value out of its range; all of them are named.
    """

    batch_rows: int = 1000
    concurrency: int = 8
    timeout_s: float = 30
    max_attempts: int = 6
    max_retry_s: float = 300
    backoff_s: float = 0.5
    max_body_bytes: int = 4 * 1024 * 1024
    nulls: Literal["null", "omit"] = "null"
    integers: Literal["number", "string"] = "number"
    answer: Literal["rows", "status"] = "rows"
    envelope: str | None = "rows"

    def __post_init__(self) -> None:
        counts = ("batch_rows", "concurrency", "max_attempts", "max_body_bytes")
        wrong = [f"{name} must be at least 1" for name in counts if getattr(self, name) < 1]
        seconds = ("timeout_s", "max_retry_s", "backoff_s")
        wrong += [f"{name} must be above 0" for name in seconds if not getattr(self, name) > 0]
        choices = {"nulls": ("null", "omit"), "integers": ("number", "string"), "answer": ("rows", "status")}
        wrong += [
            f"{name} must be `{first}` or `{second}`"
            for name, (first, second) in choices.items()
            if getattr(self, name) not in {first, second}
        ]
        if self.envelope == "":
            wrong.append("envelope must be the name of a field, or None for a bare array")
        if wrong:
            raise ConfigurationError("; ".join(wrong))


class WebhookDestination(Destination):
    """POSTs batches to one endpoint.

    Args:
        address: from `webhook_address`.
        options: see there.
    """

    def __init__(self, address: WebhookAddress, options: WebhookOptions) -> None:
        self._address = address
        self._options = options
        self._delivery: WebhookDelivery | None = None

    @property
    def limits(self) -> Limits:
        """Rows a request, and requests at the same time."""
        return Limits(batch_rows=self._options.batch_rows, concurrency=self._options.concurrency)

    def open(self, load: Load) -> None:
        """Check the fields' types, and every address of the host; nothing is sent."""
        from airflow_consent_retl.destinations._webhook_delivery import WebhookDelivery

        self._delivery = WebhookDelivery(self._address, self._options, load)

    def send(self, batch: Batch) -> Outcomes:
        """POST a batch, again where that may help, in pieces where it is too large."""
        if self._delivery is None:
            raise DestinationError("the webhook was not opened")
        return self._delivery.send(batch)

    def commit(self) -> None:
        """Close the connections: each batch was final when it was answered."""
        if self._delivery is not None:
            self._delivery.close(give_up=False)

    def abort(self) -> None:
        """End waits and requests under way, and close the connections."""
        if self._delivery is not None:
            self._delivery.close(give_up=True)


class LoadToWebhookOperator(LoadOperator):
    """POST the permitted rows of one destination to an HTTP endpoint, as JSON batches.

    Reads the permitted set's files and an Airflow connection; contacts the connection's host and nothing else. The
    host may not resolve to an address inside the own network unless the connection's extra says
    `{"allow_private": true}`, never to a cloud's metadata service, and plain http reaches only such private addresses
    unless the extra says `{"allow_plain_http": true}`. Redirects and proxies are not used.

    Args:
        conn_id: an HTTP connection (templated): host with or without scheme and base path, schema `https`, port,
            login and password for basic authentication; in the extra `token` (sent as a bearer token), `headers`,
            `allow_private`, `allow_plain_http`.
        endpoint: path below the connection's host (templated), perhaps with a query.
        batch_rows: see `WebhookOptions`, for this and the parameters below.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load.

    Raises:
        ConfigurationError: parameters, connection or field types; not retried.
        DestinationError: 3xx, 401, 403, 404, 405, 407, 410, a refused address, an untrusted certificate; not retried.
        DestinationUnavailableError: it did not take a batch in the time given; retried by Airflow.
    """

    template_fields: Sequence[str] = (*LoadOperator.template_fields, "conn_id", "endpoint")

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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.endpoint = endpoint
        self.batch_rows = batch_rows
        self.concurrency = concurrency
        self.timeout_s = timeout_s
        self.max_attempts = max_attempts
        self.max_retry_s = max_retry_s
        self.max_body_bytes = max_body_bytes
        self.nulls = nulls
        self.integers = integers
        self.answer = answer
        self.envelope = envelope

    def build_destination(self) -> WebhookDestination:
        """Return the destination; reads the connection, contacts nobody."""
        return WebhookDestination(
            webhook_address(BaseHook.get_connection(self.conn_id), endpoint=self.endpoint),
            WebhookOptions(
                batch_rows=self.batch_rows,
                concurrency=self.concurrency,
                timeout_s=self.timeout_s,
                max_attempts=self.max_attempts,
                max_retry_s=self.max_retry_s,
                max_body_bytes=self.max_body_bytes,
                nulls=self.nulls,
                integers=self.integers,
                answer=self.answer,
                envelope=self.envelope,
            ),
        )
