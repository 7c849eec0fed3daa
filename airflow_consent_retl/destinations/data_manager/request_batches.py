"""Batches of members or events: their sending, and the confirmation of their requests.

Both are called members here. The API refuses a whole request when one member is malformed, and applies nothing of it:
https://developers.google.com/data-manager/api/devguides/concepts/understand-errors, read 2026-11-23.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.destinations.http.piece_delivery import PieceDelivery
from airflow_consent_retl.destinations.http.request_counts import RequestState, RequestStatus, counted
from airflow_consent_retl.destinations.http.retry import Retries
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
    from airflow_consent_retl.destinations.data_manager.accounts import GoogleTarget
    from airflow_consent_retl.destinations.data_manager.api import AcceptedRequest, DataManagerApi
    from airflow_consent_retl.destinations.data_manager.options import DataManagerOptions

log = module_log(__name__)


class DataManagerDelivery:
    """The requests of one load; any number of threads may call.

    Args:
        api: closed with this.
        target: where to.
        options: see there.
    """

    def __init__(self, api: DataManagerApi, target: GoogleTarget, options: DataManagerOptions) -> None:
        self._api = api
        self._target = target
        self._items = options.items
        place = f"the Data Manager API for {target}"
        self._pieces = PieceDelivery(place, options.items, Retries(api.pace, options))
        self._lock = threading.Lock()
        self._warnings: Counter[str] = Counter()

    def deliver(
        self,
        members: Mapping[int, Any],
        pieces: list[list[int]],
        call: Callable[[DataManagerApi, GoogleTarget, list[Any]], AcceptedRequest],
        *,
        before_request: Callable[[], None],
    ) -> dict[int, Outcome]:
        """Send members, and return the outcome of each, as `PieceDelivery.deliver`; `call` makes the request."""

        def accepted(some: list[Any]) -> str:
            request = call(self._api, self._target, some)
            with self._lock:
                self._warnings += request.warnings
            return request.request_id

        return self._pieces.deliver(members, pieces, accepted, before_request=before_request)

    def confirm(self, request_id: str, rows: int) -> Outcomes | None:
        """Return the outcomes of a request's members; None while it is processed.

        Raises:
            DestinationUnavailableError: the API did not answer.
            DestinationError: the API refuses to answer.
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
                log.warning("the Data Manager API warned of %s (%s)", self._items, counted(self._warnings))
                self._warnings.clear()

    def _status(self, request_id: str) -> RequestStatus:
        status: RequestStatus = self._pieces.asked(lambda: self._api.status(request_id))
        return status
