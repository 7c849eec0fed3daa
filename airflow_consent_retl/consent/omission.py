"""Destinations that would become open by omission: guarded at the last run, now neither mapped nor `not_required`.

Pure. It matters only where the policy permits unmapped destinations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_consent_retl.consent.policy import ConsentPolicy

_REMEDY = (
    "map it to an enabled category, or map it to none and name it in the policy's `destinations` section with "
    '"consent": "not_required" and a reason'
)


def fell_out(before: ConsentPolicy, policy: ConsentPolicy, destination: str) -> str | None:
    """Return why a destination that `before` guarded would receive every row under `policy`, or None."""
    required = [f"`{category}`" for category in before.required_for(destination)]
    is_open = (
        policy.unmapped_destinations == "permit"
        and policy.rule_for(destination).consent_required
        and not policy.required_for(destination)
    )
    if not required or not is_open:
        return None
    return (
        f"destination `{destination}` required {', '.join(required)} at the last run, and would receive every row now: "
        f"{_REMEDY}"
    )
