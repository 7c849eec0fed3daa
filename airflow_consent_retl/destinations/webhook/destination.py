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
answers is in `answers`.

A removal holds the primary keys only, under the same headers, with the same answers and repeats:

    DELETE /v1/people
    {"rows": [{"id": 9007199254740993}]}

or, for receivers and proxies that want no body in a DELETE, a POST that says what it is about:

    POST /v1/people
    {"event": "removed", "rows": [{"id": 9007199254740993}]}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.errors import ConfigurationError, DestinationError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.outcomes import Outcomes
    from airflow_consent_retl.destinations.http.address import WebhookAddress
    from airflow_consent_retl.destinations.webhook.delivery import WebhookDelivery
    from airflow_consent_retl.destinations.webhook.options import WebhookOptions


class WebhookDestination(Destination):
    """POSTs batches to one endpoint, and asks it or another one of the same host to remove people.

    A removal is `accepted` where the receiver says so, or says of the row that there is no such person: it names it
    with the code `not_found` or `gone`, which an answer with status 404 or 410 may do too. A bare 404 or 410 speaks of
    the endpoint, since a removal's address names nobody: it stops the load. A person whose key has no form in JSON was
    never sent, and counts as removed.

    Args:
        address: from `webhook_address`.
        options: see there.
        removal_address: where people are removed, on the same host; None: where rows go.

    Raises:
        ConfigurationError: a removal would look like any other request, or go to another host.
    """

    can_remove: ClassVar[bool] = True

    def __init__(
        self, address: WebhookAddress, options: WebhookOptions, *, removal_address: WebhookAddress | None = None
    ) -> None:
        self._address = address
        self._options = options
        self._removal_address = removal_address or address
        self._delivery: WebhookDelivery | None = None
        if self._removal_address.origin != address.origin:
            raise ConfigurationError("people are removed at the host that rows are sent to")
        same_place = self._removal_address.target == address.target
        if options.removal_method == "POST" and same_place and not options.removal_event:
            raise ConfigurationError(
                "removals would look like rows to be stored: removal_method `POST` needs a removal_event such as "
                '{"event": "removed"}, or a removal_endpoint of its own'
            )

    @property
    def limits(self) -> Limits:
        """Rows a request, people a removal, and requests at the same time."""
        return Limits(
            batch_rows=self._options.batch_rows,
            concurrency=self._options.concurrency,
            removal_rows=self._options.removal_batch_rows,
        )

    @property
    def target(self) -> str:
        """The endpoint's path and the connection, without a query, which may hold a secret."""
        return f"`{self._address.path}` of connection `{self._address.conn_id}`"

    def open(self, load: Load) -> None:
        """Check the fields' types, and every address of the host; nothing is sent."""
        from airflow_consent_retl.destinations.webhook.delivery import WebhookDelivery

        removal_schema = None if load.key_field is None else self.removal_schema(load)
        self._delivery = WebhookDelivery(
            self._address,
            self._options,
            load,
            removal_address=self._removal_address,
            removal_schema=removal_schema,
        )

    def send(self, batch: Batch) -> Outcomes:
        """POST a batch, again where that may help, in pieces where it is too large."""
        return self._opened.send(batch)

    def remove(self, batch: Batch) -> Outcomes:
        """Ask for people to be removed, as often and in as many pieces as `send` would."""
        return self._opened.remove(batch)

    @property
    def _opened(self) -> WebhookDelivery:
        if self._delivery is None:
            raise DestinationError("the webhook was not opened")
        return self._delivery

    def commit(self) -> None:
        """Close the connections: each batch was final when it was answered."""
        if self._delivery is not None:
            self._delivery.close(give_up=False)

    def abort(self) -> None:
        """End waits and requests under way, and close the connections."""
        if self._delivery is not None:
            self._delivery.close(give_up=True)
