"""Destinations that each break one rule of the contract, in a way that real ones have been seen to."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import ClassVar

import pyarrow as pa
from contract.guest_book import (
    TOKEN,
    GuestBook,
    GuestBookDestination,
    GuestBookStandIn,
    Row,
    rows_of,
)

from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError, LeaseLostError
from airflow_consent_retl.testing import StandIn


class Forgetful(GuestBookDestination):
    """Says that it sent."""

    def send(self, batch: Batch) -> Outcomes:
        return Outcomes.accepted(batch.rows.num_rows)


class Short(GuestBookDestination):
    """Has no outcome for the last row."""

    def send(self, batch: Batch) -> Outcomes:
        return Outcomes.accepted(super().send(batch).rows - 1)


class Optimist(GuestBookDestination):
    """Takes a batch for accepted as soon as it was answered, or not even that."""

    def request(self, action: str, key: str, rows: Sequence[Row]) -> Outcomes:
        with suppress(DestinationUnavailableError):
            super().request(action, key, rows)
        return Outcomes.accepted(len(rows))

    def remove(self, batch: Batch) -> Outcomes:
        return self.request("leave", batch.key, rows_of(batch.rows))


class Guessing(GuestBookDestination):
    """Knows two ways to take a person back, and takes one that was not chosen."""

    withdrawal_choices: ClassVar[Mapping[str, str]] = {
        "delete": "the line is torn out",
        "strike": "the name is struck",
    }


class Cleaner(GuestBookDestination):
    """Begins with an empty book, though it does not say that it replaces."""

    def open(self, load: Load) -> None:
        super().open(load)
        self.book.guests.clear()


class Inserter(GuestBookDestination):
    """Leaves out those who are there already."""

    def send(self, batch: Batch) -> Outcomes:
        new = [row for row in rows_of(batch.rows) if row["id"] not in self.book.guests]
        self.request("enter", batch.key, new)
        return Outcomes.accepted(batch.rows.num_rows)


class Keyless(GuestBookDestination):
    """Makes a new key for each request."""

    numbers: ClassVar = itertools.count()

    def request(self, action: str, key: str, rows: Sequence[Row]) -> Outcomes:
        return super().request(action, f"{key}-{next(self.numbers)}", rows)


class Chatty(GuestBookDestination):
    """Asks for nobody, too."""

    def request(self, action: str, key: str, rows: Sequence[Row]) -> Outcomes:
        if not rows and self.load is not None:
            self.load.before_request()
        return super().request(action, key, rows)


class Trimmer(GuestBookDestination):
    """Tidies text up."""

    def send(self, batch: Batch) -> Outcomes:
        rows = [{**row, "text": str(row["text"]).strip()} for row in rows_of(batch.rows)]
        return self.request("enter", batch.key, rows)


class Collective(GuestBookDestination):
    """Rejects everybody because of one row's text."""

    def send(self, batch: Batch) -> Outcomes:
        if any("\ufffd" in str(row["text"]) for row in rows_of(batch.rows)):
            return Outcomes.rejected(batch.rows.num_rows, "not_utf8")
        return super().send(batch)


class Cutter(GuestBookDestination):
    """Cuts what is too long."""

    def send(self, batch: Batch) -> Outcomes:
        rows = [{**row, "text": str(row["text"])[:10_000]} for row in rows_of(batch.rows)]
        return self.request("enter", batch.key, rows)


class Narrow(GuestBookDestination):
    """Takes one row less than it says."""

    def request(self, action: str, key: str, rows: Sequence[Row]) -> Outcomes:
        most = (self.limits.batch_rows if action == "enter" else self.limits.removal_rows or 0) - 1
        taken = super().request(action, key, rows[:most])
        return Outcomes.concatenated([taken, Outcomes.rejected(len(rows[most:]), "too_many_rows")])


class Entangled(GuestBookDestination):
    """Keeps a batch where other threads write theirs."""

    def __init__(self, book: GuestBook, *, token: str) -> None:
        super().__init__(book, token=token)
        self._meeting = threading.Barrier(2)
        self._rows: Sequence[Row] = ()

    @property
    def limits(self) -> Limits:
        return Limits(batch_rows=100, concurrency=2)

    def request(self, action: str, key: str, rows: Sequence[Row]) -> Outcomes:
        if threading.current_thread() is threading.main_thread():
            return super().request(action, key, rows)
        self._rows = rows
        self._meeting.wait(10)
        mixed_up = self._rows
        self._meeting.wait(10)
        return super().request(action, key, mixed_up)


