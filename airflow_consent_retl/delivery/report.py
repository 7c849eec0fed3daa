"""The report of a load, in counts that add up. It never holds a value of a row."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.removal import RemovalCause
from airflow_consent_retl.contract.outcomes import Outcomes, RowStatus
from airflow_consent_retl.progress import listed

if TYPE_CHECKING:
    from airflow_consent_retl.storage.sync_manifests import ChangesCounts


@dataclass(slots=True)
class Tally:
    """The results of the rows of one kind: sent, removed or cleared.

    `planned = accepted + rejected + uncertain + pending + withheld + unsent`.
    """

    planned: int = 0
    by_status: Counter[RowStatus] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    batches: int = 0
    # Rows that an earlier try sent without an answer, and that the last try could not or may not send.
    unconfirmed: int = 0

    def add(self, outcomes: Outcomes) -> None:
        """Count the outcomes of one batch."""
        self.batches += 1
        for outcome, rows in outcomes.counts().items():
            self.by_status[outcome.status] += rows
            if outcome.status in {RowStatus.REJECTED, RowStatus.UNCERTAIN}:
                self.codes[f"{outcome.status}:{outcome.code}"] += rows

    def join(self, other: Tally) -> None:
        """Add the counts of another delivery of the same load."""
        self.planned += other.planned
        self.batches += other.batches
        self.unconfirmed += other.unconfirmed
        self.by_status.update(other.by_status)
        self.codes.update(other.codes)

    @property
    def accepted(self) -> int:
        """Rows that the destination confirmed to have accepted."""
        return self.by_status[RowStatus.ACCEPTED]

    @property
    def rejected(self) -> int:
        """Rows that the destination refused."""
        return self.by_status[RowStatus.REJECTED]

    @property
    def uncertain(self) -> int:
        """Rows whose result is unknown."""
        return self.by_status[RowStatus.UNCERTAIN]

    @property
    def pending(self) -> int:
        """Rows that the destination received and has not processed yet."""
        return self.by_status[RowStatus.PENDING]

    @property
    def withheld(self) -> int:
        """Rows that were not sent, because their person's permission ended after the filter."""
        return self.by_status[RowStatus.WITHHELD]

    @property
    def unsent(self) -> int:
        """Rows that were never handed over, or certainly not applied."""
        return self.planned - self.accepted - self.rejected - self.uncertain - self.pending - self.withheld

    def worst(self, count: int = 5) -> str:
        """Return the most frequent codes of rows that were rejected or uncertain, with their counts, as text."""
        return listed(self.codes.most_common(count))


@dataclass(slots=True)
class LoadReport:
    """The counts of one load: what was found, what was sent, what was removed.

    `permitted = added + updated + unchanged + skipped`; for the rows to send and to remove, see `Tally`.
    """

    permitted: int
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    resumed: bool = False
    sent: Tally = field(default_factory=Tally)
    removed: Tally = field(default_factory=Tally)
    # People whose fields were cleared, because they withdrew consent to these fields only.
    cleared: Tally = field(default_factory=Tally)
    removals_by_cause: Counter[str] = field(default_factory=Counter)
    # For people who were removed: seconds from their withdrawal to the confirmation, if the model has its time.
    lags_s: list[float] = field(default_factory=list)
    # For a question about withdrawals: delivered people that the answer contained, and did not contain.
    found: int = 0
    absent: int = 0
    # People who should be removed from a destination that cannot remove.
    unremovable: int = 0
    # The ledger's number of the delivery of the load. A later try that resumes it counts all that was done.
    delivery: int | None = None

    @property
    def not_taken_back(self) -> int:
        """People who were to be removed, or to lose a field, and have not."""
        return self.removed.planned - self.removed.accepted + self.cleared.planned - self.cleared.accepted

    def count_changes(self, counts: ChangesCounts) -> None:
        """Copy the counts of the comparison with the delivered state."""
        self.added, self.updated = counts.added, counts.updated
        self.unchanged, self.skipped = counts.unchanged, counts.skipped
        self.removals_by_cause = Counter(counts.removed)
        if counts.cleared:
            self.removals_by_cause[str(RemovalCause.FIELD_WITHDRAWN)] += counts.cleared

    def as_counts(self) -> dict[str, int]:
        """Return the numbers for the log and for XCom."""
        return {
            "permitted": self.permitted,
            "added": self.added,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "skipped": self.skipped,
            "accepted": self.sent.accepted,
            "rejected": self.sent.rejected,
            "uncertain": self.sent.uncertain,
            "pending": self.sent.pending,
            "withheld": self.sent.withheld,
            "unsent": self.sent.unsent,
            "removed": self.removed.accepted,
            "not_removed": self.removed.planned - self.removed.accepted + self.unremovable,
            "cleared": self.cleared.accepted,
            "not_cleared": self.cleared.planned - self.cleared.accepted,
        }
