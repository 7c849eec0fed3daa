"""The refusals of the Data Manager API. They contain codes and positions, and never the vendor's own text.

A call without a final answer is an `AttemptError`, as for every destination.
"""

from __future__ import annotations

from collections.abc import Mapping


class RefusedMembersError(Exception):
    """A request was refused because of some of its members.

    `members`: the named ones, each with its code and the kind of its field, such as `email`; empty: not known.
    """

    def __init__(self, code: str, members: Mapping[int, tuple[str, str]]) -> None:
        super().__init__(code)
        self.code = code
        self.members = members


class RefusedRequestError(Exception):
    """A call was refused as a whole, and would be again; `where` names the field, if one was."""

    def __init__(self, code: str, where: str = "") -> None:
        super().__init__(f"{code} in {where}" if where else code)
        self.code = code
        self.where = where
