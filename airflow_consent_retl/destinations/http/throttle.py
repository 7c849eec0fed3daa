"""The answers with which a vendor asks to come again later, as data: it rarely names the time in `Retry-After`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.responses import number_in, stated

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.client import Answer


@dataclass(frozen=True, slots=True)
class UsedUp:
    """An answer that says that the requests of a long time are used up, such as those of a day.

    Args:
        field, value: of the answer, which say so.
        wait_s: seconds until another try, where no answer names the end of that time.
        code: of the error.
        words: for people.
    """

    field: str
    value: str
    wait_s: float
    code: str
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """The answers that ask for another try.

    Args:
        waits: the statuses, each with the seconds to wait where the answer names no time; None: as for any failure.
        reset_header: the header with the end of the window, in seconds since 1970; it has precedence.
        window_header: the header with the length of the window, in milliseconds.
        used_up: see there.
    """

    waits: Mapping[int, float | None] = field(default_factory=lambda: {429: None})
    reset_header: str = ""
    window_header: str = ""
    used_up: UsedUp | None = None

    def check(self, answer: Answer) -> None:
        """Raise for an answer that asks for another try; nothing of its request was applied.

        Raises:
            AttemptError: with the time to wait.
        """
        if answer.status not in self.waits:
            return
        used_up = self.used_up
        if used_up is not None and answer.status == 429 and stated(answer, used_up.field) == used_up.value:
            raise AttemptError(used_up.code, maybe_applied=False, retry_after_s=used_up.wait_s, words=used_up.words)
        raise AttemptError(f"http_{answer.status}", maybe_applied=False, retry_after_s=self._wait_s(answer))

    def _wait_s(self, answer: Answer) -> float | None:
        reset, window = number_in(answer, self.reset_header), number_in(answer, self.window_header)
        if reset is not None:
            return max(0.0, int(str(reset)[:10]) - time.time())
        waits = [answer.retry_after_s, None if window is None else window / 1000]
        named = [one for one in waits if one is not None]
        return max(named) if named else self.waits[answer.status]
