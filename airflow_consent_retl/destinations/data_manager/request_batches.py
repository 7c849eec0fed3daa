"""Batches of members or events: their sending, retries, halving after refusals, and confirmation.

Both are called members here. The API refuses a whole request when one member is malformed. Where it names such members,
they are rejected and the others sent; where it does not, the request is sent in halves until the refused members are
alone. Nothing of a refused request was applied:
https://developers.google.com/data-manager/api/devguides/concepts/understand-errors, read 2026-11-23.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.data_manager.faults import (
    RefusedMembersError,
    RefusedRequestError,
)
from airflow_consent_retl.destinations.data_manager.request_states import RequestState, RequestStatus
from airflow_consent_retl.destinations.http.attempt import AttemptError, RequestDoubt
from airflow_consent_retl.destinations.http.retry import Retries
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.data_manager.accounts import GoogleTarget
    from airflow_consent_retl.destinations.data_manager.api import AcceptedRequest, DataManagerApi
    from airflow_consent_retl.destinations.data_manager.options import DataManagerOptions

log = module_log(__name__)

NOT_SENT = "not_sent"

# Enough to find four unnamed malformed members in 10,000; after so many refusals the request itself is wrong.
_REFUSALS_PER_BATCH = 64


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
        self._retries = Retries(api.pace, options)
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
        """Send members, and return the outcome of each; its field is a kind of field, such as `email`.

        Args:
            members: raw messages by their rows.
            pieces: the rows of all members, in the pieces that are sent together.
            call: makes the request.
            before_request: see `Load`.

        Raises:
            DestinationError: no request can succeed, and none did.
            DestinationUnavailableError: nothing was applied, and later tries may succeed.
        """
        batch = _Members(pieces=pieces)
        while batch.pieces:
            piece = batch.pieces.pop()
            doubt = RequestDoubt()
            try:
                request = partial(call, self._api, self._target, [members[row] for row in piece])
                accepted = self._retries.run(request, doubt=doubt, before_request=before_request)
            except AttemptError as failure:
                if not doubt.code and not batch.touched:
                    self._unavailable(failure)
                batch.end(piece, Outcome(RowStatus.UNCERTAIN, doubt.code or NOT_SENT))
                # Waiting as long for each of the other members would not change the answer.
                batch.end_all(Outcome(RowStatus.UNCERTAIN, NOT_SENT))
            except RefusedRequestError as failure:
                if not doubt.code and not batch.touched:
                    self._refused(failure)
                batch.end(piece, Outcome(RowStatus.UNCERTAIN, doubt.code or failure.code))
                batch.end_all(Outcome(RowStatus.UNCERTAIN, NOT_SENT))
            except RefusedMembersError as failure:
                if doubt.code:
                    # The API may have accepted an earlier try whose answer was lost.
                    batch.end(piece, Outcome(RowStatus.UNCERTAIN, doubt.code))
                else:
                    self._cut(batch, piece, failure)
            else:
                batch.end(piece, Outcome(RowStatus.PENDING, accepted.request_id))
                self._warn(accepted)
        return batch.outcomes

    def confirm(self, request_id: str, rows: int) -> Outcomes | None:
        """Return the outcomes of a request's members; None while it is processed.

        Raises:
            DestinationUnavailableError: the API did not answer.
            DestinationError: the API refuses to answer.
        """
        status = self._status(request_id)
        if status.state is RequestState.PARTIAL:
            log.warning(
                "request %s: %s of %s %s failed (%s), and the API does not name them: all are uncertain",
                request_id,
                f"{status.errors.total():,}",
                f"{status.members or rows:,}",
                self._items,
                _listed(status.errors),
            )
        elif status.state is RequestState.FAILED:
            log.warning(
                "request %s: all %s %s failed (%s)", request_id, f"{rows:,}", self._items, _listed(status.errors)
            )
        if status.warnings:
            log.warning("request %s: processed with warnings (%s)", request_id, _listed(status.warnings))
        if status.members not in {0, rows}:
            log.warning("request %s had %s %s, its status is of %s", request_id, rows, self._items, status.members)
        return status.outcomes(rows)

    def is_processed(self, request_id: str) -> bool:
        """Return whether a request is processed; raises as `confirm`."""
        return self._status(request_id).state is not RequestState.PROCESSING

    def _status(self, request_id: str) -> RequestStatus:
        try:
            return self._retries.run(lambda: self._api.status(request_id), doubt=RequestDoubt())
        except AttemptError as failure:
            self._unavailable(failure)
        except RefusedRequestError as failure:
            self._refused(failure)

    def close(self, *, give_up: bool) -> None:
        """Close the connection; with `give_up`, end waits and running calls as well."""
        if give_up:
            self._retries.give_up()
        self._api.close()
        with self._lock:
            if self._warnings:
                log.warning("the Data Manager API warned of %s (%s)", self._items, _listed(self._warnings))
                self._warnings.clear()

    def _cut(self, batch: _Members, piece: list[int], failure: RefusedMembersError) -> None:
        batch.refusals += 1
        named = {piece[place]: of_member for place, of_member in failure.members.items() if place < len(piece)}
        for row, (code, kind) in named.items():
            batch.end([row], Outcome(RowStatus.REJECTED, code, kind))
        rest = [row for row in piece if row not in named]
        if not rest:
            return
        if not named and len(rest) == 1:
            batch.end(rest, Outcome(RowStatus.REJECTED, failure.code))
        elif batch.refusals >= _REFUSALS_PER_BATCH:
            if not batch.touched and not any(row in named for row in piece):
                raise DestinationError(
                    f"{self._place} refused {batch.refusals} requests in a row with {failure.code}, with different "
                    f"{self._items}: another part of the request is wrong"
                )
            batch.end(rest, Outcome(RowStatus.REJECTED, failure.code))
        elif named:
            batch.pieces.append(rest)
        else:
            middle = len(rest) // 2
            # The last piece is sent first.
            batch.pieces += [rest[middle:], rest[:middle]]

    def _warn(self, accepted: AcceptedRequest) -> None:
        with self._lock:
            self._warnings += accepted.warnings

    def _unavailable(self, failure: AttemptError) -> NoReturn:
        raise DestinationUnavailableError(
            f"{self._place} does not answer: {failure.words}", retry_after_s=failure.retry_after_s
        ) from None

    def _refused(self, failure: RefusedRequestError) -> NoReturn:
        where = f" at `{failure.where}`" if failure.where else ""
        raise DestinationError(f"{self._place} refuses every request: {failure.code}{where}") from None

    @property
    def _place(self) -> str:
        return f"the Data Manager API for {self._target}"


@dataclass(slots=True)
class _Members:
    """The pieces of a batch that are still to send, and the outcomes of its other members."""

    pieces: list[list[int]]
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    refusals: int = 0

    @property
    def touched(self) -> bool:
        """Whether anything of the batch may have been applied."""
        return any(outcome.status is not RowStatus.REJECTED for outcome in self.outcomes.values())

    def end(self, rows: list[int], outcome: Outcome) -> None:
        self.outcomes.update(dict.fromkeys(rows, outcome))

    def end_all(self, outcome: Outcome) -> None:
        for piece in self.pieces:
            self.end(piece, outcome)
        self.pieces.clear()


def _listed(codes: Counter[str]) -> str:
    return ", ".join(f"{code} {count:,}" for code, count in codes.most_common()) or "no reason given"
