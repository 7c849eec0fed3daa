"""Targets and syncs that are shared: refused unless both sides declare it, and what a removal then leaves in place.

Two syncs with one target would each remove whom the other delivers. Where both declare that they share it, a person is
removed there only when no sync has the person any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.delivered import DeliveredState

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.delivery.ledger.neighbours import OtherSync
    from airflow_consent_retl.delivery.target import SyncTarget
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.change_set import Changes
    from airflow_consent_retl.storage.sync_folder import SyncFolder

# The person left the sync, and stays at the target: another sync has them.
KEPT_AT_TARGET = Outcome(RowStatus.ACCEPTED, "another_sync_has_the_person")
_READ_ROWS = 65_536
_Values = tuple[str | None, ...]


def check_target_shared(
    lease: Lease, destination: Destination, target: SyncTarget, *, shares: Sequence[str]
) -> list[OtherSync]:
    """Return the other syncs with people at the same target, if all of them share it, and record what is declared.

    Args:
        lease: of the sync.
        destination: not opened.
        target: from `target_of`.
        shares: the names of the syncs that the DAG declares.

    Raises:
        ConfigurationError: one of the two sides did not declare that the target is shared, or a sync that was adopted
            could have its people there.
    """
    lease.declare_shares(shares)
    unplaced = [other for other in lease.unplaced() if other not in shares] if target.text else []
    if unplaced:
        raise ConfigurationError(
            f"sync `{lease.sync}` is new, and {_list(unplaced)} has people at a place that the ledger "
            "does not know, since it was adopted and did not run: they could be at this target. Run its load or "
            "PropagateWithdrawalsOperator once, hand it over, or retire it"
        )
    texts = (target.text, *target.earlier)
    others = lease.others_at(lambda text: text in texts or destination.is_same_target(text)) if target.text else []
    silent = [other.sync for other in others if lease.sync not in other.shares]
    undeclared = [other.sync for other in others if other.sync not in shares]
    if undeclared or silent:
        raise ConfigurationError(
            f"sync `{lease.sync}` would deliver to {target.text}, where {_list(undeclared or silent)} has people too: "
            "each would remove whom the other delivers. Give one of them another target; or, if they share it on "
            "purpose, set shares_target_with on the loads of both, and run the load that was there first once with it"
        )
    if others and destination.replaces:
        raise ConfigurationError(
            f"{target.text} cannot be shared by {_list([lease.sync, *(other.sync for other in others)])}: each load "
            "replaces everything there"
        )
    return others


def check_dag(lease: Lease, dag: str | None, *, shares: Sequence[str]) -> None:
    """Record which DAG serves a sync, and refuse another one.

    Args:
        lease: of the sync.
        dag: the id of the DAG; None: there is none.
        shares: the ids of other DAGs that serve the sync too.

    Raises:
        ConfigurationError: another DAG serves the sync, and one of the two did not declare it.
    """
    if dag is None:
        return
    before = lease.serve(dag, shares)
    if before.dag in (None, dag) or (before.dag in shares and dag in before.shares):
        return
    raise ConfigurationError(
        f"sync `{lease.sync}` is served by DAG `{before.dag}`, and DAG `{dag}` would remove whom it delivers: give the "
        "model of one of them another name. If the DAG was renamed, hand the sync over to the new name with "
        "HandOverSyncOperator or `consent-retl hand-over`; if both serve it on purpose, set "
        "shares_sync_with_dags on the loads of both, and run the one that was there first once with it"
    )


class SharedTarget:
    """The people whom other syncs still have at the same target: they are not removed there.

    Args:
        others: from `check_target_shared`.
        folder: of this sync.
        log: the task's.
    """

    def __init__(self, others: Sequence[OtherSync], folder: SyncFolder, log: TaskLog) -> None:
        self._others = others
        self._folder = folder
        self._log = log

    def kept_of(self, changes: Changes) -> set[_Values]:
        """Return the removal values of the people of these changes whom another sync has.

        Raises:
            ConfigurationError: another sync removes people by other fields, or its people are in a warehouse.
            RefusedError: a file was changed.
        """
        if not self._others:
            return set()
        names = changes.shape.removal_schema.names
        leaving = {values for some in changes.removals(_READ_ROWS) for values in _values(some.rows)}
        kept: set[_Values] = set()
        for other in self._others:
            if other.current is not None:
                kept |= leaving.intersection(self._people(other, names))
        if kept:
            self._log.info(
                "%s people leave this sync and stay at the target: %s has them",
                f"{len(kept):,}",
                _list([other.sync for other in self._others]),
            )
        return kept

    def _people(self, other: OtherSync, names: Sequence[str]) -> Iterator[_Values]:
        current = other.current
        if current is None:
            return
        state = DeliveredState(self._folder.of(other.sync).open(current.uri), sha256=current.sha256)
        if sorted(state.shape.removal_schema.names) != sorted(names):
            raise ConfigurationError(
                f"sync `{other.sync}` shares the target and removes people by other fields: map the same key field "
                "in both"
            )
        state.verify()
        for rows in state.folder.read_rows(state.manifest.parts, columns=["removal"], batch_rows=_READ_ROWS):
            removal = rows.column(0)
            found = [removal.field(name) for name in names]
            yield from _values(pa.RecordBatch.from_arrays(found, names=list(names)))


def remove_unless_kept(destination: Destination, batch: Batch, kept: Collection[_Values]) -> Outcomes:
    """Have a destination remove people, except those who are kept: they count as removed from this sync."""
    if not kept:
        return destination.remove(batch)
    left = [values not in kept for values in _values(batch.rows)]
    places = [row for row, is_left in enumerate(left) if is_left]
    rows = batch.rows.num_rows
    if not places:
        return Outcomes(rows, KEPT_AT_TARGET)
    if len(places) == rows:
        return destination.remove(batch)
    key = hashlib.sha256(f"{batch.key}:of:{places}".encode()).hexdigest()
    removed = destination.remove(Batch(key=key, rows=batch.rows.filter(pa.array(left))))
    here = Outcomes(len(removed), exceptions=dict(enumerate(removed)), requests=removed.requests)
    return here.at_rows(places, rows, others={row: KEPT_AT_TARGET for row in range(rows) if not left[row]})


def _values(rows: pa.RecordBatch) -> Iterator[_Values]:
    columns = [column.to_pylist() for column in rows.columns]
    for values in zip(*columns, strict=True):
        yield tuple(None if value is None else str(value) for value in values)


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
