"""How a call of the Data Manager API fails, in its three kinds. Never holds a word of the vendor's but codes."""

from __future__ import annotations

from collections.abc import Mapping


class PassingFaultError(Exception):
    """A call failed in a way that may pass. `maybe_applied`: it may have been carried out nevertheless."""

    def __init__(self, code: str, *, maybe_applied: bool, retry_after_s: float | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.maybe_applied = maybe_applied
        self.retry_after_s = retry_after_s


class RefusedMembersError(Exception):
    """A request was refused because of some of its members; `members`: those that were named, each with its code."""

    def __init__(self, code: str, members: Mapping[int, str]) -> None:
        super().__init__(code)
        self.code = code
        self.members = members


class RefusedRequestError(Exception):
    """A call was refused as a whole, and would be again; `where` names the field, if one was."""

    def __init__(self, code: str, where: str = "") -> None:
        super().__init__(f"{code} in {where}" if where else code)
        self.code = code
        self.where = where