class Rounder(GuestBookDestination):
    """Lets numbers pass through floats."""

    def send(self, batch: Batch) -> Outcomes:
        rows = [{**row, "value": row["value"] and float(str(row["value"]))} for row in rows_of(batch.rows)]
        return self.request("enter", batch.key, rows)


class Sweeping(GuestBookDestination):
    """Removes everybody."""

    def remove(self, batch: Batch) -> Outcomes:
        self.book.guests.clear()
        return super().remove(batch)


class Caseless(GuestBookDestination):
    """Takes some people for others."""

    def remove(self, batch: Batch) -> Outcomes:
        leaving = {str(row["id"]).casefold() for row in rows_of(batch.rows)}
        self.request("leave", batch.key, [{"id": guest} for guest in self.book.guests if guest.casefold() in leaving])
        return Outcomes.accepted(batch.rows.num_rows)


class Pedant(GuestBookDestination):
    """Takes it for a failure that somebody is not there."""

    def remove(self, batch: Batch) -> Outcomes:
        unknown = [row["id"] not in self.book.guests for row in rows_of(batch.rows)]
        super().remove(batch)
        missing = Outcome(RowStatus.REJECTED, "not_found")
        return Outcomes(len(unknown), exceptions={row: missing for row, is_unknown in enumerate(unknown) if is_unknown})


class Resentful(GuestBookDestination):
    """Lets nobody in again."""

    def remove(self, batch: Batch) -> Outcomes:
        self.book.unwelcome |= {str(row["id"]) for row in rows_of(batch.rows)}
        return super().remove(batch)


class Bleaching(GuestBookDestination):
    """Erases the words of everybody."""

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        everyone = [{"id": guest, **dict.fromkeys(fields, "")} for guest in self.book.guests]
        self.request("erase", batch.key, everyone)
        return Outcomes.accepted(batch.rows.num_rows)


class Grudging(GuestBookDestination):
    """Writes nothing again that it has erased."""

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        self.book.unwelcome |= {str(row["id"]) for row in rows_of(batch.rows)}
        return super().clear(batch, fields)


class SingleMinded(GuestBookDestination):
    """Sends nothing once it has removed somebody."""

    removed = False

    def remove(self, batch: Batch) -> Outcomes:
        self.removed = True
        return super().remove(batch)

    def send(self, batch: Batch) -> Outcomes:
        return Outcomes.accepted(batch.rows.num_rows) if self.removed else super().send(batch)


class Numbering(GuestBookDestination):
    """Keeps something for a removal that does not follow from the row."""

    def removal_schema(self, load: Load) -> pa.Schema:
        return super().removal_schema(load).append(pa.field("number", pa.int64()))

    def removal_rows(self, rows: pa.RecordBatch, load: Load) -> pa.RecordBatch:
        numbers = pa.array(range(rows.num_rows), pa.int64())
        return pa.RecordBatch.from_arrays([rows.column("id"), numbers], schema=self.removal_schema(load))


class Pretender(GuestBookDestination):
    """Cannot remove, and says that it did."""

    can_remove = False

    def remove(self, batch: Batch) -> Outcomes:
        return Outcomes.accepted(batch.rows.num_rows)


class Gloomy(GuestBookDestination):
    """Takes a closed book for the end."""

    def request(self, action: str, key: str, rows: Sequence[Row]) -> Outcomes:
        try:
            return super().request(action, key, rows)
        except DestinationUnavailableError:
            raise DestinationError("it is closed") from None


class Hasty(GuestBookDestination):
    """Says that nothing was applied where nobody knows."""

    def request(self, action: str, key: str, rows: Sequence[Row]) -> Outcomes:
        outcomes = super().request(action, key, rows)
        if outcomes.common.status is RowStatus.UNCERTAIN:
            raise DestinationUnavailableError("no answer")
        return outcomes


class Blaming(GuestBookDestination):
    """Takes a wrong token for the rows' fault."""

    def request(self, action: str, key: str, rows: Sequence[Row]) -> Outcomes:
        try:
            return super().request(action, key, rows)
        except DestinationError:
            return Outcomes.rejected(len(rows), "no_permission")


