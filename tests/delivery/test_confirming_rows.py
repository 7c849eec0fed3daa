"""Rows that a destination processes later are read again for results that name rows by their values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.syncing import Recorder, SyncBench, consenting, first_id, verified

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.errors import DestinationUnavailableError


class LaterDestination(Recorder):
    """Takes every batch for later, refuses odd ids, and leaves some rows unprocessed."""

    def __init__(self, *, is_done: bool, unprocessed: frozenset[int] = frozenset()) -> None:
        super().__init__(answer=self._take)
        self.is_done = is_done
        self.unprocessed = unprocessed
        self.asked: dict[str, list[int]] = {}

    def _take(self, batch: Batch) -> Outcomes:
        # The first row of each batch is refused at once.
        rows = batch.rows.num_rows
        refused = {0: Outcome(RowStatus.REJECTED, "invalid_email")}
        return Outcomes(rows, Outcome(RowStatus.PENDING, f"job-{first_id(batch)}"), refused)

    def confirm_rows(self, request_id: str, rows: int, read: Callable[[], pa.RecordBatch]) -> Outcomes | None:
        if not self.is_done:
            return None
        ids = read().column("id").to_pylist()
        assert len(ids) == rows
        self.asked[request_id] = ids
        return Outcomes.concatenated([Outcomes(1, self._outcome(person)) for person in ids])

    def _outcome(self, person: int) -> Outcome:
        if person in self.unprocessed:
            return Outcome(RowStatus.UNSENT, "unprocessed")
        return Outcome(RowStatus.REJECTED, "invalid_name") if person % 2 else Outcome(RowStatus.ACCEPTED)


def test_the_next_try_reads_the_pending_rows_of_each_request_again(tmp_path: Path) -> None:
    bench = SyncBench(tmp_path)
    permitted = verified(bench.filtered(consenting(10)))
    bench.load(permitted, LaterDestination(is_done=False), max_rejected_ratio=1.0, confirm_timeout_s=0)
    later = LaterDestination(is_done=True)

    report = bench.load(permitted, later, max_rejected_ratio=1.0)

    assert later.batches == []
    assert later.asked == {"job-0": [1, 2, 3], "job-4": [5, 6, 7], "job-8": [9]}
    assert (report.sent.accepted, report.sent.rejected, report.sent.pending) == (2, 8, 0)


def test_rows_that_were_taken_and_not_processed_are_sent_again_by_the_next_try(tmp_path: Path) -> None:
    bench = SyncBench(tmp_path)
    permitted = verified(bench.filtered(consenting(4)))
    report = LoadReport(permitted=permitted.rows)
    with pytest.raises(DestinationUnavailableError, match="did not process"):
        bench.load(
            permitted, LaterDestination(is_done=True, unprocessed=frozenset({2})), report=report, max_rejected_ratio=1.0
        )
    again = LaterDestination(is_done=True)

    second = bench.load(permitted, again, max_rejected_ratio=1.0)

    assert report.sent.unsent == 1
    assert again.ids == [0, 1, 2, 3]
    assert (second.sent.unsent, second.sent.accepted) == (0, 1)


def test_a_load_with_removals_does_not_send_rows_without_a_result_again_in_the_same_try(tmp_path: Path) -> None:
    bench = SyncBench(tmp_path)
    bench.load(verified(bench.filtered(consenting(6))), Recorder())
    permitted = verified(bench.filtered(consenting(9)[1:]))
    # As a load that waits without a worker: each try asks once.
    settings: dict[str, Any] = {"confirm_timeout_s": 0, "max_rejected_ratio": 1.0}
    first = LaterDestination(is_done=False)
    bench.load(permitted, first, **settings)
    later = LaterDestination(is_done=True, unprocessed=frozenset({8}))

    with pytest.raises(DestinationUnavailableError, match="did not process"):
        bench.load(permitted, later, **settings)

    assert first.ids == [6, 7, 8]
    assert later.batches == []
