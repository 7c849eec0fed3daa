"""How a webhook's requests are made and its answers read: the settings, checked; nothing is sent here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.webhook.destination import WebhookDestination

RemovalMethod = Literal["DELETE", "POST"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOptions:
    """How rows are sent, people removed, and answers read.

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
        removal_method: of the requests that remove people. `"DELETE"` fails loudly where the receiver does not know
            it; a receiver that does not know what a `"POST"` is about would store the rows and say that all went well.
        removal_event: fields of the body's object beside the rows of a removal, such as `{"event": "removed"}`.
        removal_batch_rows: people a removal at the most; None: `batch_rows`.

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
    removal_method: RemovalMethod = "DELETE"
    removal_event: Mapping[str, str] | None = None
    removal_batch_rows: int | None = None

    def __post_init__(self) -> None:
        counts = ("batch_rows", "concurrency", "max_attempts", "max_body_bytes")
        wrong = [f"{name} must be at least 1" for name in counts if getattr(self, name) < 1]
        if self.removal_batch_rows is not None and self.removal_batch_rows < 1:
            wrong.append("removal_batch_rows must be at least 1")
        seconds = ("timeout_s", "max_retry_s", "backoff_s")
        wrong += [f"{name} must be above 0" for name in seconds if not getattr(self, name) > 0]
        choices = {
            "nulls": ("null", "omit"),
            "integers": ("number", "string"),
            "answer": ("rows", "status"),
            "removal_method": ("DELETE", "POST"),
        }
        wrong += [
            f"{name} must be `{first}` or `{second}`"
            for name, (first, second) in choices.items()
            if getattr(self, name) not in {first, second}
        ]
        if self.envelope == "":
            wrong.append("envelope must be the name of a field, or None for a bare array")
        wrong += self._wrong_event()
        if wrong:
            raise ConfigurationError("; ".join(wrong))

    def _wrong_event(self) -> list[str]:
        if self.removal_event is None:
            return []
        if not self.removal_event or not all(
            isinstance(name, str) and isinstance(value, str) and name for name, value in self.removal_event.items()
        ):
            return ['removal_event must be fields with text, such as {"event": "removed"}']
        if self.envelope is None:
            return ["removal_event needs an envelope: a bare array has no place for it"]
        return ["removal_event names the field of the rows"] if self.envelope in self.removal_event else []


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSpec(WebhookOptions, DestinationSpec):
    """The options, and where requests go.

    Args:
        conn_id: an HTTP connection; see `http_address`.
        endpoint: a path below the connection's host, with or without a query.
        removal_endpoint: the path of removals; None: `endpoint`.
    """

    templated: ClassVar[tuple[str, ...]] = ("conn_id", "endpoint", "removal_endpoint")

    conn_id: str
    endpoint: str
    removal_endpoint: str | None = None

    def build(self) -> WebhookDestination:
        """Return the destination, not yet opened; reads the connection and contacts nothing."""
        from airflow.sdk import BaseHook

        from airflow_consent_retl.destinations.http.address import webhook_address
        from airflow_consent_retl.destinations.webhook.destination import WebhookDestination

        connection = BaseHook.get_connection(self.conn_id)
        endpoint = self.removal_endpoint
        return WebhookDestination(
            webhook_address(connection, endpoint=self.endpoint),
            self,
            removal_address=None if endpoint is None else webhook_address(connection, endpoint=endpoint),
        )