class Talkative(GuestBookDestination):
    """Quotes rows in its errors and codes."""

    def request(self, action: str, key: str, rows: Sequence[Row]) -> Outcomes:
        try:
            return super().request(action, key, rows)
        except DestinationUnavailableError:
            raise DestinationUnavailableError(f"could not send {rows}") from None

    def read(self, answer: object, rows: Sequence[Row]) -> Outcomes:
        read = super().read(answer, rows)
        quoted = {row: Outcome(RowStatus.REJECTED, str(rows[row]["id"])) for row in read.exceptions}
        return Outcomes(read.rows, exceptions=quoted)


class Betraying(GuestBookDestination):
    """Tells where it sends to, with the password."""

    @property
    def target(self) -> str:
        return f"the guest book of {self.token}"


class Stubborn(GuestBookDestination):
    """Tries again without asking whether it still may."""

    def request(self, action: str, key: str, rows: Sequence[Row]) -> Outcomes:
        try:
            return super().request(action, key, rows)
        except DestinationUnavailableError:
            with suppress(ConnectionRefusedError):
                self.book.post(key, action, rows, token=self.token)
            raise


class Rash(GuestBookDestination):
    """Never asks."""

    def open(self, load: Load) -> None:
        super().open(load)
        self.load = Load(
            key=load.key,
            destination=load.destination,
            model=load.model,
            schema=load.schema,
            key_field=load.key_field,
            rows=load.rows,
            decided_at=load.decided_at,
        )


class Once(Rash):
    """Asks before the first batch only."""

    def open(self, load: Load) -> None:
        super().open(load)
        self._ask = iter([load.before_request])

    def request(self, action: str, key: str, rows: Sequence[Row]) -> Outcomes:
        for ask in self._ask:
            ask()
        return super().request(action, key, rows)


class Late(Rash):
    """Asks when it has sent."""

    def open(self, load: Load) -> None:
        super().open(load)
        self._ask = load.before_request

    def request(self, action: str, key: str, rows: Sequence[Row]) -> Outcomes:
        outcomes = super().request(action, key, rows)
        self._ask()
        return outcomes


class Deaf(GuestBookDestination):
    """Goes on when it is told to stop."""

    def request(self, action: str, key: str, rows: Sequence[Row]) -> Outcomes:
        try:
            return super().request(action, key, rows)
        except LeaseLostError:
            return Outcomes.uncertain(len(rows), "lease_lost")


class Wavering(GuestBookDestination):
    """Has other limits each time."""

    numbers: ClassVar = itertools.count(50)

    @property
    def limits(self) -> Limits:
        return Limits(batch_rows=next(self.numbers))


class Trusting(GuestBookDestination):
    """Takes any fields."""

    def open(self, load: Load) -> None:
        self.load = load


class Vengeful(GuestBookDestination):
    """Takes everything with it when it is given up."""

    def abort(self) -> None:
        self.book.guests.clear()


class Possessive(GuestBookDestination):
    """Never lets go of the book when it is given up."""

    taken: ClassVar[set[int]] = set()

    def open(self, load: Load) -> None:
        super().open(load)
        if id(self.book) in self.taken:
            raise DestinationUnavailableError("another load is under way")
        self.taken.add(id(self.book))

    def commit(self) -> None:
        self.taken.discard(id(self.book))


class Eager(GuestBookDestination):
    """Says that it publishes at the end, and does not wait for it."""

    replaces = True


class Forward(GuestBookDestination):
    """Tries out with a guest of its own whether the book can be written."""

    def check(self, load: Load) -> None:
        super().check(load)
        self.book.post("check", "enter", [{"id": "check", "text": ""}], token=self.token)


class Idle(GuestBookStandIn):
    """A stand-in that forgets a circumstance, explains another poorly, and makes one up."""

    impossible: ClassVar[Mapping[str, str]] = {"repeated_id": "no", "rainy_day": "it never rains in here"}
    requests = StandIn.requests


class Thrifty(GuestBookStandIn):
    """A stand-in that makes one destination for everything."""

    def __init__(self, kind: type[GuestBookDestination] = GuestBookDestination) -> None:
        super().__init__(kind)
        self._only = kind(self.book, token=TOKEN)

    def destination(self) -> Destination:
        return self._only


class Unsparing(GuestBookStandIn):
    """A stand-in that promises to keep those apart who come twice."""

    impossible: ClassVar[Mapping[str, str]] = {}
