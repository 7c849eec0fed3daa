"""The plan of a sync's last run, its policy with its consent mapping, on the columns of the present rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import PolicyError, Problem

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ColumnKind, ConsentMapping, ConsentPlan, ConsentPolicy, MappingDocument
    from airflow_consent_retl.consent.plan import PlanFor

# Makes the plan of a policy for some destinations, with a consent mapping; None: that of the present run.
PlanOf = Callable[["ConsentPolicy", Sequence[str], "ConsentMapping | None"], "PlanFor"]


def former_plan(
    policy: ConsentPolicy,
    mapping: MappingDocument | None,
    *,
    plan_of: PlanOf,
    kinds: Mapping[str, ColumnKind],
    names: Sequence[str],
    is_linked: bool,
) -> tuple[ConsentPlan, bool]:
    """Return the plan of the last run, and whether its mapping reads consent in another way than the present one.

    Args:
        policy: of the last run.
        mapping: the document of its consent mapping; None: the present one.
        plan_of: makes a plan.
        kinds: the columns of the present rows.
        names: the destinations.
        is_linked: whether identities link rows to each other.

    Raises:
        PolicyError: the last run cannot be planned on the present rows.
    """
    if mapping is None:
        return plan_of(policy, names, None)(kinds), False
    former = plan_of(policy, names, _recorded(mapping))(kinds)
    try:
        present = plan_of(policy, names, None)(kinds)
    except PolicyError:
        is_other = True
    else:
        is_other = replace(present, warnings=()) != replace(former, warnings=())
    if is_other and is_linked:
        # INVARIANT: linked people speak to each other by one mapping. By two, a former no would hide a release.
        raise PolicyError([Problem("consent", "what linked people say cannot be read under two mappings")])
    return former, is_other


def _recorded(mapping: MappingDocument) -> ConsentMapping:
    from airflow_consent_retl.consent import parse_mapping_document

    try:
        return parse_mapping_document(mapping)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise PolicyError([Problem("consent", "this version does not know the mapping of the last run")]) from None
