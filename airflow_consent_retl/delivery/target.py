"""The target of a sync: where its rows end up, as the ledger records it, and the refusal of another one.

A destination names its place as text. What may be secret, such as a header that names a tenant, it names apart, and it
is recorded as a keyed digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.decision_log import SubjectKey


class SyncTarget(NamedTuple):
    """The text that identifies a target, and the texts for the same target under the keys that were replaced."""

    text: str
    earlier: tuple[str, ...] = ()


def target_of(destination: Destination, key: Callable[[], SubjectKey]) -> SyncTarget:
    """Return the texts that identify a destination's target; an empty one where the destination names none.

    Args:
        destination: not opened.
        key: returns the key of the digests; called only where the destination names what may be secret.
    """
    details = destination.target_details
    if not details:
        return SyncTarget(destination.target)

    def under(keyed: SubjectKey) -> str:
        digests = ", ".join(f"{name} #{keyed.digest_of_text(value)}" for name, value in sorted(details.items()))
        return f"{destination.target} with {digests} under key {keyed.key_id}"

    present = key()
    return SyncTarget(under(present), tuple(map(under, present.earlier)))


def settle_target(
    lease: Lease, destination: Destination, target: SyncTarget, *, moved_from: str | None, log: TaskLog
) -> None:
    """Record the target of a sync, or refuse one to which the sync did not deliver before.

    The text that an earlier release, or an earlier key, recorded for the same place is replaced by the new one.

    Args:
        lease: of the sync.
        destination: not opened.
        target: from `target_of`.
        moved_from: the recorded target from which the people were moved to this one.
        log: the task's.

    Raises:
        ConfigurationError: people were delivered to another target.
    """
    accepted = [*target.earlier, *destination.former_targets, *([moved_from] if moved_from else [])]
    recorded = lease.target(target.text, instead_of=accepted)
    if recorded == target.text:
        return
    if recorded in accepted:
        log.info("the sync's target, recorded as %s, is now recorded as %s", recorded, target.text)
        return
    raise ConfigurationError(
        f"sync `{lease.sync}` delivered to {recorded} before, now it would deliver to {target.text}, and the people "
        "delivered before could not be removed there. Empty the sync first with RetireSyncOperator, give the new "
        "target another destination instance in the policy and the DAG, or, if all of them were moved to the new "
        f"target, set moved_from to the text of the old one, exactly: {recorded!r}"
    )
