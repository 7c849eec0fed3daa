"""The protocol of a load: open, send in batches, account for every row, and only then publish.

It sends verified rows only, and takes no answer for a success that is none.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_consent_retl.delivery.outcomes import Outcomes, RowStatus
from airflow_consent_retl.destinations.base import Batch, Destination, Load
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError, GuardError

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.permitted import PermittedRows


@dataclass(slots=True)
class LoadReport:
    """What became of the permitted rows of one load, in counts.

    `permitted = accepted + rejected + uncertain + unsent`; at the end of a load that succeeded, the last two are 0.
    """

    permitted: int
    accepted: int = 0
    rejected: int = 0
    uncertain: int = 0
    batches: int = 0
    codes: Counter[str] = field(default_factory=Counter)

    @property
    def unsent(self) -> int:
        """Rows that were never handed to the destination, or that it was surely not asked to apply."""
        return self.permitted - self.accepted - self.rejected - self.uncertain

    def add(self, outcomes: Outcomes) -> None:
        """Count the outcomes of one batch."""
        self.batches += 1
        for outcome, rows in outcomes.counts().items():
            match outcome.status:
                case RowStatus.ACCEPTED:
                    self.accepted += rows
                case RowStatus.REJECTED:
                    self.rejected += rows
                case RowStatus.UNCERTAIN:
                    self.uncertain += rows
            if outcome.status is not RowStatus.ACCEPTED:
                self.codes[f"{outcome.status}:{outcome.code}"] += rows


def send_permitted(
    permitted: PermittedRows,
    destination: Destination,
    report: LoadReport,
    *,
    max_rejected_ratio: float,
    progress: Callable[[int], None] = lambda rows: None,
) -> None:
    """Send every permitted row, and count what became of each in `report`, also when it ends in an error.

    Args:
        permitted: the verified rows.
        destination: not yet opened; it is closed at the end.
        report: begins empty.
        max_rejected_ratio: the share of rows that the destination may reject, 0 to 1.
        progress: called with the number of rows of each batch that ended.

    Raises:
        ConfigurationError: the rows do not suit the destination.
        DestinationError: the destination refused.
        DestinationUnavailableError: it did not answer, or did not say what became of some rows: sending the same rows
            again, under the same keys, is safe.
        GuardError: it rejected more rows than allowed.
    """
    load = Load(
        key=permitted.key,
        destination=permitted.destination,
        model=permitted.manifest.model,
        schema=permitted.schema(),
        key_field=permitted.key_field,
        rows=permitted.rows,
        decided_at=permitted.manifest.decided_at,
    )
    completed = False
    try:
        destination.open(load)
        _send_all(permitted, destination, load, report, max_rejected_ratio, progress)
        _check_sum(report, load)
        destination.commit()
        completed = True
    finally:
        if not completed:
            destination.abort()


def _send_all(
    permitted: PermittedRows,
    destination: Destination,
    load: Load,
    report: LoadReport,
    max_rejected_ratio: float,
    progress: Callable[[int], None],
) -> None:
    limits = destination.limits
    under_way: set[Future[Outcomes]] = set()

    def collect(*, until: int) -> None:
        while len(under_way) > until:
            done, _ = wait(under_way, return_when=FIRST_COMPLETED)
            under_way.difference_update(done)
            _count(done, report, progress)
            for future in done:
                # Raises what the first failed batch raised.
                future.result()
            # Stopped at once: every further batch would only make a failed load longer.
            _check_outcomes(report, load, max_rejected_ratio)

    pool = ThreadPoolExecutor(max_workers=limits.concurrency, thread_name_prefix="send")
    try:
        start = 0
        for rows in permitted.batches(limits.batch_rows):
            batch = Batch(key=_batch_key(load, start, rows.num_rows), rows=rows)
            start += rows.num_rows
            under_way.add(pool.submit(_send, destination, batch))
            # One batch waits for each that is under way, so that no connection ever waits for the reader.
            collect(until=2 * limits.concurrency - 1)
        collect(until=0)
    except Exception:
        # What is under way may be applied: it is waited for and counted too.
        started = {future for future in under_way if not future.cancel()}
        wait(started)
        _count(started, report, progress)
        raise
    finally:
        # A task that is stopped does not wait: `abort` ends what is under way.
        pool.shutdown(wait=False, cancel_futures=True)


def _count(ended: set[Future[Outcomes]], report: LoadReport, progress: Callable[[int], None]) -> None:
    for future in ended:
        if future.exception() is None:
            outcomes = future.result()
            report.add(outcomes)
            progress(outcomes.rows)


def _send(destination: Destination, batch: Batch) -> Outcomes:
    outcomes = destination.send(batch)
    rows = batch.rows.num_rows
    # An answer for other rows than were sent is no answer for those that were.
    return outcomes if len(outcomes) == rows else Outcomes.uncertain(rows, "answer_for_other_rows")


def _batch_key(load: Load, start: int, rows: int) -> str:
    return hashlib.sha256(f"{load.key}:{start}:{rows}".encode()).hexdigest()


def _check_outcomes(report: LoadReport, load: Load, max_rejected_ratio: float) -> None:
    codes = ", ".join(f"{code} {rows:,}" for code, rows in report.codes.most_common(5))
    if report.uncertain:
        raise DestinationUnavailableError(
            f"`{load.destination}` did not say what became of {report.uncertain:,} of {report.permitted:,} rows "
            f"({codes}): sending them again is safe where it honours idempotency keys"
        )
    if report.rejected > max_rejected_ratio * report.permitted:
        raise GuardError(
            f"`{load.destination}` rejected {report.rejected:,} of {report.permitted:,} rows so far ({codes}), "
            f"max_rejected_ratio is {max_rejected_ratio}"
        )


def _check_sum(report: LoadReport, load: Load) -> None:
    if report.unsent:
        raise DestinationError(
            f"`{load.destination}`: permitted {report.permitted:,} is not accepted {report.accepted:,} + rejected "
            f"{report.rejected:,}"
        )
