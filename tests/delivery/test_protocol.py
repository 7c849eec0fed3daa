"""Every row is accounted for, whatever the destination answers and whenever it fails."""

from __future__ import annotations

import re
import tempfile
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.permitting import customers
from support.syncing import Recorder, SyncBench, accept, consenting, first_id, verified

from airflow_consent_retl.contract.destination import Batch, Destination, Load
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.errors import (
    ConfigurationError,
    ConsentRetlError,
    DestinationError,
    DestinationUnavailableError,
    GuardError,
)
from airflow_consent_retl.filtering.permitted_files import FilePermittedRows

ROWS = 20


@pytest.fixture
def bench(tmp_path: Path) -> SyncBench:
    return SyncBench(tmp_path)


@pytest.fixture(scope="module")
def permitted(tmp_path_factory: pytest.TempPathFactory) -> FilePermittedRows:
    return verified(SyncBench(tmp_path_factory.mktemp("twenty")).filtered(consenting(ROWS)))


def failed(
    bench: SyncBench,
    permitted: FilePermittedRows,
    destination: Destination,
    error: type[Exception],
    *,
    max_rejected_ratio: float = 0.0,
) -> tuple[LoadReport, str]:
    report = LoadReport(permitted=permitted.rows)
    with pytest.raises(error) as raised:
        bench.load(permitted, destination, report=report, max_rejected_ratio=max_rejected_ratio)
    return report, str(raised.value)


def reject_first(batch: Batch) -> Outcomes:
    return Outcomes(batch.rows.num_rows, exceptions={0: Outcome(RowStatus.REJECTED, "invalid_email")})


def test_rows_that_are_all_accepted_are_committed(bench: SyncBench, permitted: FilePermittedRows) -> None:
    destination = Recorder()

    report = bench.load(permitted, destination)

    assert destination.calls == ["open", "commit"]
    assert destination.ids == list(range(ROWS))
    assert (
        report.sent.accepted,
        report.sent.rejected,
        report.sent.uncertain,
        report.sent.unsent,
        report.sent.batches,
    ) == (ROWS, 0, 0, 0, 5)


def test_the_destination_gets_a_description_of_the_load(bench: SyncBench, permitted: FilePermittedRows) -> None:
    destination = Recorder()

    bench.load(permitted, destination)

    load = destination.load
    assert load is not None
    assert (load.destination, load.model, load.key_field, load.rows) == ("ads", "customers", "id", ROWS)
    assert load.schema == pa.schema([("id", pa.int64())])
    assert load.decided_at == permitted.manifest.decided_at


def test_the_same_rows_carry_the_same_keys_in_every_try(tmp_path: Path, permitted: FilePermittedRows) -> None:
    first, second = Recorder(concurrency=3), Recorder()

    SyncBench(tmp_path / "first").load(permitted, first)
    SyncBench(tmp_path / "second").load(permitted, second)

    keyed = [{batch.key: batch.rows.to_pylist() for batch in recorder.batches} for recorder in (first, second)]
    assert keyed[0] == keyed[1]
    assert len(keyed[0]) == 5


def test_batches_of_another_size_carry_other_keys(tmp_path: Path, permitted: FilePermittedRows) -> None:
    first, second = Recorder(batch_rows=4), Recorder(batch_rows=5)

    SyncBench(tmp_path / "first").load(permitted, first)
    SyncBench(tmp_path / "second").load(permitted, second)

    assert not {batch.key for batch in first.batches} & {batch.key for batch in second.batches}


def test_rows_rejected_up_to_the_ratio_are_counted_by_code(bench: SyncBench, permitted: FilePermittedRows) -> None:
    destination = Recorder(reject_first)

    report = bench.load(permitted, destination, max_rejected_ratio=0.25)

    assert destination.calls == ["open", "commit"]
    assert (report.sent.accepted, report.sent.rejected, report.sent.unsent) == (15, 5, 0)
    assert report.sent.codes == {"rejected:invalid_email": 5}


