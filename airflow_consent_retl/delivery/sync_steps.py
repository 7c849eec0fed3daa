"""The steps of a sync: find changes, check the limits, begin a delivery, resolve an earlier one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, NoReturn

from airflow_consent_retl.consent import EXPLICIT
from airflow_consent_retl.delivery.found_changes import takes_back
from airflow_consent_retl.delivery.mapped import is_edited
from airflow_consent_retl.delivery.protocol import carry_out, resolve
from airflow_consent_retl.delivery.retrying import people_to_retry
from airflow_consent_retl.delivery.run import WITHDRAWALS, DeliveryRun
from airflow_consent_retl.delivery.sharing import SharedTarget, check_target_shared
from airflow_consent_retl.delivery.steps import Step, reached
from airflow_consent_retl.delivery.target import settle_target, target_of
from airflow_consent_retl.errors import ConfigurationError, GuardError
from airflow_consent_retl.storage.sync_mode import SyncMode

if TYPE_CHECKING:
    from airflow_consent_retl.changes.store import OnField
    from airflow_consent_retl.changes.warehouse_delivered import WarehouseState
    from airflow_consent_retl.delivery.context import SyncContext
    from airflow_consent_retl.delivery.ledger.records import Delivery, SourceRecord
    from airflow_consent_retl.delivery.recheck import Recheck
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.filtering.permitted import PermittedRows
    from airflow_consent_retl.storage.change_set import Changes
    from airflow_consent_retl.storage.decision_log import SubjectKey
    from airflow_consent_retl.storage.delivered import DeliveredState

# The same rows with another mode, or with another meaning of a load, are another load.
_KEY_VERSION = "load/1"


def load_key(permitted: PermittedRows, mode: SyncMode) -> str:
    """Return the key of a load: the same for every try, and for every slice, of the same rows."""
    return hashlib.sha256(f"{_KEY_VERSION}:{permitted.key}:{mode}".encode()).hexdigest()


class SyncSteps:
    """The steps of one model at one destination instance, while the lease is valid.

    Args:
        context: lease, store, destination, settings and log of the sync.

    Raises:
        ConfigurationError: the destination cannot remove people, or it is not the one that the sync delivered to.
    """

    is_plan: ClassVar[bool] = False
    """True if nothing is sent, and the counts say what a run would do."""

    def __init__(self, context: SyncContext) -> None:
        self._context = context
        self._lease = context.lease
        # Only for questions about the destination: each delivery builds and opens its own.
        self._destination = context.build()
        self._check_destination()
        reached(Step.LEASED)

    def check_lease(self) -> None:
        """Return while the lease is certainly this task's, otherwise raise `LeaseLostError`."""
        self._lease.check()

    def state(self) -> DeliveredState | WarehouseState | None:
        """Return the present version of the delivered state, None before the first load."""
        return self._context.state()

    @property
    def can_remove(self) -> bool:
        """Whether the destination can remove people."""
        return self._destination.can_remove

    @property
    def _on_field(self) -> OnField:
        """What is done about a withdrawn field between loads, which send rows without it."""
        if not self._destination.can_remove:
            return "leave"
        return "clear" if self._destination.can_clear else "remove"

    @property
    def _takes_back_later(self) -> bool:
        """Whether people who are withheld are removed when the rest was sent."""
        return self._destination.can_remove and not self._destination.replaces

    @property
    def delivered_rows(self) -> int:
        """How many people are, or may be, delivered."""
        current = self._lease.current()
        return 0 if current is None else current.rows

    def _check_destination(self) -> None:
        destination = self._destination
        if not (destination.can_remove or destination.replaces or self._context.settings.accept_no_removal):
            raise ConfigurationError(
                f"{type(destination).__name__} cannot remove people: those who withdraw consent would stay there. "
                "Accept that with accept_no_removal=True, or choose another destination"
            )
        settings, target = self._context.settings, target_of(destination, self._context.key)
        settle_target(self._lease, destination, target, moved_from=settings.moved_from, log=self._context.log)
        others = check_target_shared(self._lease, destination, target, shares=settings.shares_target_with)
        self._context = replace(
            self._context, shared=SharedTarget(others, self._context.store.folder, self._context.log)
        )

    def _accepts_batches_of(self, delivery: Delivery) -> bool:
        limits = self._destination.limits
        removal_rows = limits.removal_rows or limits.batch_rows
        return delivery.send_rows <= limits.batch_rows and delivery.remove_rows <= removal_rows

    def _is_nothing(self, changes: Changes) -> bool:
        manifest = changes.manifest
        return not (self._destination.replaces or manifest.upsert_rows or takes_back(changes))

    def _resolve(self, delivery: Delivery | None) -> None:
        if delivery is not None:
            resolve(DeliveryRun(self._context, delivery, self._context.changes_of(delivery)))

    def _find_changes(self, permitted: PermittedRows, subject_key: SubjectKey, *, adds: bool) -> Changes:
        state = self._context.state()
        return self._context.store.compare(
            permitted,
            state,
            mode=SyncMode.FULL if self._destination.replaces else self._context.settings.mode,
            adds=adds,
            only=people_to_retry(self._context, self._destination),
            destination=self._destination,
            subject_key=subject_key,
            progress=self._context.progress("compared", permitted.rows + (state.rows if state else 0)),
            absent=self._context.settings.absent,
            required_before=self._lease.required(),
        )

    def _check_guards(self, changes: Changes, report: LoadReport) -> None:
        if exceeded := self._context.settings.guards.exceeded(changes.counts):
            self._stop(changes, exceeded, report)

    def _stop(self, changes: Changes, exceeded: Sequence[str], report: LoadReport) -> NoReturn:
        """Carry out explicit withdrawals, and nothing else."""
        explicit = self._context.store.only(changes, EXPLICIT)
        done = ""
        if takes_back(explicit):
            self._carry_out_removals(explicit, report)
            done = f"; {report.removed.accepted:,} explicit withdrawals were carried out"
            if report.cleared.accepted:
                done += f", and withdrawn fields of {report.cleared.accepted:,} people were cleared"
        raise GuardError(f"`{changes.manifest.destination}`: nothing was sent: {'; '.join(exceeded)}{done}")

    def _check_edited(self, permitted: PermittedRows, changes: Changes, report: LoadReport) -> None:
        """Refuse the edited query of a mapped task whose mode keeps people, if it lacks most of them.

        It may be the query of another sync: then no later run would see who of them withdraws.
        """
        counts, limit = changes.counts, self._context.settings.guards.max_removed_ratio
        if self._context.map_index is None or limit is None or counts.kept_left_model <= limit * counts.delivered:
            return
        if is_edited(self._lease.newest().source, permitted.manifest):
            exceeded = (
                f"the query of this mapped task was edited, and {counts.kept_left_model:,} of {counts.delivered:,} "
                f"people delivered before are not in its rows, max_removed_ratio is {limit}; the mode "
                f"`{changes.manifest.mode}` keeps them, and a withdrawal of theirs would not be seen. If it is the "
                "right query, set a higher max_removed_ratio for one run"
            )
            self._stop(changes, [exceeded], report)

    def _carry_out_removals(self, changes: Changes, report: LoadReport) -> list[str]:
        """Deliver changes that have removals only, and return the ids of requests that are still processed."""
        key = hashlib.sha256(f"{WITHDRAWALS}:{changes.sha256}".encode()).hexdigest()
        report.count_changes(changes.counts)
        return self._carry_out(self._begin(WITHDRAWALS, key, changes), report, recheck=None)

    def _carry_out(self, run: DeliveryRun, report: LoadReport, *, recheck: Recheck | None) -> list[str]:
        return carry_out(run, report, recheck=recheck)

    def _begin(self, kind: str, key: str, changes: Changes, source: SourceRecord | None = None) -> DeliveryRun:
        limits = self._destination.limits
        delivery = self._lease.begin(
            key=key,
            kind=kind,
            changes_uri=changes.folder.uri,
            changes_sha256=changes.sha256,
            decided_at=changes.manifest.decided_at,
            send_rows=limits.batch_rows,
            remove_rows=limits.removal_rows or limits.batch_rows,
            source=source,
        )
        return DeliveryRun(self._context, delivery, changes)
