"""The policies for people: the one in force at each place, since when, who approved it, and what changed before.

The deployment's archive has it; a policy that no run has seen yet is shown as waiting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import ConsentRetlError, RefusedError
from airflow_consent_retl.hooks.approving import Proposal, approval_required, proposal
from airflow_consent_retl.hooks.central_policy import INLINE, central_policy
from airflow_consent_retl.reports.policy_record import PolicyEntry, policy_record
from airflow_consent_retl.storage.location import policy_archive

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationNeed:
    """The demands of a policy at a destination: a requirement in words, and why there is none where there is none."""

    destination: str
    needs: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceFigures:
    """The policies at one place.

    Args:
        place: such as `variable:consent_policy`.
        entries: the policies that were in force, the newest first.
        policy: the one in force; None: its file is gone, or cannot be read.
        needs: what it asks for at each destination that it names.
        waiting: the policy that is there now, if no run has seen it yet; None: it is the one in force.
        unread: why it is not known what is there now; empty: it is known.
    """

    place: str
    entries: Sequence[PolicyEntry]
    policy: ConsentPolicy | None
    needs: Sequence[DestinationNeed]
    waiting: Proposal | None
    unread: str

    @property
    def in_force(self) -> PolicyEntry:
        """The newest policy that a run saw."""
        return self.entries[0]


def policy_places() -> list[str]:
    """Return the places at which runs saw policies, the deployment's own first.

    Raises:
        RefusedError: the deployment's archive was changed.
    """
    found, central = policy_archive().places(), central_policy()
    return sorted(found, key=lambda place: (place != central, place))


def place_figures(place: str) -> PlaceFigures | None:
    """Return the policies at a place; None: no run saw one there.

    Raises:
        RefusedError: the deployment's archive was changed.
    """
    entries = policy_record(place)[::-1]
    if not entries:
        return None
    policy = policy_of(entries[0].digest)
    waiting, unread = _waiting(place)
    return PlaceFigures(
        place=place,
        entries=entries,
        policy=policy,
        needs=[] if policy is None else [_need(policy, name) for name in policy.destinations],
        waiting=None if waiting is None or waiting.digest == entries[0].digest else waiting,
        unread=unread,
    )


def policy_of(digest: str) -> ConsentPolicy | None:
    """Return a policy that a run saw; None: it is not kept any more, or was changed."""
    try:
        return policy_archive().policy(digest)
    except RefusedError:
        return None


def category_names(digest: str) -> Mapping[str, str]:
    """Return the names of the categories of a policy, by id; none of a policy that is not kept."""
    policy = policy_of(digest) if digest else None
    return {} if policy is None else {category.id: category.name for category in policy.categories}


def needs_approval(waiting: Proposal) -> bool:
    """Return whether a policy that no run has seen takes effect only after an approval."""
    return approval_required() and waiting.needs_approval


def _waiting(place: str) -> tuple[Proposal | None, str]:
    if place == INLINE:
        return None, ""
    try:
        return proposal(place), ""
    except ConsentRetlError as error:
        # The name of the error and not its text: a policy that cannot be read may be anything.
        return None, type(error).__name__


def _need(policy: ConsentPolicy, destination: str) -> DestinationNeed:
    rule, needs = policy.rule_for(destination), policy.needs_of(destination)
    return DestinationNeed(destination=destination, needs=needs, reason="" if needs else rule.reason or "")