def test_rows_rejected_beyond_the_ratio_stop_the_load(bench: SyncBench, permitted: FilePermittedRows) -> None:
    destination = Recorder(reject_first, batch_rows=1)

    report, message = failed(bench, permitted, destination, GuardError, max_rejected_ratio=0.1)

    assert destination.calls == ["open", "abort"]
    # The third rejection exceeds the limit; a batch that ended at the same time is counted with it.
    assert re.match(r"`ads` rejected ([345]) of 20 rows so far \(rejected:invalid_email \1\), at most 2 are", message)
    assert report.sent.accepted + report.sent.rejected + report.sent.unsent == ROWS
    assert report.sent.unsent > 0


def test_one_uncertain_row_stops_the_load_and_is_worth_another_try(
    bench: SyncBench, permitted: FilePermittedRows
) -> None:
    destination = Recorder(lambda batch: Outcomes.uncertain(4, "timeout") if first_id(batch) == 8 else accept(batch))

    report, message = failed(bench, permitted, destination, DestinationUnavailableError, max_rejected_ratio=1.0)

    assert destination.calls == ["open", "abort"]
    assert message == (
        "`ads`: the result of 4 of 20 rows so far is unknown (uncertain:timeout 4): "
        "the next try sends them again, with the same keys"
    )
    assert report.sent.uncertain == 4


@pytest.mark.parametrize("answered", [0, 3, 5])
def test_an_answer_for_another_number_of_rows_is_no_answer(
    bench: SyncBench, permitted: FilePermittedRows, answered: int
) -> None:
    destination = Recorder(lambda batch: Outcomes.accepted(answered))

    report, message = failed(bench, permitted, destination, DestinationUnavailableError)

    assert "uncertain:answer_for_other_rows" in message
    assert report.sent.accepted == 0
    assert report.sent.uncertain >= 4
    assert destination.calls == ["open", "abort"]


@pytest.mark.parametrize("error", [DestinationError("401"), DestinationUnavailableError("503", retry_after_s=7)])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_an_error_in_one_of_the_threads_ends_the_load(
    bench: SyncBench, permitted: FilePermittedRows, error: ConsentRetlError, concurrency: int
) -> None:
    def answer(batch: Batch) -> Outcomes:
        if first_id(batch) == 4:
            raise error
        return accept(batch)

    destination = Recorder(answer, concurrency=concurrency)

    report, message = failed(bench, permitted, destination, type(error))

    assert message == str(error)
    assert destination.calls == ["open", "abort"]
    assert report.sent.accepted == sum(outcomes.rows for outcomes in destination.answers)
    assert report.sent.accepted + report.sent.unsent == ROWS


def test_batches_under_way_at_the_failure_of_another_are_counted(
    bench: SyncBench, permitted: FilePermittedRows
) -> None:
    both_sending = threading.Barrier(2)

    def answer(batch: Batch) -> Outcomes:
        both_sending.wait(10)
        if first_id(batch) == 0:
            raise DestinationError("403")
        time.sleep(0.2)
        return accept(batch)

    destination = Recorder(answer, batch_rows=10, concurrency=2)

    report, _ = failed(bench, permitted, destination, DestinationError)

    assert report.sent.accepted == 10
    assert report.sent.unsent == 10


def test_an_unexpected_error_aborts_and_is_raised(bench: SyncBench, permitted: FilePermittedRows) -> None:
    def answer(batch: Batch) -> Outcomes:
        raise ZeroDivisionError

    destination = Recorder(answer, concurrency=2)

    failed(bench, permitted, destination, ZeroDivisionError)

    assert destination.calls == ["open", "abort"]
    assert len(destination.batches) < 5


def test_a_destination_that_cannot_be_opened_is_sent_nothing_and_aborted(
    bench: SyncBench, permitted: FilePermittedRows
) -> None:
    class Closed(Recorder):
        def open(self, load: Load) -> None:
            raise ConfigurationError("no such table")

    destination = Closed()

    report, _ = failed(bench, permitted, destination, ConfigurationError)

    assert destination.calls == ["abort"]
    assert destination.batches == []
    assert report.sent.unsent == ROWS


def test_a_commit_that_fails_is_aborted(bench: SyncBench, permitted: FilePermittedRows) -> None:
    class Uncommitted(Recorder):
        def commit(self) -> None:
            raise DestinationUnavailableError("gone")

    destination = Uncommitted()

    report, _ = failed(bench, permitted, destination, DestinationUnavailableError)

    assert destination.calls == ["open", "abort"]
    assert report.sent.accepted == ROWS


