"""The options of the webhook, checked: the form of requests, removals and answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.destinations.http.options import HttpOptions
from airflow_consent_retl.errors import Problem

if TYPE_CHECKING:
    from airflow_consent_retl.contract.checked_options import OptionCheck
    from airflow_consent_retl.destinations.webhook.destination import WebhookDestination

RemovalMethod = Literal["DELETE", "POST"]
REMOVALS_LIKE_ROWS = (
    "removals would look like rows to be stored: removal_method `POST` needs a removal_event such as "
    '{"event": "removed"}, or a removal_endpoint of its own'
)


def _envelope(options: WebhookOptions) -> Iterator[Problem]:
    if options.envelope == "":
        yield Problem("envelope", "envelope must be the name of a field, or None for a bare array")


def _removal_event(options: WebhookOptions) -> Iterator[Problem]:
    event = options.removal_event
    if event is None:
        return
    fields = all(isinstance(name, str) and isinstance(value, str) and name for name, value in event.items())
    if not event or not fields:
        yield Problem("removal_event", 'removal_event must be fields with text, such as {"event": "removed"}')
    elif options.envelope is None:
        yield Problem("removal_event", "removal_event needs an envelope: a bare array has no place for it")
    elif options.envelope in event:
        yield Problem("removal_event", "removal_event must not name the field of the rows")


def _removals(options: WebhookSpec) -> Iterator[Problem]:
    if options.removal_method == "POST" and not options.removal_event and options.removal_endpoint is None:
        yield Problem("removal_method", REMOVALS_LIKE_ROWS)


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

    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "nulls": ("null", "omit"),
        "integers": ("number", "string"),
        "answer": ("rows", "status"),
        "removal_method": get_args(RemovalMethod),
    }
    checks: ClassVar[tuple[OptionCheck, ...]] = (_envelope, _removal_event)

    nulls: Literal["null", "omit"] = "null"
    integers: Literal["number", "string"] = "number"
    answer: Literal["rows", "status"] = "rows"
    envelope: str | None = "rows"
    removal_method: RemovalMethod = "DELETE"
    removal_event: Mapping[str, str] | None = None
    own_codes: Sequence[str] = ()


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
    checks: ClassVar[tuple[OptionCheck, ...]] = (_removals,)

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
