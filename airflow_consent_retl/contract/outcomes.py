"""The outcome of each row of a batch: a status and a code, never the row's values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

# A vendor's code is a short word such as `invalid_email` or `http_422`. Longer or free text may quote the row.
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,47}|[0-9]{1,5}")
UNNAMED_CODE = "unnamed"
# The id of a request is one token, such as a UUID, hexadecimal digits or Base64. An e-mail or a name is none.
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=~\-]{0,127}")
# Codes of `uncertain` rows. The whole answer was read, so the request cannot take effect later.
UNREADABLE_ANSWER = "unreadable_answer"
NOT_IN_ANSWER = "not_in_answer"
# The code of a `rejected` row whose values were stored, while a subscription's state beside them was refused.
STATE_REFUSED = "state_refused"
# The code of a `rejected` row of a person whom the destination has forgotten, and refuses for ever.
FORGOTTEN = "forgotten"
_ANSWERED = frozenset({UNREADABLE_ANSWER, NOT_IN_ANSWER})


class RowStatus(StrEnum):
    """The status of one row.

    `accepted` and `rejected`: the destination's own answer; a rejected row is not there, unless `STATE_REFUSED` says
    that a part of it is. `uncertain`: the row may or may not have been applied. It
    may also be applied later, unless the code is `UNREADABLE_ANSWER` or `NOT_IN_ANSWER`: use these two only if the
    whole answer to the only request with the row was read.
    `pending`: the destination took the row and processes it later; the outcome's code is the request id to ask with.
    `withheld` was not sent because the person's permission ended; only the protocol uses it. `unsent` was not sent or
    certainly not applied, and the next try sends it; a destination uses it only in `confirm`.
    """

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNCERTAIN = "uncertain"
    PENDING = "pending"
    WITHHELD = "withheld"
    UNSENT = "unsent"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row's outcome; `code` says why for all but accepted rows.

    `field`: of a rejected row, the load's field that the destination objects to; empty: not known. The protocol drops
    a name that the load does not have.
    """

    status: RowStatus
    code: str = ""
    field: str = ""

    @property
    def may_come_late(self) -> bool:
        """True if the request may still take effect after its attempt ended."""
        is_unclear = self.status in {RowStatus.UNCERTAIN, RowStatus.PENDING}
        return is_unclear and not (self.status is RowStatus.UNCERTAIN and self.code in _ANSWERED)

    @property
    def is_partly_applied(self) -> bool:
        """True if a part of a rejected row is at the destination, so the person has to be removed later."""
        return self.status is RowStatus.REJECTED and self.code == STATE_REFUSED

    @property
    def is_for_good(self) -> bool:
        """True if a rejected row is refused for ever, so it is not sent again before it changes."""
        return self.status is RowStatus.REJECTED and self.code == FORGOTTEN