def test_where_nothing_has_to_be_done_the_destination_is_left_alone(bench: SyncBench) -> None:
    no_rows = verified(bench.filtered(customers().slice(3)))
    destination = Recorder()

    report = bench.load(no_rows, destination)

    assert destination.calls == []
    assert (report.permitted, report.sent.planned, report.removed.planned) == (0, 0, 0)


@pytest.mark.parametrize("concurrency", [1, 2, 4])
def test_no_more_batches_are_sent_at_once_than_the_limits_allow(
    bench: SyncBench, permitted: FilePermittedRows, concurrency: int
) -> None:
    def answer(batch: Batch) -> Outcomes:
        time.sleep(0.02)
        return accept(batch)

    destination = Recorder(answer, batch_rows=1, concurrency=concurrency)

    bench.load(permitted, destination)

    assert destination.most_at_once == concurrency
    assert destination.ids == list(range(ROWS))


def test_progress_counts_every_batch_that_ended(bench: SyncBench, permitted: FilePermittedRows) -> None:
    ended: list[int] = []

    bench.load(permitted, Recorder(), progress=ended.append)

    # Compared first, then sent.
    assert ended == [ROWS, 4, 4, 4, 4, 4]


def test_progress_counts_no_row_that_the_destination_refused(bench: SyncBench, permitted: FilePermittedRows) -> None:
    ended: list[int] = []

    def answer(batch: Batch) -> Outcomes:
        refused = {0: Outcome(RowStatus.REJECTED, "bad"), 1: Outcome(RowStatus.UNCERTAIN, "unreadable_answer")}
        return Outcomes(batch.rows.num_rows, exceptions=refused) if first_id(batch) == 0 else accept(batch)

    with pytest.raises(DestinationUnavailableError):
        bench.load(permitted, Recorder(answer), progress=ended.append, max_rejected_ratio=1.0)

    assert ended[:2] == [ROWS, 3]


answers = st.lists(
    st.sampled_from(["accepted", "accepted", "accepted", "rejected", "mixed", "uncertain", "refused", "unavailable"]),
    min_size=ROWS,
    max_size=ROWS,
)


@settings(max_examples=60, deadline=None)
@given(
    plan=answers,
    batch_rows=st.integers(1, 25),
    concurrency=st.integers(1, 4),
    max_rejected_ratio=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_the_numbers_add_up_to_what_the_destination_saw(
    permitted: FilePermittedRows, plan: list[str], batch_rows: int, concurrency: int, max_rejected_ratio: float
) -> None:
    def answer(batch: Batch) -> Outcomes:
        rows = batch.rows.num_rows
        match plan[first_id(batch)]:
            case "refused":
                raise DestinationError("403")
            case "unavailable":
                raise DestinationUnavailableError("503")
            case "mixed":
                return Outcomes(rows, exceptions={rows - 1: Outcome(RowStatus.REJECTED, "x")})
            case "rejected":
                return Outcomes.rejected(rows, "x")
            case "uncertain":
                return Outcomes.uncertain(rows, "timeout")
            case _:
                return accept(batch)

    destination = Recorder(answer, batch_rows=batch_rows, concurrency=concurrency)
    report = LoadReport(permitted=permitted.rows)
    error: ConsentRetlError | None = None

    with tempfile.TemporaryDirectory() as folder:
        try:
            SyncBench(Path(folder)).load(permitted, destination, report=report, max_rejected_ratio=max_rejected_ratio)
        except ConsentRetlError as caught:
            error = caught

    seen = [outcome.status for outcomes in destination.answers for outcome in outcomes]
    assert report.sent.accepted == seen.count(RowStatus.ACCEPTED)
    assert report.sent.rejected == seen.count(RowStatus.REJECTED)
    assert report.sent.uncertain == seen.count(RowStatus.UNCERTAIN)
    assert report.sent.unsent == ROWS - len(seen)
    assert report.sent.withheld == report.sent.pending == 0
    assert sum(report.sent.codes.values()) == report.sent.rejected + report.sent.uncertain
    assert destination.calls == ["open", "commit" if error is None else "abort"]
    if error is None:
        assert report.sent.unsent == report.sent.uncertain == 0
        assert report.sent.rejected <= max_rejected_ratio * ROWS
        assert destination.ids == list(range(ROWS))
