"""The policies for people: the one in force at each place, since when, who approved it, and what changed before.

The deployment's archive has it; a policy that is not in force yet is shown as waiting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import ConsentRetlError, RefusedError
from airflow_consent_retl.hooks.approving import PolicyProposal, approval_required, proposed
from airflow_consent_retl.hooks.central_policy import INLINE, central_policy
from airflow_consent_retl.hooks.policies import read_policy
from airflow_consent_retl.reports.policy_record import PolicyEntry, policy_record
from airflow_consent_retl.storage.location import policy_archive

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentPolicy
    from airflow_consent_retl.storage.policy_archive import PolicyEffect


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationNeed:
    """The demands of a policy at a destination: a requirement in words, and why there is none where there is none."""

    destination: str
    needs: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingPolicy:
    """A policy that is at its place now, and is not in force.

    Args:
        policy: the policy.
        needs: what it asks for at each destination that it names.
        proposal: its comparison with the one in force.
        needs_approval: whether it takes effect only after an approval.
        approvals: who approved it for this place, and when.
        people: by model, the people whom it would gain and lose, by the last run that saw it wait.
    """

    policy: ConsentPolicy
    needs: Sequence[DestinationNeed]
    proposal: PolicyProposal
    needs_approval: bool
    approvals: Sequence[str]
    people: Sequence[PolicyEffect]

    @property
    def digest(self) -> str:
        """The digest of the policy."""
        return self.proposal.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceFigures:
    """The policies at one place.

    Args:
        place: such as `variable:consent_policy`.
        entries: the policies that were in force, the newest first.
        policy: the one in force; None: there is none yet, or its file is gone or cannot be read.
        needs: what it asks for at each destination that it names.
        waiting: the policy that is there now, if it is not the one in force.
        unread: why it is not known what is there now; empty: it is known.
    """

    place: str
    entries: Sequence[PolicyEntry]
    policy: ConsentPolicy | None
    needs: Sequence[DestinationNeed]
    waiting: WaitingPolicy | None
    unread: str

    @property
    def in_force(self) -> PolicyEntry | None:
        """The newest policy that a run followed; None: there was none."""
        return self.entries[0] if self.entries else None


def policy_places() -> list[str]:
    """Return the deployment's own place, those whose first policy waits, and those at which runs followed policies.

    Raises:
        RefusedError: the deployment's archive was changed.
    """
    archive, central = policy_archive(), central_policy()
    found = archive.new_places() + archive.places()
    own = [] if central is None else [central]
    return own + [place for place in found if place not in own]


def place_figures(place: str) -> PlaceFigures:
    """Return the policies at one of `policy_places`.

    Raises:
        RefusedError: the deployment's archive was changed.
    """
    entries = policy_record(place)[::-1]
    policy = policy_of(entries[0].digest) if entries else None
    waiting, unread = _waiting(place)
    return PlaceFigures(
        place=place,
        entries=entries,
        policy=policy,
        needs=[] if policy is None else _needs(policy),
        waiting=waiting,
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


def _waiting(place: str) -> tuple[WaitingPolicy | None, str]:
    if place == INLINE:
        return None, ""
    try:
        policy = read_policy(place).policy
    except ConsentRetlError as error:
        # The name of the error and not its text: a policy that cannot be read may be anything.
        return None, type(error).__name__
    archive = policy_archive()
    proposal = proposed(policy, place, archive)
    if proposal.digest == proposal.in_force:
        return None, ""
    waiting = WaitingPolicy(
        policy=policy,
        needs=_needs(policy),
        proposal=proposal,
        needs_approval=approval_required() and proposal.needs_approval,
        approvals=[str(one) for one in archive.approvals(policy.digest, place)],
        people=[effect for effect in archive.expected(policy.digest) if effect.replaced == proposal.in_force],
    )
    return waiting, ""


def _needs(policy: ConsentPolicy) -> list[DestinationNeed]:
    return [_need(policy, name) for name in policy.destinations]


def _need(policy: ConsentPolicy, destination: str) -> DestinationNeed:
    rule, needs = policy.rule_for(destination), policy.needs_of(destination)
    return DestinationNeed(destination=destination, needs=needs, reason="" if needs else rule.reason or "")
