"""Batches of messages to vendors that refuse a whole request because of some rows: their sending, retries and cutting.

Where a refusal names such rows, they are rejected and the others sent; where it does not, the request is sent in halves
until the refused rows are alone. It suits vendors that apply nothing of a refused request, and process the others
later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_consent_retl.contract.outcomes import Outcome, RowStatus
from airflow_consent_retl.destinations.http.attempt import AttemptError, RequestDoubt
from airflow_consent_retl.destinations.http.http_delivery import NOT_SENT
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.retry import Retries

# Enough to find four unnamed malformed rows in 10,000; after so many refusals the request itself is wrong.
MAX_REFUSALS = 64


class RefusedRowsError(Exception):
    """A request was refused because of some of its rows.

    `rows`: the named ones by their place in the request, each with its code and the kind of its field, such as `email`;
    empty: not known.
    """

    def __init__(self, code: str, rows: Mapping[int, tuple[str, str]]) -> None:
        super().__init__(code)
        self.code = code
        self.rows = rows


class RefusedRequestError(Exception):
    """A call was refused as a whole, and would be again; `where` names the field, if one was."""

    def __init__(self, code: str, where: str = "") -> None:
        super().__init__(f"{code} in {where}" if where else code)
        self.code = code
        self.where = where


class PieceDelivery:
    """The requests of one load; any number of threads may call.

    Args:
        place: the other side and the target, for messages.
        items: what a row is there, such as `members`.
        retries: of all requests.
    """

    def __init__(self, place: str, items: str, retries: Retries) -> None:
        self._place = place
        self._items = items
        self._retries = retries

    def deliver(
        self,
        messages: Mapping[int, Any],
        pieces: list[list[int]],
        call: Callable[[list[Any]], str],
        *,
        before_request: Callable[[], None],
    ) -> dict[int, Outcome]:
        """Send messages, and return the outcome of each; its field is a kind of field, such as `email`.

        Args:
            messages: by their rows.
            pieces: the rows of all messages, in the pieces that are sent together.
            call: makes the request, and returns its id. It raises `AttemptError`, `RefusedRowsError` or
                `RefusedRequestError`.
            before_request: see `Load`.

        Raises:
            DestinationError: no request can succeed, and none did.
            DestinationUnavailableError: nothing was applied, and later tries may succeed.
        """
        batch = _Pieces(pieces)
        while batch.pieces:
            piece = batch.pieces.pop()
            doubt = RequestDoubt()
            sent = [messages[row] for row in piece]
            try:
                request_id = self._retries.run(lambda: call(sent), doubt=doubt, before_request=before_request)  # noqa: B023
            except AttemptError as failure:
                if not doubt.code and not batch.touched:
                    self._unavailable(failure)
                batch.end(piece, Outcome(RowStatus.UNCERTAIN, doubt.code or NOT_SENT))
                # Waiting as long for each of the other rows would not change the answer.
                batch.end_all(Outcome(RowStatus.UNCERTAIN, NOT_SENT))
            except RefusedRequestError as failure:
                if not doubt.code and not batch.touched:
                    self._refused(failure)
                batch.end(piece, Outcome(RowStatus.UNCERTAIN, doubt.code or failure.code))
                batch.end_all(Outcome(RowStatus.UNCERTAIN, NOT_SENT))
            except RefusedRowsError as failure:
                if doubt.code:
                    # The other side may have accepted an earlier try whose answer was lost.
                    batch.end(piece, Outcome(RowStatus.UNCERTAIN, doubt.code))
                else:
                    self._cut(batch, piece, failure)
            else:
                batch.end(piece, Outcome(RowStatus.PENDING, request_id))
        return batch.outcomes

    def asked(self, question: Callable[[], Any]) -> Any:
        """Return the answer to a question that changes nothing.

        Raises:
            DestinationUnavailableError: there was none.
            DestinationError: it was refused.
        """
        try:
            return self._retries.run(question, doubt=RequestDoubt())
        except AttemptError as failure:
            self._unavailable(failure)
        except RefusedRequestError as failure:
            self._refused(failure)

    def give_up(self) -> None:
        """End waits and retries."""
        self._retries.give_up()

    def _cut(self, batch: _Pieces, piece: list[int], failure: RefusedRowsError) -> None:
        batch.refusals += 1
        named = {piece[place]: of_row for place, of_row in failure.rows.items() if place < len(piece)}
        for row, (code, kind) in named.items():
            batch.end([row], Outcome(RowStatus.REJECTED, code, kind))
        rest = [row for row in piece if row not in named]
        if not rest:
            return
        if not named and len(rest) == 1:
            batch.end(rest, Outcome(RowStatus.REJECTED, failure.code))
        elif batch.refusals >= MAX_REFUSALS:
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

    def _unavailable(self, failure: AttemptError) -> NoReturn:
        raise DestinationUnavailableError(
            f"{self._place} does not answer: {failure.words}", retry_after_s=failure.retry_after_s
        ) from None

    def _refused(self, failure: RefusedRequestError) -> NoReturn:
        where = f" at `{failure.where}`" if failure.where else ""
        raise DestinationError(f"{self._place} refuses every request: {failure.code}{where}") from None


@dataclass(slots=True)
class _Pieces:
    """The pieces of a batch that are still to send, and the outcomes of its other rows."""

    pieces: list[list[int]]
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    refusals: int = 0

    @property
    def touched(self) -> bool:
        """True if anything of the batch may have been applied."""
        return any(outcome.status is not RowStatus.REJECTED for outcome in self.outcomes.values())

    def end(self, rows: list[int], outcome: Outcome) -> None:
        self.outcomes.update(dict.fromkeys(rows, outcome))

    def end_all(self, outcome: Outcome) -> None:
        for piece in self.pieces:
            self.end(piece, outcome)
        self.pieces.clear()
