"""One try of a request that got no final answer, and the doubt that it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


class AttemptError(Exception):
    """A request without a final answer; another try may succeed.

    Args:
        code: the cause, for outcomes; never the other side's own text.
        words: the cause for people: the host, the port, and what failed; empty: the code says it all.
        maybe_applied: whether the other side may have applied the request.
        retry_after_s: seconds after which the other side asks for another try.
    """

    def __init__(self, code: str, *, maybe_applied: bool, retry_after_s: float | None = None, words: str = "") -> None:
        super().__init__(code)
        self.words = words or code
        self.code = code
        self.maybe_applied = maybe_applied
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class RequestDoubt:
    """The doubt about earlier tries: `code` is the reason why one may have been applied; empty without a doubt."""

    code: str = ""


def end_of(pause_s: float) -> str:
    """Return the end of a pause that begins now, for people: `14:05 UTC`, with the day where it is another one."""
    now = datetime.now(UTC)
    end = now + timedelta(seconds=pause_s)
    return f"{end:%H:%M} UTC" if end.date() == now.date() else f"{end:%Y-%m-%d %H:%M} UTC"
