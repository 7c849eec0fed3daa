"""The part of an account's requests in a long window, such as a day, that is used, as the vendor's answers state it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from airflow_consent_retl.destinations.http.attempt import end_of
from airflow_consent_retl.errors import DestinationUnavailableError
from airflow_consent_retl.progress import module_log

log = module_log(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageHeader:
    """The header with which a vendor states a budget in each answer.

    Args:
        header: its name, in lower case.
        pattern: of its text, with two groups of digits: the used requests, and the limit.
        account, window, again_s: see `Budget`.
    """

    header: str
    pattern: str
    account: str
    window: str
    again_s: float

    def budget(self, headers: Mapping[str, str], *, share: float, option: str) -> Budget | None:
        """Return the budget in the headers of an answer; None: there is none."""
        found = re.search(self.pattern, headers.get(self.header, ""))
        if found is None:
            return None
        return Budget(
            account=self.account,
            used=int(found[1]),
            limit=int(found[2]),
            window=self.window,
            share=share,
            option=option,
            again_s=self.again_s,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The state of a budget. The vendor counts any window of this length, so some requests are free again each hour.

    Args:
        account: for messages, such as `the Acme account`.
        used, limit: the requests of the window.
        window: its length in words, such as `24 hours`.
        share: the share of the limit that loads may use up, from 0 to 1.
        option: the name of the option with the share.
        again_s: seconds after which another try is worth it.
    """

    account: str
    used: int
    limit: int
    window: str
    share: float
    option: str
    again_s: float

    @property
    def left(self) -> int:
        """The requests that loads may still make."""
        return max(0, int(self.share * self.limit) - self.used)

    def check(self) -> None:
        """Raise `DestinationUnavailableError`, with the time of the next try, where the share is used up."""
        if self.used >= self.share * self.limit:
            raise DestinationUnavailableError(
                f"{self.account} has used {self.used:,} of its {self.limit:,} API requests of {self.window}: "
                f"{self.option}={self.share:g} leaves the rest to others. The count falls as requests get older than "
                f"that; the next try is at {end_of(self.again_s)} or later",
                retry_after_s=self.again_s,
            )

    def announce(self, requests: int) -> None:
        """Log what is left for a load that needs about so many requests, as a warning where that is too little."""
        words = f"API requests of {self.window} at {self.account}: {self.used:,} of {self.limit:,} are used"
        needs = f"this load needs about {requests:,}, and {self.option}={self.share:g} leaves {self.left:,}"
        if requests > self.left:
            log.warning("%s; %s: it will stop on the way, and later tries resume it", words, needs)
        else:
            log.info("%s; %s", words, needs)
