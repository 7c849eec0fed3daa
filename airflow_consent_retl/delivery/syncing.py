"""A sync under its lease: resolve what an earlier task left, find the changes, and deliver them.

Every step leaves a state from which the next try can continue: published changes, then a delivery that the ledger
knows, then intents and outcomes, then the next version of the delivered state, then the ledger's reference to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, ClassVar, Concatenate, ParamSpec

from airflow_consent_retl.consent import EXPLICIT, RemovalCause
from airflow_consent_retl.delivery.found_changes import log_changes, takes_back, too_few_found, were_delivered
from airflow_consent_retl.delivery.looking import look_at_target
from airflow_consent_retl.delivery.precedence import may_add, source_of
from airflow_consent_retl.delivery.protocol import carry_out, resolve
from airflow_consent_retl.delivery.removals_first import removals_first
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.delivery.retrying import people_to_retry
from airflow_consent_retl.delivery.run import LOAD, WITHDRAWALS, DeliveryRun
from airflow_consent_retl.delivery.sharing import SharedTarget, check_dag, check_target_shared
from airflow_consent_retl.delivery.steps import Step, reached
from airflow_consent_retl.delivery.target import settle_target, target_of
from airflow_consent_retl.delivery.unchanged import comparable_content, end_unchanged, end_without_changes
from airflow_consent_retl.errors import ConfigurationError, GuardError, RefusedError
from airflow_consent_retl.storage.change_set import Changes
from airflow_consent_retl.storage.sync_mode import SyncMode

if TYPE_CHECKING:
    from airflow_consent_retl.changes.store import OnField
    from airflow_consent_retl.changes.warehouse_delivered import WarehouseState
    from airflow_consent_retl.delivery.context import SyncContext
    from airflow_consent_retl.delivery.ledger.records import Delivery, SourceRecord
    from airflow_consent_retl.delivery.recheck import Recheck
    from airflow_consent_retl.filtering.asking import Ask
    from airflow_consent_retl.filtering.permitted import PermittedRows
    from airflow_consent_retl.storage.decision_log import SubjectKey
    from airflow_consent_retl.storage.delivered import DeliveredState
    from airflow_consent_retl.storage.forgotten import ForgottenPeople

# The same rows with another mode, or with another meaning of a load, are another load.
_KEY_VERSION = "load/1"


MakeRecheck = Callable[[Changes], AbstractContextManager["Recheck | None"]]
P = ParamSpec("P")


def _lease_before_refusal(
    method: Callable[Concatenate[Sync, P], list[str]],
) -> Callable[Concatenate[Sync, P], list[str]]:
    """Report a lost lease rather than a refusal: files that the next task replaced look like deleted files."""

    @wraps(method)
    def checked(self: Sync, /, *args: P.args, **kwargs: P.kwargs) -> list[str]:
        try:
            return method(self, *args, **kwargs)
        except RefusedError:
            self.check_lease()
            raise

    return checked


class Sync:
    """One model at one destination instance, while the lease is valid.

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

    @_lease_before_refusal
    def load(
        self,
        permitted: PermittedRows,
        report: LoadReport,
        *,
        subject_key: SubjectKey,
        make_recheck: MakeRecheck | None,
        asks_again: bool = True,
        ask: Ask | None = None,
    ) -> list[str]:
        """Make the destination match a permitted set; count in `report` what was done, also if it fails.

        Args:
            permitted: the verified rows.
            report: empty.
            subject_key: the key of the filter's decision log.
            make_recheck: makes what asks again, for the people about to be sent; None: nothing is asked.
            asks_again: whether it asks the source for consent, and does not only read the suppression list.
            ask: asks the source for the present consent of all people, if the load fails before it could find or carry
                out the removals; None: consent cannot be asked again.

        Returns:
            The ids of requests that the destination still processes: call again later, with the same rows.

        Raises:
            OvertakenError: a newer decision was delivered before.
            RefusedError: newer data were delivered before, or a file was changed.
            GuardError: the changes exceed a limit. Explicit withdrawals were removed all the same.
            ConfigurationError, DestinationError: another try does not help. Removals, which need only the key, were
                carried out all the same, or the message says how many people wait.
            DestinationUnavailableError, LedgerUnavailableError, LeaseLostError, SourceUnavailableError: the next try
                resumes the load.
        """
        check_dag(self._lease, self._context.dag, shares=self._context.settings.shares_sync_with_dags)
        key = self._load_key(permitted)
        delivery = self._lease.open_delivery()
        if delivery is not None and delivery.key == key and self._accepts_batches_of(delivery):
            report.resumed = True
            run = DeliveryRun(self._context, delivery, self._context.changes_of(delivery))
            self._context.log.info("resuming the load that an earlier try began at %s", f"{delivery.began_at:%F %T %Z}")
        else:
            self._resolve(delivery)
            reached(Step.RESOLVED)
            adds = may_add(self._context, permitted, asks_again=asks_again and make_recheck is not None)
            content = comparable_content(self._context, self._destination, permitted, adds=adds)
            with removals_first(self, report, ask=ask):
                if content is not None and content == self._lease.exact_rows():
                    end_unchanged(self._context, permitted, report)
                    return []
                look_at_target(self._context, self._context.state())
                changes = self._find_changes(permitted, subject_key, adds=adds)
            reached(Step.CHANGES_PUBLISHED)
            log_changes(changes, self._context.log, replaces=self._destination.replaces)
            self._check_guards(changes, report)
            report.count_changes(changes.counts)
            if self._is_nothing(changes):
                schema = changes.shape.load_schema
                end_without_changes(self._context, permitted, report, schema=schema, content=content)
                return []
            self._lease.note_required(permitted.counts.required)
            run = self._begin(LOAD, key, changes, source_of(self._context, permitted))
            reached(Step.BEGUN)
        report.delivery = run.delivery.id
        report.count_changes(run.changes.counts)
        with nullcontext() if make_recheck is None else make_recheck(run.changes) as recheck:
            with removals_first(self, report, ask=ask, run=run):
                waiting = self._carry_out(run, report, recheck=recheck)
            late = None if waiting or recheck is None else self._late(run.changes, report, recheck)
        if late is not None:
            # Their new values were not sent: without a removal, the destination would keep the old ones until the next
            # run.
            removed = LoadReport(permitted=0)
            waiting = self.withdraw(late, removed)
            report.removed.join(removed.removed)
            report.cleared.join(removed.cleared)
        self._context.sweep()
        return waiting

    @_lease_before_refusal
    def withdraw(self, ask: Ask, report: LoadReport) -> list[str]:
        """Remove every person who was delivered and is not permitted by the source any more, and clear fields.

        A field is cleared of people who were sent it, and who are permitted without it now.

        People who only left the model stay, unless the settings say that absence is a withdrawal: a load decides about
        them, by its mode.

        Args:
            ask: asks the source for the present consent of all people.
            report: counts what was removed.

        Returns, Raises: as `load`. A `GuardError` also says that the answer contains too few of the people delivered;
        everyone else was removed all the same.
        """
        self._resolve(self._lease.open_delivery())
        state = self._context.state()
        if state is None:
            # A delivery that never began leaves files.
            self._context.sweep()
            return []
        look_at_target(self._context, state)
        settings, policy_digest = self._context.settings, self._context.policy_digest()
        lost = self._context.store.lost(
            state, ask, absent=settings.absent, on_field=self._on_field, policy_digest=policy_digest
        )
        report.found, report.absent = lost.found, lost.absent
        least = settings.min_found_ratio
        too_few = "" if least is None else too_few_found(lost, least=least, sync=self._lease.sync)
        if lost.changes is None:
            waiting = []
            # A delivery that was resolved leaves files.
            self._context.sweep()
        else:
            changes = lost.changes
            if too_few:
                # An answer that lacks most people is no proof that they withdrew.
                changes = self._context.store.only(changes, set(RemovalCause) - {self._context.settings.absent})
            waiting = self._remove_lost(changes, lost.moments, report)
        if too_few:
            raise GuardError(too_few)
        return waiting

    @_lease_before_refusal
    def retire(self, report: LoadReport) -> list[str]:
        """Remove everyone who is, or may be, delivered, without asking the source.

        Args:
            report: counts what was removed.

        Returns, Raises: as `load`. A person whom an earlier request may still bring back stays in the delivered state.
        """
        self._resolve(self._lease.open_delivery())
        state = self._context.state()
        if state is None or not state.rows:
            return []
        if not self._destination.can_remove:
            raise ConfigurationError(
                f"`{state.manifest.destination}` cannot remove people, so sync `{self._lease.sync}` cannot be emptied: "
                f"{state.rows:,} people are there. Remove them there by hand, then declare them gone with "
                "AdoptDeliveredStateOperator(gone=True)"
            )
        look_at_target(self._context, state)
        return self._remove_lost(self._context.store.everyone(state), [], report)

    @_lease_before_refusal
    def forget(self, people: ForgottenPeople, report: LoadReport) -> list[str]:
        """Remove some people, whether the source permits them or not.

        Args:
            people: who is removed.
            report: counts what was removed.

        Returns, Raises: as `load`. A person whom an earlier request may still bring back stays in the delivered state.
        """
        self._resolve(self._lease.open_delivery())
        state = self._context.state()
        if state is None or not state.rows or not self._destination.can_remove:
            return []
        changes = self._context.store.removal_of(state, people)
        if changes is None:
            return []
        look_at_target(self._context, state)
        return self._remove_lost(changes, [], report)

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

    def _remove_lost(self, changes: Changes, moments: Sequence[datetime], report: LoadReport) -> list[str]:
        if not takes_back(changes):
            return []
        self._check_guards(changes, report)
        self._lease.note_withdrawals()
        waiting = self._carry_out_removals(changes, report)
        self._context.sweep()
        if not waiting and not report.not_taken_back:
            confirmed = datetime.now(UTC)
            report.lags_s = [(confirmed - withdrawn).total_seconds() for withdrawn in moments]
        return waiting

    @property
    def delivered_rows(self) -> int:
        """How many people are, or may be, delivered."""
        current = self._lease.current()
        return 0 if current is None else current.rows

    def remove_only(self, changes: Changes, causes: Collection[RemovalCause], report: LoadReport) -> list[str]:
        """Remove the people that these changes name, in place of a delivery of them that never began.

        Returns, Raises: as `load`.
        """
        removals = self._context.store.only(changes, causes)
        if not takes_back(removals):
            return []
        self._resolve(self._lease.open_delivery())
        return self._carry_out_removals(removals, report)

    def _late(self, changes: Changes, report: LoadReport, recheck: Recheck) -> Ask | None:
        """Return how to ask who must be removed, if people were withheld who may have been delivered before."""
        if not len(recheck.withheld):
            return None
        causes = ", ".join(f"{cause} {len(found):,}" for cause, found in sorted(recheck.causes.items()))
        self._context.log.info("withheld, because permission ended after the filter: %s", causes)
        if recheck.ask is None or self._destination.replaces or not self._destination.can_remove:
            # Without a source to ask, only forgotten people are withheld: whoever forgot them removes them.
            return None
        return recheck.ask if report.sent.unconfirmed or were_delivered(changes, recheck) else None

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
        exceeded = self._context.settings.guards.exceeded(changes.counts)
        if not exceeded:
            return
        explicit = self._context.store.only(changes, EXPLICIT)
        done = ""
        if takes_back(explicit):
            self._carry_out_removals(explicit, report)
            done = f"; {report.removed.accepted:,} explicit withdrawals were carried out"
            if report.cleared.accepted:
                done += f", and withdrawn fields of {report.cleared.accepted:,} people were cleared"
        raise GuardError(f"`{changes.manifest.destination}`: nothing was sent: {'; '.join(exceeded)}{done}")

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

    def _load_key(self, permitted: PermittedRows) -> str:
        identity = f"{_KEY_VERSION}:{permitted.key}:{self._context.settings.mode}"
        return hashlib.sha256(identity.encode()).hexdigest()
