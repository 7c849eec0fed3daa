"""One try of a request that got no final answer, and the doubt that it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass


class AttemptError(Exception):
    """A request without a final answer; another try may succeed.

    Args:
        code: the cause, for outcomes and messages; never the other side's own text.
        maybe_applied: whether the other side may have applied the request.
        retry_after_s: seconds after which the other side asks for another try.
    """

    def __init__(self, code: str, *, maybe_applied: bool, retry_after_s: float | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.maybe_applied = maybe_applied
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class RequestDoubt:
    """The doubt about earlier tries: `code` is the reason why one may have been applied; empty without a doubt."""

    code: str = ""
