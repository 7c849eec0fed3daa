"""A sync that sends nothing: every step of a run up to the sending, and counts of what the run would do.

Its lease is of a copy of the ledger, and its store makes files in a scratch folder only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from airflow_consent_retl.contract.outcomes import RowStatus
from airflow_consent_retl.delivery.attempts import BatchKind
from airflow_consent_retl.delivery.recheck import FIELDS_WITHDRAWN
from airflow_consent_retl.delivery.report import Tally
from airflow_consent_retl.delivery.syncing import Sync
from airflow_consent_retl.errors import GuardError

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.context import SyncContext
    from airflow_consent_retl.delivery.ledger.records import Delivery
    from airflow_consent_retl.delivery.recheck import Recheck
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.delivery.run import DeliveryRun
    from airflow_consent_retl.filtering.subject_index import Ask
    from airflow_consent_retl.storage.change_set import Changes
    from airflow_consent_retl.storage.sync_manifests import ChangesCounts

_SCAN_ROWS = 65_536
# Called with the changes that a run would deliver, and with what withholds some of them.
Visit = Callable[["Changes", "Recheck | None"], None]


class PlannedSync(Sync):
    """A sync whose reports say what a run would do, as if the destination accepted everything.

    Args:
        context: with a lease of a copy of the ledger, and a store in a scratch folder.
        visit: is shown what would be delivered, while its files are there; None: nothing is.
    """

    is_plan: ClassVar[bool] = True

    def __init__(self, context: SyncContext, visit: Visit | None = None) -> None:
        super().__init__(context)
        self._visit = visit
        # Sentences about limits that would stop the run; about what removal means, and what makes counts less certain.
        self.stopped_by: list[str] = []
        self.notes: list[str] = []
        # What the limits would hold back.
        self.held_back: ChangesCounts | None = None
        self.withheld: Counter[str] = Counter()

    def _carry_out(self, run: DeliveryRun, report: LoadReport, *, recheck: Recheck | None) -> list[str]:
        """Check what the destination checks before the first request, ask for consent again, and count."""
        planned = {kind: run.planned_rows(kind) for kind in BatchKind}
        run.destination.check(run.load(key=run.delivery.key, rows=planned[BatchKind.SEND]))
        withheld = 0
        if recheck is not None:
            recheck.ask_again()
            withheld = len(recheck.withheld)
            self.withheld = Counter({cause: len(found) for cause, found in recheck.causes.items() if len(found)})
        report.sent = _tally(planned[BatchKind.SEND], withheld=withheld)
        report.removed, report.cleared = _tally(planned[BatchKind.REMOVE]), _tally(planned[BatchKind.CLEAR])
        if not (run.replaces or run.can_remove):
            report.unremovable, report.removed = report.removed.planned, Tally()
        if report.removed.planned and (sentence := run.destination.removal_sentence):
            self.notes.append(f"people who are removed: {sentence}")
        if report.resumed:
            self.notes.append(
                f"a run would resume the load that an earlier try began at {run.delivery.began_at:%F %T %Z}: the "
                "counts include what that try did"
            )
        if self._visit is not None:
            self._visit(run.changes, recheck)
        return []

    def _resolve(self, delivery: Delivery | None) -> None:
        """Close an open delivery in the copy of the ledger: what became of it is found out by a run."""
        if delivery is None:
            return
        current = self._lease.current()
        if self._lease.attempts(delivery):
            self.notes.append(
                f"a delivery that began at {delivery.began_at:%F %T %Z} did not end: a run first finds out what became "
                "of it, and may then have more or less to do"
            )
        if current is None:
            self._lease.forget()
        else:
            self._lease.advance(
                delivery, uri=current.uri, sha256=current.sha256, rows=current.rows, decided_at=current.decided_at
            )

    def _check_guards(self, changes: Changes, report: LoadReport) -> None:
        try:
            super()._check_guards(changes, report)
        except GuardError:
            self.stopped_by += self._context.settings.guards.exceeded(changes.counts)
            self.held_back = changes.counts
            raise

    def _late(self, changes: Changes, report: LoadReport, recheck: Recheck) -> Ask | None:
        """Count the people who are withheld and would be removed, or lose fields, after the load."""
        if super()._late(changes, report, recheck) is None:
            return None
        found = [
            np.flatnonzero(np.asarray(some["was_delivered"])) + start
            for start, some in changes.people_to_send(_SCAN_ROWS)
        ]
        delivered = np.concatenate(found)
        for cause, positions in recheck.causes.items():
            clears = cause == FIELDS_WITHDRAWN and self._on_field == "clear"
            tally = report.cleared if clears else report.removed
            tally.join(_tally(len(np.intersect1d(positions, delivered))))
        return None


def _tally(rows: int, *, withheld: int = 0) -> Tally:
    accepted = {RowStatus.ACCEPTED: rows - withheld, RowStatus.WITHHELD: withheld}
    return Tally(planned=rows, by_status=Counter(accepted))
