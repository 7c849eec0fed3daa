"""The check that no policy is missing in a sync's history or in the archive, and the repair of a history.

Without the policy of the last run, a changed policy is compared with nothing, or with an older one, and whoever it
releases is sent. What was decided is recorded in signed documents of the workspace, and what was delivered in the
ledger: both name the policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.hooks.approving import approval_required
from airflow_consent_retl.hooks.central_policy import INLINE
from airflow_consent_retl.progress import short

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentPolicy, MappingDocument
    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.delivery.ledger.records import SyncName
    from airflow_consent_retl.hooks.policies import LoadedPolicy
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.manifest import PermittedManifest
    from airflow_consent_retl.storage.policy_history import PolicyHistory
    from airflow_consent_retl.storage.records.documents import DecisionRecords

_REMEDY: Final = (
    "Restore the workspace's folder `policies` from its newest backup; or run the filter once under that policy; or "
    "accept the loss with `consent-retl adopt`"
)


def decided_before(workspace: str | None, model: str) -> dict[str, DecisionRecords]:
    """Return what the last run decided about a model, by destination.

    Raises:
        RefusedError: its record was changed.
    """
    from airflow_consent_retl.storage.location import decisions_of_model
    from airflow_consent_retl.storage.records.all_streams import newest_decisions

    return newest_decisions(decisions_of_model(workspace, model))


def lost_policies(
    histories: Mapping[str, PolicyHistory], decided: Mapping[str, DecisionRecords], log: TaskLog
) -> dict[str, tuple[ConsentPolicy, datetime]]:
    """Return the policies that histories lack, from the archive, each with the time of the last run under it.

    Args:
        histories: by destination.
        decided: by destination, what the last run decided.
        log: gets a warning for each.

    Raises:
        RefusedError: the archive does not have one either, so the people whose rows it releases are unknown.
    """
    from airflow_consent_retl.storage.location import policy_archive

    found = {}
    for name, history in histories.items():
        last = decided.get(name)
        if last is None or _shows(history, last):
            continue
        lost = (
            f"the last run decided about `{name}` under policy {last.policy_digest}, and {history.folder.uri} does not "
            "have it: it was emptied, or restored from an older backup"
        )
        try:
            found[name] = policy_archive().policy(last.policy_digest), last.decided_at
        except RefusedError:
            raise RefusedError(f"{lost}. The archive of policies does not have it either. {_REMEDY}") from None
        log.warning("%s. The archive of policies has it", lost)
    return found


def last_mappings(
    kept: Mapping[str, tuple[MappingDocument, datetime] | None], decided: Mapping[str, DecisionRecords]
) -> dict[str, MappingDocument]:
    """Return the consent mapping of each destination's last run, where it is known: earlier releases wrote none.

    A history may be emptied, or restored from an older backup. The record of a run that is as new counts then.

    Args:
        kept: by destination, the newest mapping of its history, and since when it holds.
        decided: by destination, what the last run decided.
    """
    found = {}
    for name, newest in kept.items():
        last = decided.get(name)
        if last is not None and last.consent is not None and (newest is None or last.decided_at >= newest[1]):
            found[name] = last.consent
        elif newest is not None:
            found[name] = newest[0]
    return found


def _shows(history: PolicyHistory, last: DecisionRecords) -> bool:
    """Return whether a history has the policy of the last run; without a signature, it has to be the newest one."""
    if history.lacks(last.policy_digest, at=last.decided_at):
        return False
    if history.is_signed:
        return True
    newest = history.latest()
    return newest is not None and newest.digest == last.policy_digest


def check_archive_of_place(loaded: LoadedPolicy, decided: Mapping[str, DecisionRecords], log: TaskLog) -> None:
    """Check that the archive shows the policy that the last run of a model found at the same place.

    Args:
        loaded: the policy of this run.
        decided: by destination, what the last run decided.
        log: gets a warning where no policy needs an approval.

    Raises:
        ConfigurationError: policies need an approval, and one that was replaced since could be in force again.
    """
    from airflow_consent_retl.storage.location import policy_archive

    place, archive = loaded.source, policy_archive()
    here = [one for one in decided.values() if one.policy_source == place]
    last = max(here, key=lambda one: one.decided_at, default=None)
    if place == INLINE or last is None or not archive.lacks(place, last.policy_digest, at=last.decided_at):
        return
    lost = (
        f"the last run found policy {last.policy_digest} at `{place}`, and the policy archive does not show it: it was "
        "emptied, or restored from an older backup. Restore its newest backup"
    )
    if not approval_required():
        log.warning("%s", lost)
        return
    if not any(one.approved_at > last.decided_at for one in archive.approvals(loaded.policy.digest, place)):
        raise ConfigurationError(
            f"{lost}. If there is none, approve again what has to be in force: `consent-retl approve {place} --digest "
            f"{loaded.policy.digest} --by NAME`"
        )


def check_history(lease: Lease, manifest: PermittedManifest, destination: str) -> None:
    """Check that the filter of a permitted set knew the policy under which the sync was delivered last.

    Args:
        lease: of the sync.
        manifest: of the permitted set.
        destination: of the load.

    Raises:
        RefusedError: the changed policy was compared with nothing, or with an older one.
    """
    last = lease.last_policy()
    if last is None or last.policy_digest == manifest.policy_digest:
        return
    history = _history(manifest.workspace, manifest.model, destination)
    if history.lacks(last.policy_digest, at=last.decided_at):
        raise RefusedError(
            f"sync `{lease.sync}` was delivered under policy {last.policy_digest}, and the policy is another one now; "
            f"{history.folder.uri} does not have the former one, so the filter could not count the people that the "
            f"present one releases. {_REMEDY}, and run the filter again"
        )


def repair_history(ledger: Ledger, workspace: str | None, sync: SyncName, *, log: TaskLog) -> None:
    """Add the policies of the last run and of the last load to a history that lacks them.

    If the archive does not have one, the history counts as whole from now on, and the next policy is compared with
    nothing.

    Args:
        ledger: opened for the workspace.
        workspace: as for the loads.
        sync: its name.
        log: gets a line for each.
    """
    from airflow_consent_retl.delivery.ledger.records import model_and_destination
    from airflow_consent_retl.storage.location import policy_archive

    model, destination = model_and_destination(sync)
    history, decided = _history(workspace, model, destination), decided_before(workspace, model).get(destination)
    loaded = ledger.last_policy(sync)
    named = [] if decided is None else [(decided.policy_digest, decided.decided_at)]
    named += [] if loaded is None else [(loaded.policy_digest, loaded.decided_at)]
    for digest, at in named:
        if not history.lacks(digest, at=at):
            continue
        try:
            consent = None if decided is None else decided.consent
            history.add(policy_archive().policy(digest), at=datetime.now(UTC), consent=consent)
        except RefusedError:
            history.declare_whole(at=datetime.now(UTC))
            log.warning(
                "sync `%s`: its last policy (%s) is lost. Look at who is added by the next run: its policy is "
                "compared with no other one",
                sync,
                short(digest),
            )
        else:
            log.info("sync `%s`: its last policy (%s) is from the archive of policies", sync, short(digest))


def _history(workspace: str | None, model: str, destination: str) -> PolicyHistory:
    from airflow_consent_retl.storage.location import policy_folder
    from airflow_consent_retl.storage.policy_history import PolicyHistory

    return PolicyHistory(policy_folder(workspace, model, destination))
