"""One try of a request that got no final answer, and the doubt that it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass


class AttemptError(Exception):
    """A request without a final answer; another try may succeed.

    Args:
        code: the cause, for outcomes and messages; never the other side's own words.
        maybe_applied: the other side may have carried out the request.
        retry_after_s: seconds after which the other side asked to be tried again.
    """

    def __init__(self, code: str, *, maybe_applied: bool, retry_after_s: float | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.maybe_applied = maybe_applied
        self.retry_after_s = retry_after_s


@dataclass(slots=True)
class RequestDoubt:
    """Why an earlier try of a request may have been applied, or an empty string."""

    code: str = ""