_ACCEPTED = Outcome(RowStatus.ACCEPTED)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """One outcome per row of a batch, in the batch's order.

    Most batches end the same way for every row, so the class stores the common outcome and the exceptions.

    Args:
        rows: the number of rows.
        common: the outcome of every row that is no exception.
        exceptions: by row.
        requests: the vendor's ids of the requests with these rows, where it names them: the first row of each, and the
            id. They are recorded as proof, if they look like ids and are no value of a row. The id of a pending row is
            its code.
    """

    rows: int
    common: Outcome = _ACCEPTED
    exceptions: Mapping[int, Outcome] = field(default_factory=dict)
    requests: tuple[tuple[int, str], ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.rows < 0 or any(not 0 <= row < self.rows for row in self.exceptions):
            raise ValueError("an outcome belongs to no row of the batch")
        if any(not 0 <= row < self.rows for row, _ in self.requests):
            raise ValueError("a request belongs to no row of the batch")

    @classmethod
    def accepted(cls, rows: int) -> Outcomes:
        """Return outcomes for an answer that every row was applied."""
        return cls(rows)

    @classmethod
    def rejected(cls, rows: int, code: str) -> Outcomes:
        """Return outcomes for an answer that no row was applied."""
        return cls(rows, Outcome(RowStatus.REJECTED, code))

    @classmethod
    def uncertain(cls, rows: int, code: str) -> Outcomes:
        """Return unknown outcomes: after a timeout, a reset, an answer that cannot be read."""
        return cls(rows, Outcome(RowStatus.UNCERTAIN, code))

    @classmethod
    def pending(cls, rows: int, request_id: str) -> Outcomes:
        """Return outcomes for rows that the destination took and reports on later, under this id."""
        return cls(rows, Outcome(RowStatus.PENDING, request_id))

    @classmethod
    def of(cls, rows: Iterable[Outcome]) -> Outcomes:
        """Return these outcomes, one for each row."""
        every = list(rows)
        if len(set(map(id, every))) == 1:
            # Most batches end alike: no row is looked at.
            return cls(len(every), every[0])
        common = Counter(every).most_common(1)[0][0] if every else _ACCEPTED
        return cls(len(every), common, {row: one for row, one in enumerate(every) if one != common})

    @classmethod
    def concatenated(cls, pieces: Iterable[Outcomes]) -> Outcomes:
        """Return the outcomes of a batch that was sent in pieces, in order."""
        pieces = list(pieces)
        counts: Counter[Outcome] = Counter()
        for piece in pieces:
            counts.update(piece.counts())
        if not counts:
            return cls(0)
        common = counts.most_common(1)[0][0]
        exceptions: dict[int, Outcome] = {}
        requests: list[tuple[int, str]] = []
        start = 0
        for piece in pieces:
            requests += ((start + row, request_id) for row, request_id in piece.requests)
            others = piece.exceptions.items() if piece.common == common else enumerate(piece)
            exceptions.update((start + row, outcome) for row, outcome in others if outcome != common)
            start += piece.rows
        return cls(start, common, exceptions, tuple(requests))

    def at_rows(self, places: Sequence[int], rows: int, *, others: Mapping[int, Outcome]) -> Outcomes:
        """Return outcomes for a larger batch, of which these rows were sent.

        Args:
            places: where these rows are in it, ascending.
            rows: the number of all rows.
            others: the outcomes of the rows that were not sent.
        """
        exceptions = {**others, **{places[row]: outcome for row, outcome in self.exceptions.items()}}
        return Outcomes(
            rows, self.common, exceptions, tuple((places[row], request_id) for row, request_id in self.requests)
        )

    def request_ids(self) -> list[tuple[int, str]]:
        """Return the first row and the id of each request of the vendor, also of those that are still pending."""
        found = list(self.requests)
        before = ""
        for row, outcome, _ in self.pieces():
            code = outcome.code if outcome.status is RowStatus.PENDING else ""
            if code and code != before:
                found.append((row, code))
            before = code
        return sorted(set(found))

    def pieces(self) -> Iterator[tuple[int, Outcome, int]]:
        """Yield the first row, the outcome and the number of rows of each piece, without a look at every row."""
        start = 0
        for row in sorted(self.exceptions):
            if row > start:
                yield start, self.common, row - start
            yield row, self.exceptions[row], 1
            start = row + 1
        if self.rows > start:
            yield start, self.common, self.rows - start

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Outcome]:
        return (self[row] for row in range(self.rows))

    def __getitem__(self, row: int) -> Outcome:
        if not 0 <= row < self.rows:
            raise IndexError(row)
        return self.exceptions.get(row, self.common)

    def counts(self) -> Counter[Outcome]:
        """Return the number of rows with each outcome."""
        counts = Counter(self.exceptions.values())
        counts[self.common] += self.rows - len(self.exceptions)
        return +counts


def is_request_id(text: str) -> bool:
    """Return whether a text looks like the id of a request: one token of at most 128 characters, and no e-mail."""
    return _REQUEST_ID.fullmatch(text) is not None


def vendor_code(text: object, *, row_values: Iterable[object] = ()) -> str:
    """Return a vendor's error code if it is safe to log, else `unnamed`.

    Args:
        text: the vendor's code.
        row_values: the row's own values: a code that repeats one of them is not safe.
    """
    if isinstance(text, bool) or not isinstance(text, str | int):
        return UNNAMED_CODE
    code = str(text)
    if not _CODE.fullmatch(code) or any(_quotes(code, value) for value in row_values):
        return UNNAMED_CODE
    return code


def _quotes(code: str, value: object) -> bool:
    text = str(value).casefold()
    return len(text) >= 3 and (text in code.casefold() or code.casefold() in text)
