"""The stand-in for the other side of a destination: it reports what is stored, and fails on request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import ClassVar, NoReturn

import pyarrow as pa

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.testing.people import Person


class Circumstance(StrEnum):
    """What a check needs that not every destination can be put into.

    The first ones are brought about by the `StandIn`'s method of the same name; the last two need nothing but a
    destination that works this way.
    """

    APPLIED_THEN_TIMEOUT = "applied_then_timeout"
    UNREADABLE_ANSWER = "unreadable_answer"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    PARTIAL_FAILURE = "partial_failure"
    PARTIAL_REMOVAL = "partial_removal"
    REQUESTS = "requests"
    SECRETS = "secrets"
    OVERWRITING = "overwriting"
    """A person who is sent again with another value has the new one only."""
    REPEATED_ID = "repeated_id"
    """A person who occurs twice in one batch is there once."""


_WITHOUT_METHOD = {Circumstance.OVERWRITING, Circumstance.REPEATED_ID}


class StandIn(ABC):
    """The other side of a destination, fresh for each check: a local server, a database, a folder.

    It has to be real enough that the destination itself runs unchanged. A fault lasts until `recover`; it may come
    before a destination is opened. A method that is not overridden has to be declared in `impossible`.

    Attributes:
        impossible: circumstances that this destination cannot be in, each with the reason.
        key_field: the destination's name for the primary key; None where it takes none.
        text_field: the field of `rows` that a person's text is sent in.
    """

    impossible: ClassVar[Mapping[str, str]] = {}
    key_field: ClassVar[str | None] = "id"
    text_field: ClassVar[str] = "text"

    @abstractmethod
    def destination(self) -> Destination:
        """Return a new destination, not opened; all of them lead to the same other side."""

    @abstractmethod
    def stored(self) -> Sequence[Person]:
        """Return who is there now, seen past the destination: one entry for each copy, in any order."""

    def rows(self, people: Sequence[Person]) -> pa.Table:
        """Return people as the destination is sent them: one row each, in order."""
        return pa.table(
            {
                "id": pa.array([person.id for person in people], pa.string()),
                "text": pa.array([person.text for person in people], pa.string()),
            }
        )

    def takes(self, kind: pa.DataType) -> bool:
        """Return whether a field `value` of this type can be sent; where not, `open` has to refuse it."""
        return True

    def stored_values(self) -> Mapping[str, object]:
        """Return what is there of the field `value`, by id, in any form that tells different values apart."""
        self._not_here("stored_values")

    def unfit(self) -> pa.Schema:
        """Return fields that the destination has to refuse in `open`."""
        interval = pa.field("value", pa.month_day_nano_interval())
        return self.rows([]).schema.append(interval)

    def secrets(self) -> Sequence[str]:
        """Return the passwords and tokens that the destination was given: they may show up nowhere."""
        self._not_here("secrets")

    def requests(self) -> int:
        """Return how many requests with rows have arrived so far, those that failed included."""
        self._not_here("requests")

    def applied_then_timeout(self) -> None:
        """Apply every request from now on, and let no answer arrive."""
        self._not_here("applied_then_timeout")

    def unreadable_answer(self) -> None:
        """Answer every request from now on with something that says nothing, whether it is applied or not."""
        self._not_here("unreadable_answer")

    def unavailable(self) -> None:
        """Apply nothing from now on, in a way that the destination can be sure of and that may pass."""
        self._not_here("unavailable")

    def refused(self) -> None:
        """Apply nothing from now on, in a way that will not pass: a password that is wrong."""
        self._not_here("refused")

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        """See to it that these ids are refused and no others, and return the people's rows; called before all else."""
        self._not_here("partial_failure")

    def partial_removal(self, held: Collection[str]) -> None:
        """Refuse to remove the people with these ids, and say so to the destination; they are there already."""
        self._not_here("partial_removal")

    def recover(self) -> None:  # noqa: B027 - one without faults has nothing to end
        """End every fault; only called where there was one."""

    def process(self) -> None:  # noqa: B027
        """Go on with what was taken for later; called between two questions for what became of it."""

    @classmethod
    def undeclared(cls) -> list[str]:
        """Return what is wrong with `impossible`: left out, brought about as well, unknown, not explained."""
        known = {str(circumstance) for circumstance in Circumstance}
        wrong = [f"`{name}` is no circumstance" for name in sorted(cls.impossible.keys() - known)]
        for name in sorted(known):
            reason = cls.impossible.get(name)
            met = name in _WITHOUT_METHOD or getattr(cls, name) is not getattr(StandIn, name)
            if reason is None and not met:
                wrong.append(f"`{name}` is neither brought about nor declared impossible")
            elif reason is not None and met and name not in _WITHOUT_METHOD:
                wrong.append(f"`{name}` is brought about, though it is declared impossible")
            elif reason is not None and len(reason.split()) < 4:
                wrong.append(f"`{name}` is declared impossible without a reason that explains it")
        return wrong

    def _not_here(self, name: str) -> NoReturn:
        raise NotImplementedError(f"{type(self).__name__}.{name}")
