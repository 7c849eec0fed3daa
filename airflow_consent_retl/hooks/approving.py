"""The policy that holds where policies need an approval, and the approving of one.

With `[consent_retl] approval_required`, a policy that may permit more than the one in force takes effect only after a
named person approved its digest. Until then the one in force holds. A policy that only takes away holds at once.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.compat import conf
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.central_policy import INLINE
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentPolicy
    from airflow_consent_retl.hooks.policies import LoadedPolicy
    from airflow_consent_retl.storage.policy_archive import Approval, PolicyArchive, PolicyEffect

_log = module_log(__name__)
_GIT_TIMEOUT_S: Final = 5
_LISTED: Final = 5
_records: Final = ContextVar("consent_retl_records_policies", default=True)


@dataclass(frozen=True, slots=True)
class PolicyProposal:
    """A policy at its place, compared with the one in force there.

    Args:
        place: such as `variable:consent_policy`.
        digest: the digest of the policy that is there now.
        in_force: the digest of the policy that holds; None: no policy held there yet.
        differences: a sentence for each part that differs.
        opens: a sentence for each way in which it may permit more.
        is_approved: whether it was approved since the one in force holds.
    """

    place: str
    digest: str
    in_force: str | None
    differences: tuple[str, ...]
    opens: tuple[str, ...]
    is_approved: bool

    @property
    def needs_approval(self) -> bool:
        """Whether it takes effect only after an approval."""
        return not self.is_approved and (self.in_force is None or bool(self.opens))


def approval_required() -> bool:
    """Return whether policies that may permit more need an approval: `[consent_retl] approval_required`."""
    return bool(conf.getboolean("consent_retl", "approval_required", fallback=False))


@contextmanager
def unrecorded() -> Iterator[None]:
    """Let the block read policies without a record of them in the deployment's archive: it is a dry run."""
    before = _records.set(False)
    try:
        yield
    finally:
        _records.reset(before)


def in_force(policy: ConsentPolicy, place: str) -> tuple[ConsentPolicy, ConsentPolicy | None]:
    """Return the policy that holds at a place that has this one now, and the one that waits there for an approval.

    The one that was read is recorded in the deployment's archive.

    Args:
        policy: the policy that was read there.
        place: such as `variable:consent_policy`; the same for all documents that DAGs contain themselves.

    Raises:
        ConfigurationError: an approval is required, there is none, and no policy held there before.
        RefusedError: the archive was changed.
    """
    from airflow_consent_retl.storage.location import policy_archive

    archive = policy_archive()
    if _records.get():
        archive.keep(policy)
    if approval_required():
        proposal = proposed(policy, place, archive)
        if proposal.needs_approval:
            if proposal.in_force is None and place != INLINE and _records.get():
                archive.note_new_place(place, at=datetime.now(UTC))
            return _held(archive, proposal), policy
    if place != INLINE and _records.get():
        archive.note_in_force(place, policy, at=datetime.now(UTC), change_of=_commit)
    return policy, None


def note_effects(loaded: LoadedPolicy, effects: Sequence[PolicyEffect], expected: PolicyEffect | None) -> None:
    """Record the people that a run's policy gained and lost, unless the run is a dry one.

    Args:
        loaded: the policy of the run.
        effects: of it, for each policy that it replaced.
        expected: of the policy that waits for an approval; None: there is none, or it is unknown.
    """
    from airflow_consent_retl.storage.location import policy_archive

    if not _records.get():
        return
    for effect in effects:
        policy_archive().note_effect(loaded.policy, effect)
    if loaded.waiting is not None and expected is not None:
        policy_archive().note_expected(loaded.waiting, expected)


def proposed(policy: ConsentPolicy, place: str, archive: PolicyArchive) -> PolicyProposal:
    """Return the comparison of a policy with the one in force at its place."""
    from airflow_consent_retl.consent import opened, policy_differences

    present = archive.in_force(place)
    is_approved = archive.is_approved(policy.digest, place)
    if present is None:
        return PolicyProposal(place, policy.digest, None, (), (), is_approved=is_approved)
    before = archive.policy(present.digest)
    return PolicyProposal(
        place,
        policy.digest,
        present.digest,
        tuple(policy_differences(before, policy)),
        tuple(opened(before, policy)),
        is_approved=is_approved,
    )


