"""The stand-in for the other side of a destination: it reports the stored rows, and fails on request."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import ClassVar, NoReturn

import pyarrow as pa

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.testing.people import Person


class Circumstance(StrEnum):
    """A situation that a check needs, and that not every destination can be in.

    The `StandIn`'s method of the same name causes each of the first ones; the last two only need a destination that
    works this way.
    """

    APPLIED_THEN_TIMEOUT = "applied_then_timeout"
    UNREADABLE_ANSWER = "unreadable_answer"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    PARTIAL_FAILURE = "partial_failure"
    PARTIAL_REMOVAL = "partial_removal"
    SWALLOWED_REMOVAL = "swallowed_removal"
    REQUESTS = "requests"
    SECRETS = "secrets"
    OVERWRITING = "overwriting"
    """A person who is sent again with another value has the new one only."""
    REPEATED_ID = "repeated_id"
    """A person who occurs twice in one batch is there once."""


_WITHOUT_METHOD = {Circumstance.OVERWRITING, Circumstance.REPEATED_ID}


class StandIn(ABC):
    """The other side of a destination, fresh for each check: a local server, a database, a folder.

    It has to be real enough that the destination itself runs unchanged. A fault lasts until `recover`; it may start
    before a destination is opened. A method that is not overridden has to be declared in `impossible`.

    Attributes:
        impossible: circumstances that this destination cannot be in, each with the reason.
        key_field: the destination's name for the primary key; None where it accepts none.
        text_field: the field of `rows` with a person's text.
    """

    impossible: ClassVar[Mapping[str, str]] = {}
    key_field: ClassVar[str | None] = "id"
    text_field: ClassVar[str] = "text"

    @abstractmethod
    def destination(self) -> Destination:
        """Return a new destination, not opened; all of them use the same other side."""

    @abstractmethod
    def stored(self) -> Sequence[Person]:
        """Return the stored people, read without the destination: one entry for each copy, in any order."""

    def rows(self, people: Sequence[Person]) -> pa.Table:
        """Return people as rows for the destination: one row each, in order."""
        return pa.table(
            {
                "id": pa.array([person.id for person in people], pa.string()),
                "text": pa.array([person.text for person in people], pa.string()),
            }
        )

    def takes(self, kind: pa.DataType) -> bool:
        """Return whether a field `value` of this type can be sent; if not, `open` has to refuse it."""
        return True

    def stored_values(self) -> Mapping[str, object]:
        """Return the stored values of the field `value`, by id, in any form that distinguishes different values."""
        self._not_here("stored_values")

    def unfit(self) -> pa.Schema:
        """Return fields that the destination has to refuse in `open`."""
        interval = pa.field("value", pa.month_day_nano_interval())
        return self.rows([]).schema.append(interval)

    def secrets(self) -> Sequence[str]:
        """Return the passwords and tokens of the destination: they may appear nowhere."""
        self._not_here("secrets")

    def requests(self) -> int:
        """Return the number of requests with rows that have arrived so far, including failed ones."""
        self._not_here("requests")

    def applied_then_timeout(self) -> None:
        """Apply every request from now on, and let no answer arrive."""
        self._not_here("applied_then_timeout")

    def unreadable_answer(self) -> None:
        """Answer every request from now on without a meaning, whether it is applied or not."""
        self._not_here("unreadable_answer")

    def unavailable(self) -> None:
        """Apply nothing from now on, in a way that is certain to the destination and may pass."""
        self._not_here("unavailable")

    def refused(self) -> None:
        """Apply nothing from now on, in a way that will not pass, such as a wrong password."""
        self._not_here("refused")

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        """Have exactly these ids refused, and return the people's rows; called before everything else."""
        self._not_here("partial_failure")

    def partial_removal(self, held: Collection[str]) -> None:
        """Refuse to remove the people with these ids, and tell the destination; they are stored already."""
        self._not_here("partial_removal")

    def swallowed_removal(self, held: Collection[str]) -> None:
        """Report success for the removal of the people with these ids, and keep them; they are stored already."""
        self._not_here("swallowed_removal")

    def recover(self) -> None:  # noqa: B027 - one without faults has nothing to end
        """End every fault; only called where there was one."""

    def process(self) -> None:  # noqa: B027
        """Process the requests taken for later; called between two questions for their outcomes."""

    @classmethod
    def undeclared(cls) -> list[str]:
        """Return the errors in `impossible`: names left out, caused as well, unknown or not explained."""
        known = {str(circumstance) for circumstance in Circumstance}
        wrong = [f"`{name}` is not a circumstance" for name in sorted(cls.impossible.keys() - known)]
        for name in sorted(known):
            reason = cls.impossible.get(name)
            met = name in _WITHOUT_METHOD or getattr(cls, name) is not getattr(StandIn, name)
            if reason is None and not met:
                wrong.append(f"`{name}` has no method and is not declared impossible")
            elif reason is not None and met and name not in _WITHOUT_METHOD:
                wrong.append(f"`{name}` has a method, but is declared impossible")
            elif reason is not None and len(reason.split()) < 4:
                wrong.append(f"`{name}` is declared impossible without a reason that explains it")
        return wrong

    def _not_here(self, name: str) -> NoReturn:
        raise ConfigurationError(f"{type(self).__name__} has no method `{name}`, and does not declare it impossible")
