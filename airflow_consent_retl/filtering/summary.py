"""The results of a filter run for its manifest and its log, and the check of its limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import ConfigurationError, GuardError
from airflow_consent_retl.progress import by_count, listed, table

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentPlan, ConsentPolicy, DecisionCounts
    from airflow_consent_retl.storage.manifest import PermittedCounts, PermittedManifest


def check_limits(
    counts: DecisionCounts, *, max_denied_ratio: float | Mapping[str, float] | None, max_invalid_ratio: float | None
) -> None:
    """Check the shares of rows that are denied or have an invalid value; see `ConsentFilterOperator`.

    Raises:
        GuardError: a limit is exceeded.
        ConfigurationError: a limit is for a destination that the task does not have.
    """
    limits = max_denied_ratio
    if isinstance(limits, Mapping) and (unknown := [name for name in limits if name not in counts.destinations]):
        raise ConfigurationError(f"max_denied_ratio: not destinations of this task: {', '.join(unknown)}")
    passed = []
    if max_invalid_ratio is not None and counts.invalid > max_invalid_ratio * counts.read:
        passed.append(
            f"{counts.invalid:,} of {counts.read:,} rows have an invalid consent value, "
            f"max_invalid_ratio is {max_invalid_ratio}"
        )
    for name, destination in counts.destinations.items():
        limit = limits.get(name) if isinstance(limits, Mapping) else limits
        if limit is not None and destination.denied > limit * destination.read:
            passed.append(
                f"`{name}`: {destination.denied:,} of {destination.read:,} rows are denied, max_denied_ratio is {limit}"
            )
    if passed:
        raise GuardError("nothing was published: " + "; ".join(passed))


def destination_counts(plan: ConsentPlan, counts: DecisionCounts) -> dict[str, PermittedCounts]:
    """Return the manifest's entry of each destination."""
    from airflow_consent_retl.consent import Regime
    from airflow_consent_retl.storage.manifest import PermittedCounts

    described: dict[str, PermittedCounts] = {}
    for name, destination in counts.destinations.items():
        rule = plan.policy.rule_for(name)
        required = plan.policy.required_for(name)
        described[str(name)] = PermittedCounts(
            required=tuple(map(str, required)),
            match=rule.match,
            needs=plan.policy.needs_of(name),
            without_consent=tuple(
                category.id
                for category in plan.policy.mapped_to(name)
                if category.enabled and category.regimes != {Regime.OPT_IN}
            ),
            needed=_needed(plan.policy, name),
            ground="consent" if required else "unmapped" if rule.consent_required else "not_required",
            read=destination.read,
            permitted=destination.permitted,
            denied=destination.denied,
            denied_by_reason=dict(destination.denied_by_reason),
            withheld_fields=dict(destination.withheld_fields),
        )
    return described


def _needed(policy: ConsentPolicy, destination: str) -> tuple[tuple[str, ...], ...]:
    """Return the categories whose no denies a person, in groups of alternatives."""
    from airflow_consent_retl.consent import Regime

    found: list[tuple[str, ...]] = []
    for match, categories in policy.groups_for(destination):
        # Where no consent is needed anywhere, a no denies no one, nor does a no to an alternative.
        exempt = [category.id for category in categories if category.regimes == {Regime.EXEMPT}]
        ids = tuple(str(category.id) for category in categories if category.id not in exempt)
        if match == "all":
            found += [(one,) for one in ids]
        elif not exempt:
            found.append(ids)
    return tuple(found)


def summary(manifest: PermittedManifest) -> str:
    """Return the table of a filter run: the requirement and the counts of each destination."""
    rows = [
        [name, requirement(counts), counts.read, counts.permitted, counts.denied, reasons(counts)]
        for name, counts in manifest.destinations.items()
    ]
    headers = ["destination", "needs", "read", "permitted", "denied", "denied because (a row may have several)"]
    return table(headers, rows)


def requirement(counts: PermittedCounts) -> str:
    """Return the requirement of a destination in words: `C0002 and C0004`, or the reason why it needs nothing."""
    if counts.needs:
        return counts.needs
    if counts.required:
        return (" and " if counts.match == "all" else " or ").join(counts.required)
    return {"consent": "consent", "unmapped": "nothing (unmapped)", "not_required": "nothing (not required)"}[
        counts.ground
    ]


def reasons(counts: PermittedCounts) -> str:
    """Return the reasons of the denials with their rows, most frequent first."""
    return listed(by_count(counts.denied_by_reason))
