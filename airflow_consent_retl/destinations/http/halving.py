"""The search for the rows because of which a vendor refuses a whole batch, or counts some rows as invalid: in halves.

It suits vendors that report no row, and to which the same row may be sent again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.http_delivery import NOT_SENT
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError

# Enough to find four rows in 10,000; after so many refusals without a success, the request itself is wrong.
MAX_REQUESTS = 64


class Halving:
    """The sending of one batch, whose rows are sent again in halves while their outcome may concern fewer rows.

    Args:
        send: sends a batch, as `Destination.send`.
        is_shared: whether rows may have this outcome only because they were in one request.
        name: the other side's name in messages.
    """

    def __init__(self, send: Callable[[Batch], Outcomes], *, is_shared: Callable[[Outcome], bool], name: str) -> None:
        self._send = send
        self._is_shared = is_shared
        self._name = name
        self._batches = 0
        self._applied = False

    def send(self, batch: Batch) -> Outcomes:
        """Return the outcome of each row.

        Raises:
            DestinationError: all of many pieces were refused: another part of the request is wrong.
            DestinationUnavailableError: nothing was applied, and later tries may succeed.
        """
        self._batches += 1
        outcomes = self._send(batch)
        self._applied |= any(one.status is not RowStatus.REJECTED for one in outcomes.counts())
        if not any(self._is_shared(one) for one in outcomes.counts()):
            return outcomes
        shared = [row for row, one in enumerate(outcomes) if self._is_shared(one)]
        if len(shared) == 1:
            return outcomes
        if self._batches >= MAX_REQUESTS:
            if not self._applied:
                raise DestinationError(
                    f"the {self._name} refused {self._batches} batches in a row, with different rows "
                    f"({outcomes[shared[0]].code}): another part of the request is wrong"
                )
            return outcomes
        found = self._halves(batch, shared)
        others = {row: one for row, one in enumerate(outcomes) if not self._is_shared(one)}
        whole = found.at_rows(shared, len(outcomes), others=others)
        return replace(whole, requests=(*outcomes.requests, *whole.requests))

    def _halves(self, batch: Batch, rows: Sequence[int]) -> Outcomes:
        middle = len(rows) // 2
        first = self.send(_part(batch, rows[:middle]))
        try:
            second = self.send(_part(batch, rows[middle:]))
        except (DestinationError, DestinationUnavailableError):
            # INVARIANT: `send` raises only for a batch of which certainly nothing was applied.
            if not self._applied:
                raise
            second = Outcomes.uncertain(len(rows) - middle, NOT_SENT)
        return Outcomes.concatenated([first, second])


def _part(batch: Batch, rows: Sequence[int]) -> Batch:
    key = sha256(f"{batch.key}:{rows[0]}:{len(rows)}:{rows[-1]}".encode()).hexdigest()
    return Batch(key=key, rows=batch.rows.take(list(rows)))
