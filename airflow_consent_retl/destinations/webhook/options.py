"""The options of the webhook, checked: the form of requests, removals and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.destinations.http.options import HttpOptions

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.webhook.destination import WebhookDestination

RemovalMethod = Literal["DELETE", "POST"]


@parameter_class
class WebhookOptions(HttpOptions):
    """The form of requests, removals and answers; the other options are in `HttpOptions`.

    Args:
        nulls: `"null"` sends JSON null, `"omit"` leaves the field out.
        integers: `"number"`, or `"string"` for receivers that round beyond 2^53.
        answer: `"rows"` reads answers by the contract, and an empty 2xx as acceptance of all rows; `"status"` reads
            any 2xx as acceptance of all rows.
        envelope: the field of the body's object that contains the rows; None sends a bare array.
        removal_method: of the requests that remove people. `"DELETE"` fails loudly where the receiver does not know
            it; a receiver that ignores the event of a `"POST"` would store the rows and report success.
        removal_event: further fields of a removal's object, such as `{"event": "removed"}`.
        own_codes: the receiver's codes of refused rows that are always shown. Any other code that is not made of plain
            words about errors is counted as `other`, unless at least 5 rows of a batch share it.

    Raises:
        ConfigurationError: values are out of their ranges; the message names all of them.
    """

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "nulls": ("null", "omit"),
        "integers": ("number", "string"),
        "answer": ("rows", "status"),
        "removal_method": get_args(RemovalMethod),
    }

    nulls: Literal["null", "omit"] = "null"
    integers: Literal["number", "string"] = "number"
    answer: Literal["rows", "status"] = "rows"
    envelope: str | None = "rows"
    removal_method: RemovalMethod = "DELETE"
    removal_event: Mapping[str, str] | None = None
    own_codes: Sequence[str] = ()

    def wrong(self) -> list[str]:
        """Return the errors in the values."""
        wrong = super().wrong()
        if self.envelope == "":
            wrong.append("envelope must be the name of a field, or None for a bare array")
        if isinstance(self.own_codes, str) or not all(isinstance(code, str) and code for code in self.own_codes):
            wrong.append('own_codes must be a list of codes, such as ["E1001"]')
        return wrong + self._wrong_event()

    def _wrong_event(self) -> list[str]:
        if self.removal_event is None:
            return []
        if not self.removal_event or not all(
            isinstance(name, str) and isinstance(value, str) and name for name, value in self.removal_event.items()
        ):
            return ['removal_event must be fields with text, such as {"event": "removed"}']
        if self.envelope is None:
            return ["removal_event needs an envelope: a bare array has no place for it"]
        return ["removal_event must not name the field of the rows"] if self.envelope in self.removal_event else []


@parameter_class
class WebhookSpec(WebhookOptions, DestinationSpec):
    """The options, and the target of requests.

    Args:
        conn_id: a connection of type `consentwebhook` or `http`; see `http_address`.
        endpoint: a path below the connection's host, with or without a query.
        removal_endpoint: the path of removals; None: `endpoint`.
    """

    templated: ClassVar[tuple[str, ...]] = ("conn_id", "endpoint", "removal_endpoint")
    internal: ClassVar[frozenset[str]] = frozenset({"backoff_s"})

    conn_id: str
    endpoint: str
    removal_endpoint: str | None = None

    def build(self) -> WebhookDestination:
        """Return the destination, not yet opened; reads the connection and contacts nothing."""
        from airflow_consent_retl.destinations.http.address import http_address
        from airflow_consent_retl.destinations.webhook.destination import WebhookDestination
        from airflow_consent_retl.hooks.lookups import connection_named

        connection = connection_named(self.conn_id)
        endpoint = self.removal_endpoint
        return WebhookDestination(
            http_address(connection, endpoint=self.endpoint),
            self,
            removal_address=None if endpoint is None else http_address(connection, endpoint=endpoint),
        )
