"""A sync under its lease: resolve what an earlier task left, find the changes, and deliver them.

Every step leaves a state from which the next try can continue: published changes, then a delivery that the ledger
knows, then intents and outcomes, then the next version of the delivered state, then the ledger's reference to it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.consent import RemovalCause
from airflow_consent_retl.delivery.dispatch import has_rows_to_send
from airflow_consent_retl.delivery.found_changes import (
    log_changes,
    silent_answers,
    takes_back,
    too_few_found,
    were_delivered,
)
from airflow_consent_retl.delivery.looking import look_at_target
from airflow_consent_retl.delivery.lost_lease import lease_before_refusal
from airflow_consent_retl.delivery.precedence import may_add, source_of
from airflow_consent_retl.delivery.protocol import take_back
from airflow_consent_retl.delivery.removals_first import removals_first
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.delivery.run import LOAD, DeliveryRun
from airflow_consent_retl.delivery.sharing import check_dag
from airflow_consent_retl.delivery.steps import Step, reached
from airflow_consent_retl.delivery.sync_steps import SyncSteps, load_key
from airflow_consent_retl.delivery.unchanged import end_unchanged, end_without_changes, is_delivered, note_delivered
from airflow_consent_retl.errors import ConfigurationError, DestinationUnavailableError, GuardError
from airflow_consent_retl.storage.change_set import Changes

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.recheck import Recheck
    from airflow_consent_retl.filtering.permitted import PermittedRows
    from airflow_consent_retl.filtering.subject_index import Ask
    from airflow_consent_retl.storage.decision_log import SubjectKey
    from airflow_consent_retl.storage.forgotten import ForgottenPeople


MakeRecheck = Callable[[Changes], AbstractContextManager["Recheck | None"]]


class Sync(SyncSteps):
    """One model at one destination instance, while the lease is valid.

    Args:
        context: lease, store, destination, settings and log of the sync.

    Raises:
        ConfigurationError: the destination cannot remove people, or it is not the one that the sync delivered to.
    """

    @lease_before_refusal
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
        run = self._begun(
            permitted, report, subject_key=subject_key, asks_again=asks_again and make_recheck is not None, ask=ask
        )
        if run is None:
            return []
        is_sent = report.resumed and not has_rows_to_send(run)
        with nullcontext() if make_recheck is None or is_sent else make_recheck(run.changes) as recheck:
            with removals_first(self, report, ask=ask, run=run):
                waiting = self._carry_out(run, report, recheck=recheck)
            if waiting:
                late = None
            elif recheck is None:
                # Earlier tries, or the slices of this load, may have withheld people who were delivered before.
                late = ask if report.resumed and report.sent.withheld and self._takes_back_later else None
            else:
                late = self._late(run.changes, report, recheck)
        if late is not None:
            # Their new values were not sent: without a removal, the destination would keep the old ones until the next
            # run.
            removed = LoadReport(permitted=0)
            waiting = self.withdraw(late, removed)
            report.removed.join(removed.removed)
            report.cleared.join(removed.cleared)
        elif not waiting:
            note_delivered(self._context, permitted, report)
        self._context.sweep()
        return waiting

    @lease_before_refusal
    def begin(
        self,
        permitted: PermittedRows,
        report: LoadReport,
        *,
        subject_key: SubjectKey,
        asks_again: bool,
        ask: Ask | None,
    ) -> DeliveryRun | None:
        """Do everything that comes before the first row is sent: find the changes, and remove who has to be removed.

        Slices send the rows, and `load` with the same rows ends the delivery.

        Returns:
            The open delivery; None: nothing is left to do.

        Raises: as `load`; and DestinationUnavailableError while the destination still processes removals.
        """
        if self._destination.replaces or not self._destination.takes_slices:
            raise ConfigurationError(
                f"{type(self._destination).__name__} takes no slices: one task sends each load. Leave `slices` out"
            )
        run = self._begun(permitted, report, subject_key=subject_key, asks_again=asks_again, ask=ask)
        if run is None:
            return None
        with removals_first(self, report, ask=ask, run=run):
            waiting = take_back(run, report)
        if waiting:
            raise DestinationUnavailableError(
                f"`{run.destination_name}` still processes {len(waiting):,} requests: the next try asks again"
            )
        return run

    @lease_before_refusal
    def withdraw(self, ask: Ask, report: LoadReport) -> list[str]:
        """Remove every person who was delivered and is not permitted by the source any more, and clear fields.

        A field is cleared of people who were sent it, and who are permitted without it now.

        People who only left the model stay, unless the settings say that absence is a withdrawal: a load decides about
        them, by its mode.

        Args:
            ask: asks the source for the present consent of all people.
            report: counts what was removed.

        Returns, Raises: as `load`. A `GuardError` also says that the answer contains too few of the people delivered,
        or that no row has an answer to an opt-out category; everyone else was removed all the same.
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
            state,
            ask,
            absent=settings.absent,
            on_field=self._on_field,
            policy_digest=policy_digest,
            accept_silence=settings.accept_silence,
        )
        report.found, report.absent = lost.found, lost.absent
        least = settings.min_found_ratio
        too_few = "" if least is None else too_few_found(lost, least=least, sync=self._lease.sync)
        silence = silent_answers(lost, self._context.log, accept_silence=settings.accept_silence, sync=self._lease.sync)
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
        if too_few or silence:
            raise GuardError("\n".join(filter(None, (too_few, silence))))
        return waiting

    @lease_before_refusal
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

    @lease_before_refusal
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

    def remove_only(self, changes: Changes, causes: Collection[RemovalCause], report: LoadReport) -> list[str]:
        """Remove the people that these changes name, in place of a delivery of them that never began.

        Returns, Raises: as `load`.
        """
        removals = self._context.store.only(changes, causes)
        if not takes_back(removals):
            return []
        self._resolve(self._lease.open_delivery())
        return self._carry_out_removals(removals, report)

    def _begun(
        self,
        permitted: PermittedRows,
        report: LoadReport,
        *,
        subject_key: SubjectKey,
        asks_again: bool,
        ask: Ask | None,
    ) -> DeliveryRun | None:
        """Resume the delivery of these rows, or find the changes and begin one; None: nothing has to be done."""
        check_dag(self._lease, self._context.dag, shares=self._context.settings.shares_sync_with_dags)
        key = load_key(permitted, self._context.settings.mode)
        delivery = self._lease.open_delivery()
        if delivery is not None and delivery.key == key and self._accepts_batches_of(delivery):
            report.resumed = True
            run = DeliveryRun(self._context, delivery, self._context.changes_of(delivery).with_permitted(permitted))
            self._context.log.info("resuming the load that an earlier try began at %s", f"{delivery.began_at:%F %T %Z}")
        else:
            self._resolve(delivery)
            reached(Step.RESOLVED)
            adds = may_add(self._context, permitted, asks_again=asks_again)
            with removals_first(self, report, ask=ask):
                if is_delivered(self._context, self._destination, permitted):
                    end_unchanged(self._context, permitted, report)
                    return None
                look_at_target(self._context, self._context.state())
                changes = self._find_changes(permitted, subject_key, adds=adds)
            reached(Step.CHANGES_PUBLISHED)
            log_changes(changes, self._context.log, replaces=self._destination.replaces)
            self._check_guards(changes, report)
            self._check_edited(permitted, changes, report)
            report.count_changes(changes.counts)
            if self._is_nothing(changes):
                end_without_changes(self._context, permitted, report, schema=changes.shape.load_schema)
                return None
            self._lease.note_required(permitted.counts.required_of_people)
            run = self._begin(LOAD, key, changes, source_of(self._context, permitted))
            reached(Step.BEGUN)
        report.delivery = run.delivery.id
        report.count_changes(run.changes.counts)
        return run

    def _late(self, changes: Changes, report: LoadReport, recheck: Recheck) -> Ask | None:
        """Return how to ask who must be removed, if people were withheld who may have been delivered before."""
        if not len(recheck.withheld):
            return None
        causes = ", ".join(f"{cause} {len(found):,}" for cause, found in sorted(recheck.causes.items()))
        self._context.log.info("withheld, because permission ended after the filter: %s", causes)
        if recheck.ask is None or not self._takes_back_later:
            # Without a source to ask, only forgotten people are withheld: whoever forgot them removes them.
            return None
        return recheck.ask if report.sent.unconfirmed or were_delivered(changes, recheck) else None
