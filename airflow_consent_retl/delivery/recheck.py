"""The recheck of consent, just before the first batch and while a load runs, and the people it withholds.

The set of people who may be sent can only shrink. It decides nothing by itself: the answers come from the source, and
the law decides them under the policy as it is at that time. The suppression list is read in any case.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from airflow_consent_retl.consent import RemovalCause

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.filtering.subject_index import Ask, SubjectIndex

# Takes guarded fields; returns the positions of the people about to be sent with some of them.
Carrying = Callable[[tuple[str, ...]], "NDArray[np.int64]"]
# The person is still permitted, but not every field that was to be sent: the next run sends the row without it.
FIELDS_WITHDRAWN = "fields_withdrawn"


class Recheck(ABC):
    """The people about to be sent who may not be sent any more.

    Args:
        interval_s: seconds from one answer until the next is due.
    """

    # Asks the source about all people; None: the source is not asked.
    ask: Ask | None = None

    def __init__(self, *, interval_s: float) -> None:
        self._interval_s = interval_s
        self._answered: float | None = None
        self.withheld: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self.causes: dict[str, NDArray[np.int64]] = {}

    @property
    def is_due(self) -> bool:
        """Whether it must be asked again before anything more is sent."""
        return self._answered is None or time.monotonic() - self._answered >= self._interval_s

    def ask_again(self) -> Counter[str]:
        """Ask, and return by cause how many more people are withheld than before.

        Raises:
            GuardError: no row has an answer any more to a category under `opt_out`.
            PolicyError, ModelError, ConfigurationError: the question that was asked before is not possible any more.
            SourceUnavailableError: the source does not answer.
        """
        # INVARIANT: an answer is as old as its question, not as the end of its reading.
        asked = time.monotonic()
        more: Counter[str] = Counter()
        for cause, positions in self._not_permitted().items():
            new = np.setdiff1d(positions, self.withheld, assume_unique=True)
            more[cause] += len(new)
            self.causes[cause] = np.union1d(self.causes.get(cause, self.withheld[:0]), new)
            self.withheld = np.union1d(self.withheld, new)
        self._answered = asked
        return +more

    def withheld_among(self, start: int, rows: int) -> NDArray[np.int64]:
        """Return which of these rows are withheld, counted from `start`."""
        first, end = np.searchsorted(self.withheld, [start, start + rows])
        return self.withheld[first:end] - start

    @abstractmethod
    def _not_permitted(self) -> dict[str, NDArray[np.int64]]:
        """Ask, and return by cause the positions of people who may not be sent."""


class ForgottenRecheck(Recheck):
    """The people about to be sent who were forgotten since the filter, where the source is not asked again.

    Args:
        find: reads the suppression list, and returns the positions of the people on it, ascending.
        interval_s: seconds from one answer until the next is due.
    """

    def __init__(self, find: Callable[[], NDArray[np.int64]], *, interval_s: float) -> None:
        super().__init__(interval_s=interval_s)
        self._find = find

    def _not_permitted(self) -> dict[str, NDArray[np.int64]]:
        return {str(RemovalCause.FORGOTTEN): self._find()}


class SourceRecheck(Recheck):
    """The people about to be sent whom the source, or the suppression list, does not permit any more.

    Args:
        people: the people about to be sent, by position.
        destination: the destination they are sent to.
        ask: asks the source, under the policy as it is when it is called.
        carrying: finds the people about to be sent with guarded fields.
        interval_s: seconds from one answer until the next is due.
        start: the position of the first of these people.
        check_silence: called with the opt-out categories to which no row of an answer has an answer; raises an error if
            that proves nothing.
    """

    def __init__(
        self,
        people: SubjectIndex,
        destination: str,
        ask: Ask,
        *,
        carrying: Carrying,
        interval_s: float,
        start: int = 0,
        check_silence: Callable[[tuple[str, ...]], None] = lambda silent: None,
    ) -> None:
        super().__init__(interval_s=interval_s)
        self._start = start
        self._people = people
        self._destination = destination
        self.ask: Ask = ask
        self._carrying = carrying
        self._check_silence = check_silence

    def _not_permitted(self) -> dict[str, NDArray[np.int64]]:
        now = self._people.asked(self.ask, self._destination)
        self._check_silence(self._people.silent)
        start = self._start
        found: dict[str, NDArray[np.int64]] = {str(cause): positions + start for cause, positions in now.items()}
        carrying = [
            np.intersect1d(positions + start, self._carrying(fields))
            for fields, positions in self._people.partial.items()
            if len(positions)
        ]
        if carrying:
            found[FIELDS_WITHDRAWN] = np.unique(np.concatenate(carrying))
        return found
