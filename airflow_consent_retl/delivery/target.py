"""The target of a sync: where its rows end up, as the ledger records it, and the refusal of another one.

A destination names its place as text. What may be secret, such as a header that names a tenant, it names apart, and it
is recorded as a keyed digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.decision_log import SubjectKey


def target_of(destination: Destination, key: Callable[[], SubjectKey]) -> str:
    """Return the text that identifies a destination's target; empty where the destination names none.

    Args:
        destination: not opened.
        key: returns the key of the digests; called only where the destination names what may be secret.
    """
    details = destination.target_details
    if not details:
        return destination.target
    keyed = key()
    digests = ", ".join(f"{name} #{keyed.digest_of_text(value)}" for name, value in sorted(details.items()))
    return f"{destination.target} with {digests} under key {keyed.key_id}"


def settle_target(lease: Lease, destination: Destination, target: str, *, moved_from: str | None, log: TaskLog) -> None:
    """Record the target of a sync, or refuse one to which the sync did not deliver before.

    The text that an earlier release recorded for the same place is replaced by the new one.

    Args:
        lease: of the sync.
        destination: not opened.
        target: from `target_of`.
        moved_from: the recorded target from which the people were moved to this one.
        log: the task's.

    Raises:
        ConfigurationError: people were delivered to another target.
    """
    accepted = [*destination.former_targets, *([moved_from] if moved_from else [])]
    recorded = lease.target(target, instead_of=accepted)
    if recorded == target:
        return
    if recorded in accepted:
        log.info("the sync's target, recorded as %s, is now recorded as %s", recorded, target)
        return
    raise ConfigurationError(
        f"sync `{lease.sync}` delivered to {recorded} before, now it would deliver to {target}, and the people "
        "delivered before could not be removed there. Empty the sync first with RetireSyncOperator, give the new "
        "target another destination instance in the policy and the DAG, or, if all of them were moved to the new "
        f"target, set moved_from to the text of the old one, exactly: {recorded!r}"
    )
