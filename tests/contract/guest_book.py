"""A destination as a user would write one, for a service in memory that can fail: the contract's own example."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import pyarrow as pa

from airflow_consent_retl.contract import (
    Batch,
    ConfigurationError,
    Destination,
    DestinationError,
    DestinationUnavailableError,
    Limits,
    Load,
    Outcome,
    Outcomes,
    RowStatus,
    vendor_code,
)
from airflow_consent_retl.testing import Person, StandIn

TOKEN = "token-1d52"
Row = Mapping[str, object]


class GuestBook:
    """The service: keeps guests, honours keys, refuses whom it is told to, and fails in the way that `fault` names."""

    def __init__(self) -> None:
        self.guests: dict[str, list[Row]] = {}
        self.asked = 0
        self.fault = ""
        self.unwelcome: frozenset[str] = frozenset()
        self.staying: frozenset[str] = frozenset()
        self.hiding: frozenset[str] = frozenset()
        self._answered: dict[str, list[str]] = {}

    def post(self, key: str, action: str, rows: Sequence[Row], *, token: str, limit: int = 100) -> object:
        """Apply a request once, and return a list with `ok` or a reason for each row."""
        self.asked += 1
        if token != TOKEN or self.fault == "refused":
            raise PermissionError(f"no such token: {token}")
        if self.fault == "unavailable":
            raise ConnectionRefusedError
        if len(rows) > limit:
            raise ValueError("too many rows")
        if key not in self._answered:
            self._answered[key] = [self._applied(action, row) for row in rows]
        if self.fault == "applied_then_timeout":
            raise TimeoutError(f"no answer for {rows}")
        return "<html>" if self.fault == "unreadable_answer" else self._answered[key]

    def _applied(self, action: str, row: Row) -> str:
        guest = str(row["id"])
        if action == "enter" and guest not in self.unwelcome:
            # Whoever comes twice under two keys with the same words is written down twice.
            earlier = [one for one in self.guests.get(guest, []) if one == row]
            self.guests[guest] = [*earlier, row]
            return "ok"
        if action == "erase":
            erased = {name: value for name, value in row.items() if name != "id"}
            self.guests |= {guest: [{**one, **erased} for one in self.guests[guest]]} if guest in self.guests else {}
            return "ok"
        if action == "leave" and guest not in self.staying:
            if guest not in self.hiding:
                self.guests.pop(guest, None)
            return "ok"
        return "unwelcome" if action == "enter" else "staying"


class GuestBookDestination(Destination):
    """Writes rows into a guest book, and people out of it."""

    can_remove: ClassVar[bool] = True
    can_clear: ClassVar[bool] = True

    def __init__(self, book: GuestBook, *, token: str) -> None:
        self.book = book
        self.token = token
        self.load: Load | None = None

    @property
    def limits(self) -> Limits:
        return Limits(batch_rows=100, removal_rows=50)

    @property
    def target(self) -> str:
        return "the guest book"

    def open(self, load: Load) -> None:
        if load.key_field != "id":
            raise ConfigurationError("guests are known by their `id`")
        unfit = [name for name in load.schema.names if pa.types.is_interval(load.schema.field(name).type)]
        if unfit:
            raise ConfigurationError(f"no guest has {', '.join(unfit)}")
        self.load = load

    def check(self, load: Load) -> None:
        self.open(load)
        self.load = None

    def send(self, batch: Batch) -> Outcomes:
        return self.request("enter", batch.key, rows_of(batch.rows))

    def remove(self, batch: Batch) -> Outcomes:
        rows = rows_of(batch.rows)
        outcomes = self.request("leave", batch.key, rows)
        # The book can be read, so its word is not all that counts.
        left = {
            place: Outcome(RowStatus.REJECTED, "not_removed")
            for place, (row, outcome) in enumerate(zip(rows, outcomes, strict=False))
            if outcome.status is RowStatus.ACCEPTED and row["id"] in self.book.guests
        }
        return Outcomes(outcomes.rows, outcomes.common, {**outcomes.exceptions, **left})

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        return self.request("erase", batch.key, [row | dict.fromkeys(fields, "") for row in rows_of(batch.rows)])

    def request(self, action: str, key: str, rows: Sequence[Row]) -> Outcomes:
        if not rows:
            return Outcomes.accepted(0)
        if self.load is None:
            raise DestinationError("the guest book was not opened")
        self.load.before_request()
        try:
            answer = self.book.post(key, action, rows, token=self.token)
        except PermissionError:
            raise DestinationError("the guest book knows no such token") from None
        except ConnectionRefusedError:
            raise DestinationUnavailableError("the guest book is closed") from None
        except TimeoutError:
            return Outcomes.uncertain(len(rows), "timeout")
        return self.read(answer, rows)

    def read(self, answer: object, rows: Sequence[Row]) -> Outcomes:
        if not isinstance(answer, list) or len(answer) != len(rows):
            return Outcomes.uncertain(len(rows), "unreadable_answer")
        rejected = {
            row: Outcome(RowStatus.REJECTED, vendor_code(said)) for row, said in enumerate(answer) if said != "ok"
        }
        return Outcomes(len(rows), exceptions=rejected)


def rows_of(batch: pa.RecordBatch) -> list[dict[str, object]]:
    """Return rows as the book takes them; what is not UTF-8 in a text is replaced."""
    columns = [column.cast(pa.binary()) if pa.types.is_string(column.type) else column for column in batch.columns]
    rows: list[dict[str, object]] = pa.RecordBatch.from_arrays(columns, batch.schema.names).to_pylist()
    return [
        {name: value.decode(errors="replace") if isinstance(value, bytes) else value for name, value in row.items()}
        for row in rows
    ]


class GuestBookStandIn(StandIn):
    """The service in memory, which is real enough: it keeps what it is sent, and honours keys."""

    impossible: ClassVar[Mapping[str, str]] = {
        "repeated_id": "the book writes down whoever comes, as often as they come with other words",
    }

    def __init__(self, kind: type[GuestBookDestination] = GuestBookDestination) -> None:
        self.book = GuestBook()
        self._kind = kind

    def destination(self) -> Destination:
        return self._kind(self.book, token=TOKEN)

    def stored(self) -> Sequence[Person]:
        return [Person(guest, str(row["text"])) for guest, rows in self.book.guests.items() for row in rows]

    def takes(self, kind: pa.DataType) -> bool:
        return not pa.types.is_interval(kind)

    def stored_values(self) -> Mapping[str, object]:
        return {guest: rows[-1]["value"] for guest, rows in self.book.guests.items()}

    def secrets(self) -> Sequence[str]:
        return [TOKEN]

    def requests(self) -> int:
        return self.book.asked

    def applied_then_timeout(self) -> None:
        self.book.fault = "applied_then_timeout"

    def unreadable_answer(self) -> None:
        self.book.fault = "unreadable_answer"

    def unavailable(self) -> None:
        self.book.fault = "unavailable"

    def refused(self) -> None:
        self.book.fault = "refused"

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        self.book.unwelcome = frozenset(refused)
        return self.rows(people)

    def partial_removal(self, held: Collection[str]) -> None:
        self.book.staying = frozenset(held)

    def swallowed_removal(self, held: Collection[str]) -> None:
        self.book.hiding = frozenset(held)

    def recover(self) -> None:
        self.book.fault = ""
