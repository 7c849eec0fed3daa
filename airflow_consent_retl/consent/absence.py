"""Findings about a whole run: opt-out categories for which no row has an answer, and regions that no row has.

Reads tokens of signatures only. Never sees a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.regime import Regime
from airflow_consent_retl.consent.signals import NULL_TOKEN

if TYPE_CHECKING:
    from airflow_consent_retl.consent.linked import Subject
    from airflow_consent_retl.consent.plan import ConsentPlan, Signature
    from airflow_consent_retl.consent.policy import CategoryId

    Counted = Iterable[tuple[Subject, Signature, int]]


def silent_categories(plan: ConsentPlan, signatures: Counted) -> tuple[CategoryId, ...]:
    """Return the categories under `opt_out`, in any region, for which no row has an answer. Without rows, none.

    A value that is no answer, such as the FALSE of an `OptOut`, shows that the column is in use, so it is not silence.
    A wrong path, a wrong key and a column of nothing but NULL are silent, and would permit every person.
    """
    silent = {
        category: [record.answer for record in reading.records if record.answer is not None]
        for category, reading in zip(plan.categories, plan.readings, strict=True)
        if (found := plan.policy.category(category)) is not None and Regime.OPT_OUT in found.regimes
    }
    present = [tokens for _, tokens, rows in signatures if rows > 0]
    if not present:
        return ()
    return tuple(
        category
        for category, places in silent.items()
        if all(tokens[at] == NULL_TOKEN for tokens in present for at in places)
    )


def dead_regions(plan: ConsentPlan, signatures: Counted) -> tuple[str, ...]:
    """Return the regions that the plan's categories name and that no row has. Without rows, none.

    A preset names many regions. It is returned itself, and only if no row has any region of the policy.
    """
    reading = plan.circumstances
    if reading.region is None:
        return ()
    # The regions are the alphabet of the signal: token i stands for the i-th of them.
    tokens_found = {tokens[reading.region] for _, tokens, rows in signatures if rows > 0}
    if not tokens_found:
        return ()
    dead = [region for token, region in enumerate(reading.regions, start=1) if token not in tokens_found]
    found = [category for category in map(plan.policy.category, plan.categories) if category is not None]
    own = {region for category in found if category.region_preset is None for region, _ in category.regions}
    presets = {category.region_preset for category in found if category.region_preset is not None}
    unused = sorted(presets) if len(dead) == len(reading.regions) else []
    return (*(region for region in dead if region in own), *unused)
