"""Consent as two lists of category ids: those that were allowed, and those that were denied."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.formats.granted_ids import GrantedId, GrantedIds
from airflow_consent_retl.consent.formats.opt_out import OptOut
from airflow_consent_retl.consent.signals import WholeConsent, require
from airflow_consent_retl.errors import Problem

if TYPE_CHECKING:
    from airflow_consent_retl.consent.answers import Agreeing


@dataclass(frozen=True, slots=True, init=False)
class TwoLists(WholeConsent):
    """Two columns for all categories: `TwoLists("allowed_ids", "denied_ids")`.

    An id in the first list is granted, and one in the second is denied. An id in both is invalid, and one in neither is
    unknown: that it was not denied is no yes. A list that cannot be read makes every category invalid that the other
    list does not deny.

    Args:
        allowed: the column with the allowed ids: a JSON array of text, or a column of arrays. NULL and `[]` say
            nothing.
        denied: likewise, the column with the denied ids.
        separator: of ids in text, as in `GrantedIds`; None: JSON.

    Raises:
        PolicyError: a parameter is wrong. The error contains every problem.
    """

    allowed: str
    denied: str
    separator: str | None
    column: str = field(init=False)

    def __init__(self, allowed: str, denied: str, *, separator: str | None = None) -> None:
        problems = [
            Problem(f"TwoLists.{name}", "expected the name of a column")
            for name, column in (("allowed", allowed), ("denied", denied))
            if not isinstance(column, str) or not column
        ]
        if allowed == denied:
            problems.append(Problem("TwoLists", "one column cannot be both lists"))
        require(problems)
        GrantedIds(allowed, separator)
        for name, value in (("allowed", allowed), ("denied", denied), ("separator", separator), ("column", allowed)):
            object.__setattr__(self, name, value)

    @property
    def columns(self) -> tuple[str, ...]:
        """Both lists."""
        return (self.allowed, self.denied)

    def for_category(self, category_id: str, name: str) -> Agreeing:
        """Return both lists of one category."""
        # Records are made of formats.
        from airflow_consent_retl.consent.answers import Agreeing

        # `OptOut` takes an id that is missing for no answer, whatever the list would.
        denied = GrantedId(self.denied, category_id, self.separator, "unknown")  # pragma: no mutate
        return Agreeing(GrantedId(self.allowed, category_id, self.separator, "unknown"), OptOut(denied))
