"""One sync under its lease: what an earlier worker left is resolved first, then changes are found and carried out.

Every step leaves a state from which the next try goes on: published changes, then a delivery that the ledger knows,
then intents and outcomes, then the next version of the delivered state, then the ledger's pointer to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from airflow_consent_retl.changes.fold import BatchResult
from airflow_consent_retl.consent import RemovalCause
from airflow_consent_retl.contract.outcomes import Outcomes, RowStatus
from airflow_consent_retl.delivery.protocol import Running, confirm_pending
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.delivery.run import LOAD, WITHDRAWALS, Carrier, MakeProgress
from airflow_consent_retl.delivery.steps import Step, reached
from airflow_consent_retl.errors import ConfigurationError, GuardError, RefusedError
from airflow_consent_retl.storage.change_set import Changes
from airflow_consent_retl.storage.sync_mode import SyncMode

if TYPE_CHECKING:
    from airflow_consent_retl.changes.store import SyncStore
    from airflow_consent_retl.changes.warehouse_delivered import WarehouseState
    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.delivery.ledger.records import Delivery
    from airflow_consent_retl.delivery.recheck import Recheck
    from airflow_consent_retl.delivery.settings import SyncSettings
    from airflow_consent_retl.filtering.asking import Ask
    from airflow_consent_retl.filtering.permitted import PermittedRows
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.decision_log import SubjectKey
    from airflow_consent_retl.storage.delivered import DeliveredState

# A change of mode or of what a load does makes another load of the same rows.
_KEY_VERSION = "load/1"
_SCAN_ROWS = 65_536


MakeRecheck = Callable[[Changes], AbstractContextManager["Recheck | None"]]
P = ParamSpec("P")


def _refused_to_a_holder(
    method: Callable[Concatenate[LeasedSync, P], list[str]],
) -> Callable[Concatenate[LeasedSync, P], list[str]]:
    """Tell a refusal from a lost lease: what the next task has replaced looks like a file that somebody deleted."""

    @wraps(method)
    def checked(self: LeasedSync, /, *args: P.args, **kwargs: P.kwargs) -> list[str]:
        try:
            return method(self, *args, **kwargs)
        except RefusedError:
            self.check_lease()
            raise

    return checked


class LeasedSync:
    """One model at one destination instance, for as long as the lease is held.

    Args:
        lease: of the sync.
        store: where its changes and its delivered state live.
        build: makes the destination anew, not yet opened.
        settings: what the DAG wants.
        log: the task's.
        progress: makes what is called with numbers of rows, from a verb and their total.

    Raises:
        ConfigurationError: the destination cannot remove people, or it is another one than before.
    """

    def __init__(
        self,
        lease: Lease,
        store: SyncStore[Any, Any],
        build: Callable[[], Destination],
        settings: SyncSettings,
        log: TaskLog,
        *,
        progress: MakeProgress = lambda verb, rows: lambda done: None,
    ) -> None:
        self._lease = lease
        self._store = store
        self._settings = settings
        self._log = log
        self._carrier = Carrier(lease, store, build, settings, log, progress=progress)
        self._check_destination()
        reached(Step.LEASED)

    def check_lease(self) -> None:
        """Return while the sync is surely this task's, otherwise raise `LeaseLostError`."""
        self._lease.check()

    def state(self) -> DeliveredState | WarehouseState | None:
        """Return the present version of who is delivered, None before the first load."""
        return self._carrier.state()

    @_refused_to_a_holder
    def load(
        self, permitted: PermittedRows, report: LoadReport, *, subject_key: SubjectKey, make_recheck: MakeRecheck | None
    ) -> list[str]:
        """Bring the destination up to a permitted set, and count in `report` what was done, also where it fails.

        Args:
            permitted: the verified rows.
            report: begins empty.
            subject_key: of the filter's decision log.
            make_recheck: makes what asks for consent again, for the people about to be sent; None: nobody can be asked.

        Returns:
            The ids of requests that the destination still processes: call again later, with the same rows.

        Raises:
            RefusedError: a newer decision was delivered before, or a file was changed.
            GuardError: a limit would be passed; explicit withdrawals were carried out all the same.
            ConfigurationError, DestinationError: not worth another try.
            DestinationUnavailableError, LedgerUnavailableError, LeaseLostError, SourceUnavailableError: the next try
                goes on where this one ended.
        """
        key = self._load_key(permitted)
        delivery = self._lease.open_delivery()
        if delivery is not None and delivery.key == key and self._takes_batches_of(delivery):
            report.resumed = True
            changes = self._changes_of(delivery)
            self._log.info("going on with the load that an earlier try began at %s", f"{delivery.began_at:%F %T %Z}")
        else:
            self._resolve(delivery)
            reached(Step.RESOLVED)
            changes = self._find_changes(permitted, subject_key, asks_again=make_recheck is not None)
            reached(Step.CHANGES_PUBLISHED)
            self._log_changes(changes)
            self._check_guards(changes, report)
            report.found(changes.counts)
            if self._is_nothing(changes):
                self._lease.note_decision(permitted.manifest.decided_at)
                self._carrier.sweep()
                return []
            delivery = self._begin(LOAD, key, changes)
            reached(Step.BEGUN)
        report.found(changes.counts)
        with nullcontext() if make_recheck is None else make_recheck(changes) as recheck:
            waiting = self._carrier.carry_out(delivery, changes, report, recheck=recheck)
            late = None if waiting or recheck is None else self._late(changes, report, recheck)
        if late is not None:
            # Not sent their news, they would keep the old until the next run.
            removed = LoadReport(permitted=0)
            waiting = self.withdraw(late, removed)
            report.removed.join(removed.removed)
        self._carrier.sweep()
        return waiting

    def _late(self, changes: Changes, report: LoadReport, recheck: Recheck) -> Ask | None:
        """Return how to ask who has to be removed because they were withheld, though they may have been delivered."""
        if not len(recheck.withheld):
            return None
        causes = ", ".join(f"{cause} {len(found):,}" for cause, found in sorted(recheck.causes.items()))
        self._log.info("withheld, since their permission ended after the filter: %s", causes)
        destination = self._carrier.destination
        if destination.replaces or not destination.can_remove:
            return None
        return recheck.ask if report.sent.unconfirmed or _were_delivered(changes, recheck) else None

    @_refused_to_a_holder
    def withdraw(self, ask: Ask, report: LoadReport) -> list[str]:
        """Remove everybody who was delivered and whom the source does not permit any more.

        Who merely left the model stays: that is for a load to decide, whose mode says so.

        Args:
            ask: asks the source for the present consent of everybody.
            report: counts what was removed.

        Returns, Raises: as `load`.
        """
        delivery = self._lease.open_delivery()
        self._resolve(delivery)
        state = self._carrier.state()
        if state is None:
            return []
        lost = self._store.lost(state, ask)
        changes = lost.changes
        if changes is None:
            return []
        self._check_guards(changes, report)
        self._lease.note_withdrawals()
        key = hashlib.sha256(f"{WITHDRAWALS}:{changes.sha256}".encode()).hexdigest()
        report.found(changes.counts)
        waiting = self._carrier.carry_out(self._begin(WITHDRAWALS, key, changes), changes, report, recheck=None)
        self._carrier.sweep()
        if not waiting and report.removed.accepted == report.removed.planned:
            confirmed = datetime.now(UTC)
            report.lags_s = [(confirmed - moment).total_seconds() for moment in lost.moments]
        return waiting

    def _check_destination(self) -> None:
        destination = self._carrier.destination
        if not (destination.can_remove or destination.replaces or self._settings.accept_no_removal):
            raise ConfigurationError(
                f"{type(destination).__name__} cannot remove people: whoever withdraws consent would stay there. "
                "Accept that with accept_no_removal=True, or choose another destination"
            )
        recorded = self._lease.target(destination.target)
        if recorded != destination.target:
            raise ConfigurationError(
                f"sync `{self._lease.sync}` delivered to {recorded} before, now it would to {destination.target}, and "
                "forget those people there: give the new one another destination instance in the policy and the DAG"
            )

    def _takes_batches_of(self, delivery: Delivery) -> bool:
        limits = self._carrier.destination.limits
        removal_rows = limits.removal_rows or limits.batch_rows
        return delivery.send_rows <= limits.batch_rows and delivery.remove_rows <= removal_rows

    def _is_nothing(self, changes: Changes) -> bool:
        manifest = changes.manifest
        return not (self._carrier.destination.replaces or manifest.upsert_rows or manifest.removal_rows)

    def _resolve(self, delivery: Delivery | None) -> None:
        """Take into the delivered state what a delivery came to that nobody will go on with."""
        if delivery is None:
            return
        changes = self._changes_of(delivery)
        running = Running(lease=self._lease, delivery=delivery, changes=changes, destination=self._carrier.destination)
        attempts = self._lease.attempts(delivery)
        if not attempts:
            self._lease.drop(delivery)
            return
        self._log.info("an earlier task left a delivery begun at %s: resolving it", f"{delivery.began_at:%F %T %Z}")
        if self._carrier.destination.replaces:
            # Nobody knows whether it was published.
            rows, at = changes.manifest.upsert_rows, datetime.now(UTC)
            unknown = Outcomes.uncertain(rows, "never_ended")
            sends = [BatchResult(start=0, outcomes=unknown, unsettled_until=None, at=at)] if rows else []
            self._carrier.advance(delivery, changes, sends=sends, removes=[])
            return
        if any(o.status is RowStatus.PENDING for a in attempts if a.outcomes for o in a.outcomes.counts()):
            with self._carrier.opened(changes, key=delivery.key, rows=0):
                confirm_pending(running)
                running.destination.abort()
        self._carrier.fold(running)

    def _find_changes(self, permitted: PermittedRows, subject_key: SubjectKey, *, asks_again: bool) -> Changes:
        newest = self._lease.decided_at()
        if newest is not None and newest > permitted.manifest.decided_at:
            raise RefusedError(
                f"`{permitted.destination}` was brought up to a decision of {newest:%F %T %Z}; this one is older "
                f"({permitted.manifest.decided_at:%F %T %Z}) and never replaces it: run the filter again"
            )
        withdrawn = self._lease.withdrawn_at()
        if not asks_again and withdrawn is not None and withdrawn > permitted.manifest.decided_at:
            raise RefusedError(
                f"withdrawals were carried out after consent for `{permitted.destination}` was decided "
                f"({withdrawn:%F %T %Z}), and the source is not asked again: run the filter again"
            )
        state = self._carrier.state()
        mode = SyncMode.FULL if self._carrier.destination.replaces else self._settings.mode
        return self._store.compare(
            permitted,
            state,
            mode=mode,
            destination=self._carrier.destination,
            subject_key=subject_key,
            progress=self._carrier.progress("compared", permitted.rows + (state.rows if state else 0)),
        )

    def _check_guards(self, changes: Changes, report: LoadReport) -> None:
        passed = self._settings.guards.passed(changes.counts)
        if not passed:
            return
        explicit = self._store.only(changes, [RemovalCause.CONSENT_WITHDRAWN])
        done = ""
        if explicit.manifest.removal_rows:
            key = hashlib.sha256(f"{WITHDRAWALS}:{explicit.sha256}".encode()).hexdigest()
            report.found(explicit.counts)
            self._carrier.carry_out(self._begin(WITHDRAWALS, key, explicit), explicit, report, recheck=None)
            done = f"; {report.removed.accepted:,} explicit withdrawals were carried out"
        raise GuardError(f"`{changes.manifest.destination}`: nothing was sent: {'; '.join(passed)}{done}")

    def _begin(self, kind: str, key: str, changes: Changes) -> Delivery:
        limits = self._carrier.destination.limits
        return self._lease.begin(
            key=key,
            kind=kind,
            changes_uri=changes.folder.uri,
            changes_sha256=changes.sha256,
            decided_at=changes.manifest.decided_at,
            send_rows=limits.batch_rows,
            remove_rows=limits.removal_rows or limits.batch_rows,
        )

    def _changes_of(self, delivery: Delivery) -> Changes:
        if delivery.changes_uri is None:
            raise RefusedError(f"the changes of delivery {delivery.id} were deleted before it ended")
        changes = Changes(self._store.folder.open(delivery.changes_uri), sha256=delivery.changes_sha256)
        changes.verify()
        return changes

    def _load_key(self, permitted: PermittedRows) -> str:
        identity = f"{_KEY_VERSION}:{permitted.key}:{self._settings.mode}"
        return hashlib.sha256(identity.encode()).hexdigest()

    def _log_changes(self, changes: Changes) -> None:
        counts = changes.counts
        if counts.fields_changed:
            self._log.warning("the mapped fields changed: everybody delivered before counts as updated")
        self._log.info(
            "permitted %s = added %s + updated %s + unchanged %s + skipped %s; delivered before %s, to remove %s (%s)",
            *(f"{n:,}" for n in (counts.permitted, counts.added, counts.updated, counts.unchanged, counts.skipped)),
            f"{counts.delivered:,}",
            f"{changes.manifest.removal_rows:,}",
            ", ".join(f"{cause} {rows:,}" for cause, rows in counts.removed.items() if rows) or "nobody",
        )


def _were_delivered(changes: Changes, recheck: Recheck) -> bool:
    """Tell whether somebody who is withheld may be at the destination already."""
    return any(
        some.was_delivered[recheck.withheld_among(some.start, len(some.ids))].any()
        for some in changes.upserts(_SCAN_ROWS)
    )
