"""One column for all categories, in which some categories are recorded the other way round."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from airflow_consent_retl.consent.formats.opt_out import OptOut
from airflow_consent_retl.consent.json_path import type_name
from airflow_consent_retl.consent.signals import CategorySignal, WholeConsent, require
from airflow_consent_retl.errors import PolicyError, Problem


@dataclass(frozen=True, slots=True, init=False)
class OptOuts(WholeConsent):
    """A format for all categories, with categories of objections: `OptOuts(ConsentObject("consent"), ["DNS"])`.

    A yes to one of these categories, such as "Do not sell", is a no: see `OptOut`. The others are read as they are.

    Args:
        whole: the format of one column for all categories.
        categories: the ids of the categories whose yes is an objection.
        false_is_yes: whether a no to them is an explicit yes.

    Raises:
        PolicyError: a parameter is wrong, or `OptOut` cannot turn the format round.
    """

    whole: WholeConsent
    categories: tuple[str, ...]
    false_is_yes: bool
    column: str = field(init=False)

    def __init__(self, whole: WholeConsent, categories: Sequence[str], *, false_is_yes: bool = False) -> None:
        listed = tuple(categories) if isinstance(categories, list | tuple) else ()
        problems = []
        if not isinstance(whole, WholeConsent) or isinstance(whole, OptOuts) or len(whole.columns) != 1:
            problems.append(
                Problem(
                    "OptOuts.whole", f"expected a format of one column for all categories, found {type_name(whole)}"
                )
            )
        if not listed or not all(isinstance(category, str) and category for category in listed):
            problems.append(Problem("OptOuts.categories", "expected a list with the ids of categories"))
        require(problems)
        for category in listed:
            OptOut(_signal(whole, category, category), false_is_yes=false_is_yes)
        object.__setattr__(self, "whole", whole)
        object.__setattr__(self, "categories", listed)
        object.__setattr__(self, "false_is_yes", false_is_yes)
        object.__setattr__(self, "column", whole.column)

    def for_category(self, category_id: str, name: str) -> CategorySignal:
        """Return the signal of one category."""
        signal = _signal(self.whole, category_id, name)
        return OptOut(signal, false_is_yes=self.false_is_yes) if category_id in self.categories else signal


def _signal(whole: WholeConsent, category_id: str, name: str) -> CategorySignal:
    found = whole.for_category(category_id, name)
    if isinstance(found, CategorySignal):
        return found
    message = f"{type_name(whole)} has several records of a category, which cannot be turned round together"
    raise PolicyError([Problem("OptOuts.whole", message)])