def proposal(place: str) -> PolicyProposal:
    """Return the comparison of the policy that is at a place now with the one in force there.

    Raises:
        ConfigurationError, PolicyError, SecretsUnavailableError: as `read_policy`.
    """
    from airflow_consent_retl.hooks.policies import read_policy
    from airflow_consent_retl.storage.location import policy_archive

    return proposed(read_policy(place).policy, place, policy_archive())


def approve(place: str, *, digest: str, by: str, note: str = "", is_login: bool = False) -> Approval:
    """Approve the policy that is at a place now.

    Args:
        place: such as `variable:consent_policy`.
        digest: the digest of the policy that the person read, or its first 12 characters or more after `sha256:`.
        by: the person who approves it, as the archive is to name them.
        note: a reason or a reference.
        is_login: whether `by` is the name of a user who is logged in to Airflow.

    Raises:
        ConfigurationError: the policy there is another one, or `by` is empty.
        PolicyError, SecretsUnavailableError: as `read_policy`.
    """
    from airflow_consent_retl.hooks.policies import read_policy
    from airflow_consent_retl.storage.location import policy_archive

    policy = read_policy(place).policy
    if not by.strip():
        raise ConfigurationError("by: name the person who approves the policy")
    given = digest.removeprefix("sha256:")
    if len(given) < 12 or not policy.digest.removeprefix("sha256:").startswith(given):
        raise ConfigurationError(
            f"digest: the policy at `{place}` has the digest {policy.digest}, not `{digest}`: read it again, then "
            "approve the digest of what you read"
        )
    return policy_archive().approve(policy, place, by=by.strip(), at=datetime.now(UTC), note=note, is_login=is_login)


def _held(archive: PolicyArchive, waiting: PolicyProposal) -> ConsentPolicy:
    if waiting.place == INLINE:
        raise ConfigurationError(
            "policy: `[consent_retl] approval_required` is set, and a document in a DAG has no place that can be "
            "approved: put it into a Variable, a connection or a file"
        )
    command = f"`consent-retl approve {waiting.place} --digest {waiting.digest} --by NAME`"
    if waiting.in_force is None:
        raise ConfigurationError(
            f"policy: {waiting.digest} at `{waiting.place}` was never approved, and `[consent_retl] approval_required` "
            f"is set: approve it with {command}"
        )
    more = len(waiting.opens) - _LISTED
    _log.warning(
        "policy %s at `%s` waits for an approval, so %s holds. It may permit more: %s%s. Approve it with %s",
        waiting.digest,
        waiting.place,
        waiting.in_force,
        "; ".join(waiting.opens[:_LISTED]),
        f"; and {more:,} more" if more > 0 else "",
        command,
    )
    return archive.policy(waiting.in_force)


def _commit(place: str) -> str | None:
    """Return the last commit of a policy's file, with its author and time; None where there is none."""
    from airflow_consent_retl.storage.local_path import local_path

    scheme, _, path = place.partition(":")
    git = shutil.which("git")
    if scheme != "file" or git is None:
        return None
    try:
        file = Path(local_path(place if path.startswith("//") else path) or path).resolve()
        found = [
            subprocess.run(  # noqa: S603 - no shell, and git is found on the path
                [git, "-C", str(file.parent), *arguments, "--", file.name],
                capture_output=True,
                text=True,
                check=True,
                timeout=_GIT_TIMEOUT_S,
            ).stdout.strip()
            for arguments in (["log", "-1", "--format=%h by %an, %cI"], ["status", "--porcelain"])
        ]
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    commit, uncommitted = found
    if not commit:
        return None
    return f"commit {commit}{', and changes after it' if uncommitted else ''}"
