"""The history of the policy at a place: periods, changes in words and in people, who changed it and who approved it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """One policy in force at a place.

    Args:
        digest: the policy's.
        since: when a run first saw it.
        until: when a run first saw another one; None: it is in force.
        changed_by: who changed the place to it, by Airflow's audit records or the file's commit; otherwise `unknown`,
            with the reason.
        differences: a sentence for each part that differs from the policy before it.
        opens: a sentence for each way in which it may permit more than the policy before it.
        people: by model and destination, how many people its first run gained and lost.
        approvals: who approved it, and when.
    """

    digest: str
    since: datetime
    until: datetime | None
    changed_by: str
    differences: Sequence[str]
    opens: Sequence[str]
    people: Mapping[str, Mapping[str, tuple[int, int]]]
    approvals: Sequence[str]


def policy_record(place: str) -> list[PolicyEntry]:
    """Return the policies that were in force at a place, the oldest first.

    Args:
        place: such as `variable:consent_policy`.

    Raises:
        RefusedError: the deployment's archive was changed.
    """
    from airflow_consent_retl.consent import opened, policy_differences
    from airflow_consent_retl.storage.location import policy_archive

    archive = policy_archive()
    entries: list[PolicyEntry] = []
    before = None
    for period in archive.periods(place):
        policy = archive.policy(period.digest)
        replaced = None if before is None else before.digest
        effects = [effect for effect in archive.effects(period.digest) if effect.replaced == replaced]
        entries.append(
            PolicyEntry(
                period.digest,
                period.since,
                period.until,
                period.change or _changed_by(place, entries[-1].since if entries else None, period.since),
                [] if before is None else policy_differences(before, policy),
                [] if before is None else opened(before, policy),
                {effect.model: effect.people for effect in effects},
                [str(one) for one in archive.approvals(period.digest, place)],
            )
        )
        before = policy
    return entries


def _changed_by(place: str, after: datetime | None, until: datetime) -> str:
    """Return the last person who changed the place before a run saw the policy."""
    from airflow_consent_retl.hooks.audit_log import NoRecord, last_change

    found = last_change(place, after=after, until=until)
    if isinstance(found, NoRecord):
        return f"{UNKNOWN}: {found}"
    return f"{found.user}, {found.at:%F %T %Z} ({found.event})"


def to_markdown(place: str, entries: Sequence[PolicyEntry]) -> str:
    """Return the history for people to read, the newest first."""
    lines = [f"# Policy at `{place}`", ""]
    for entry in reversed(entries):
        until = "in force" if entry.until is None else f"until {entry.until:%F %T %Z}"
        lines += [
            f"## {entry.digest[:19]}",
            "",
            f"Since {entry.since:%F %T %Z}, {until}. Changed by: {entry.changed_by}.",
        ]
        lines += [f"Approved by: {'; '.join(entry.approvals)}."] if entry.approvals else []
        lines += ["", *(f"- {sentence}" for sentence in entry.differences)]
        lines += [f"- may permit more: {sentence}" for sentence in entry.opens]
        lines += [
            f"- model `{model}`, `{name}`: {gained:,} rows gained, {lost:,} lost"
            for model, people in entry.people.items()
            for name, (gained, lost) in people.items()
        ]
        lines.append("")
    return "\n".join(lines)
