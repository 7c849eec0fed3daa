"""The requests of one load to a vendor that accepts them as a whole, processes them later, and reports counts."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from airflow_consent_retl.destinations.http.piece_delivery import PieceDelivery
from airflow_consent_retl.destinations.http.request_counts import RequestState, RequestStatus, counted
from airflow_consent_retl.destinations.http.retry import Retries
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
    from airflow_consent_retl.destinations.http.pace import Pace
    from airflow_consent_retl.destinations.http.retry import RetryLimits

log = module_log(__name__)


@dataclass(frozen=True, slots=True)
class AcceptedRequest:
    """A request that was accepted for processing: its id, and the reasons of its warnings."""

    request_id: str
    warnings: Counter[str]


class CountedApi(Protocol):
    """The calls of a vendor, without retries. Any number of threads may call."""

    pace: Pace

    def status(self, request_id: str) -> RequestStatus:
        """Return the status of a request; raises `AttemptError` or `RefusedRequestError`."""

    def close(self) -> None:
        """Close the connection; running calls end with a transient fault."""


class CountedDelivery:
    """The requests of one load; any number of threads may call.

    Args:
        api: closed with this.
        vendor: its name in messages.
        target: where to, for messages.
        items: what a row is there, such as `members`.
        limits: of retries.
    """

    def __init__(self, api: CountedApi, limits: RetryLimits, *, vendor: str, target: str, items: str) -> None:
        self._api = api
        self._vendor = vendor
        self._items = items
        self._pieces = PieceDelivery(f"{vendor} for {target}", items, Retries(api.pace, limits))
        self._lock = threading.Lock()
        self._warnings: Counter[str] = Counter()

    def deliver(
        self,
        messages: Mapping[int, Any],
        pieces: list[list[int]],
        call: Callable[[Any, list[Any]], AcceptedRequest],
        *,
        before_request: Callable[[], None],
    ) -> dict[int, Outcome]:
        """Send messages, and return the outcome of each, as `PieceDelivery.deliver`; `call` gets the API too."""

        def accepted(some: list[Any]) -> str:
            request = call(self._api, some)
            with self._lock:
                self._warnings += request.warnings
            return request.request_id

        return self._pieces.deliver(messages, pieces, accepted, before_request=before_request)

    def confirm(self, request_id: str, rows: int) -> Outcomes | None:
        """Return the outcomes of a request's rows; None while it is processed.

        Raises:
            DestinationUnavailableError: the vendor did not answer.
            DestinationError: it refuses to answer.
        """
        status = self._status(request_id)
        status.report(request_id, rows, self._items)
        return status.outcomes(rows)

    def is_processed(self, request_id: str) -> bool:
        """Return whether a request is processed; raises as `confirm`."""
        return self._status(request_id).state is not RequestState.PROCESSING

    def close(self, *, give_up: bool) -> None:
        """Close the connection; with `give_up`, end waits and running calls as well."""
        if give_up:
            self._pieces.give_up()
        self._api.close()
        with self._lock:
            if self._warnings:
                log.warning("%s warned of %s (%s)", self._vendor, self._items, counted(self._warnings))
                self._warnings.clear()

    def _status(self, request_id: str) -> RequestStatus:
        status: RequestStatus = self._pieces.asked(lambda: self._api.status(request_id))
        return status
