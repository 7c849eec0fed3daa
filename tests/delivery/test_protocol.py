"""Every row is accounted for, whatever the destination answers and whenever it fails."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from permitting import AT, customers, filtered_customers

from airflow_consent_retl.delivery.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.permitted import PermittedRows, verify
from airflow_consent_retl.delivery.protocol import LoadReport, send_permitted
from airflow_consent_retl.destinations.base import Batch, Destination, Limits, Load
from airflow_consent_retl.errors import (
    ConfigurationError,
    ConsentRetlError,
    DestinationError,
    DestinationUnavailableError,
    GuardError,
)

Answer = Callable[[Batch], Outcomes]
ROWS = 20


def accept(batch: Batch) -> Outcomes:
    return Outcomes.accepted(batch.rows.num_rows)


class Recorder(Destination):
    """A destination in memory: it answers as it is told, and remembers what was asked of it."""

    def __init__(self, answer: Answer = accept, *, batch_rows: int = 4, concurrency: int = 1) -> None:
        self._limits = Limits(batch_rows=batch_rows, concurrency=concurrency)
        self._answer = answer
        self._lock = threading.Lock()
        self._sending = 0
        self.calls: list[str] = []
        self.batches: list[Batch] = []
        self.answers: list[Outcomes] = []
        self.most_at_once = 0
        self.load: Load | None = None

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def ids(self) -> list[int]:
        return sorted(row["id"] for batch in self.batches for row in batch.rows.to_pylist())

    def open(self, load: Load) -> None:
        self.calls.append("open")
        self.load = load

    def send(self, batch: Batch) -> Outcomes:
        with self._lock:
            self.batches.append(batch)
            self._sending += 1
            self.most_at_once = max(self.most_at_once, self._sending)
        try:
            outcomes = self._answer(batch)
        finally:
            with self._lock:
                self._sending -= 1
        with self._lock:
            self.answers.append(outcomes)
        return outcomes

    def commit(self) -> None:
        self.calls.append("commit")

    def abort(self) -> None:
        self.calls.append("abort")


def permitted_rows(path: pytest.TempPathFactory, rows: pa.Table, name: str) -> PermittedRows:
    run = filtered_customers(path.mktemp(name), rows)
    return verify(
        run.folder,
        run.manifest,
        manifest_sha256=run.sha256,
        destination="ads",
        fields={"id": "id"},
        policy_digest=run.manifest.policy_digest,
        max_age_s=60,
        now=AT + timedelta(seconds=1),
    )


def consenting(count: int) -> pa.Table:
    yes = pa.array([True] * count, pa.bool_())
    return pa.table(
        {"id": pa.array(range(count), pa.int64()), "email": ["x"] * count, "analytics_ok": yes, "ads_ok": yes}
    )


@pytest.fixture(scope="module")
def permitted(tmp_path_factory: pytest.TempPathFactory) -> PermittedRows:
    return permitted_rows(tmp_path_factory, consenting(ROWS), "twenty")


def load(permitted: PermittedRows, destination: Destination, *, max_rejected_ratio: float = 0.0) -> LoadReport:
    report = LoadReport(permitted=permitted.rows)
    send_permitted(permitted, destination, report, max_rejected_ratio=max_rejected_ratio)
    return report


def failed(
    permitted: PermittedRows, destination: Destination, error: type[Exception], *, max_rejected_ratio: float = 0.0
) -> tuple[LoadReport, str]:
    report = LoadReport(permitted=permitted.rows)
    with pytest.raises(error) as raised:
        send_permitted(permitted, destination, report, max_rejected_ratio=max_rejected_ratio)
    return report, str(raised.value)


def first_ids(batch: Batch) -> int:
    first: int = batch.rows.column("id")[0].as_py()
    return first


def reject_first(batch: Batch) -> Outcomes:
    return Outcomes(batch.rows.num_rows, exceptions={0: Outcome(RowStatus.REJECTED, "invalid_email")})


def test_rows_that_are_all_accepted_are_committed(permitted: PermittedRows) -> None:
    destination = Recorder()

    report = load(permitted, destination)

    assert destination.calls == ["open", "commit"]
    assert destination.ids == list(range(ROWS))
    assert (report.accepted, report.rejected, report.uncertain, report.unsent, report.batches) == (ROWS, 0, 0, 0, 5)


def test_the_destination_is_told_what_will_come(permitted: PermittedRows) -> None:
    destination = Recorder()

    load(permitted, destination)

    assert destination.load == Load(
        key=permitted.key,
        destination="ads",
        model="customers",
        schema=pa.schema([("id", pa.int64())]),
        key_field="id",
        rows=ROWS,
        decided_at=AT,
    )


def test_the_same_rows_carry_the_same_keys_in_every_try(permitted: PermittedRows) -> None:
    first, second = Recorder(concurrency=3), Recorder()

    load(permitted, first)
    load(permitted, second)

    keyed = [{batch.key: batch.rows.to_pylist() for batch in recorder.batches} for recorder in (first, second)]
    assert keyed[0] == keyed[1]
    assert len(keyed[0]) == 5


def test_batches_of_another_size_carry_other_keys(permitted: PermittedRows) -> None:
    first, second = Recorder(batch_rows=4), Recorder(batch_rows=5)

    load(permitted, first)
    load(permitted, second)

    assert not {batch.key for batch in first.batches} & {batch.key for batch in second.batches}


def test_rows_rejected_up_to_the_ratio_are_counted_by_code(permitted: PermittedRows) -> None:
    destination = Recorder(reject_first)

    report = load(permitted, destination, max_rejected_ratio=0.25)

    assert destination.calls == ["open", "commit"]
    assert (report.accepted, report.rejected, report.unsent) == (15, 5, 0)
    assert report.codes == {"rejected:invalid_email": 5}


def test_rows_rejected_beyond_the_ratio_stop_the_load(permitted: PermittedRows) -> None:
    destination = Recorder(reject_first, batch_rows=1)

    report, message = failed(permitted, destination, GuardError, max_rejected_ratio=0.1)

    assert destination.calls == ["open", "abort"]
    # The third rejection is one too many; a batch that ended at the same moment is counted with it.
    assert re.fullmatch(
        r"`ads` rejected ([345]) of 20 rows so far \(rejected:invalid_email \1\), max_rejected_ratio is 0.1", message
    )
    assert report.accepted + report.rejected + report.unsent == ROWS
    assert report.unsent > 0


def test_one_uncertain_row_stops_the_load_and_is_worth_another_try(permitted: PermittedRows) -> None:
    destination = Recorder(lambda batch: Outcomes.uncertain(4, "timeout") if first_ids(batch) == 8 else accept(batch))

    report, message = failed(permitted, destination, DestinationUnavailableError, max_rejected_ratio=1.0)

    assert destination.calls == ["open", "abort"]
    assert message == (
        "`ads` did not say what became of 4 of 20 rows (uncertain:timeout 4): "
        "sending them again is safe where it honours idempotency keys"
    )
    assert report.uncertain == 4


@pytest.mark.parametrize("answered", [0, 3, 5])
def test_an_answer_for_another_number_of_rows_is_no_answer(permitted: PermittedRows, answered: int) -> None:
    destination = Recorder(lambda batch: Outcomes.accepted(answered))

    report, message = failed(permitted, destination, DestinationUnavailableError)

    assert "uncertain:answer_for_other_rows" in message
    assert report.accepted == 0
    assert report.uncertain >= 4
    assert destination.calls == ["open", "abort"]


@pytest.mark.parametrize("error", [DestinationError("401"), DestinationUnavailableError("503", retry_after_s=7)])
@pytest.mark.parametrize("concurrency", [1, 3])
def test_an_error_in_one_of_the_threads_ends_the_load(
    permitted: PermittedRows, error: ConsentRetlError, concurrency: int
) -> None:
    def answer(batch: Batch) -> Outcomes:
        if first_ids(batch) == 4:
            raise error
        return accept(batch)

    destination = Recorder(answer, concurrency=concurrency)

    report, message = failed(permitted, destination, type(error))

    assert message == str(error)
    assert destination.calls == ["open", "abort"]
    assert report.accepted == sum(outcomes.rows for outcomes in destination.answers)
    assert report.accepted + report.unsent == ROWS


def test_batches_under_way_at_the_failure_of_another_are_counted(permitted: PermittedRows) -> None:
    both_sending = threading.Barrier(2)

    def answer(batch: Batch) -> Outcomes:
        both_sending.wait(10)
        if first_ids(batch) == 0:
            raise DestinationError("403")
        time.sleep(0.2)
        return accept(batch)

    destination = Recorder(answer, batch_rows=10, concurrency=2)

    report, _ = failed(permitted, destination, DestinationError)

    assert report.accepted == 10
    assert report.unsent == 10


def test_an_error_that_nobody_foresaw_aborts_and_is_passed_on(permitted: PermittedRows) -> None:
    def answer(batch: Batch) -> Outcomes:
        raise ZeroDivisionError

    destination = Recorder(answer, concurrency=2)

    failed(permitted, destination, ZeroDivisionError)

    assert destination.calls == ["open", "abort"]
    assert len(destination.batches) < 5


def test_a_destination_that_cannot_be_opened_is_sent_nothing_and_aborted(permitted: PermittedRows) -> None:
    class Closed(Recorder):
        def open(self, load: Load) -> None:
            raise ConfigurationError("no such table")

    destination = Closed()

    report, _ = failed(permitted, destination, ConfigurationError)

    assert destination.calls == ["abort"]
    assert destination.batches == []
    assert report.unsent == ROWS


def test_a_commit_that_fails_is_aborted(permitted: PermittedRows) -> None:
    class Uncommitted(Recorder):
        def commit(self) -> None:
            raise DestinationUnavailableError("gone")

    destination = Uncommitted()

    report, _ = failed(permitted, destination, DestinationUnavailableError)

    assert destination.calls == ["open", "abort"]
    assert report.accepted == ROWS


def test_no_rows_are_a_load_too(tmp_path_factory: pytest.TempPathFactory) -> None:
    nobody = permitted_rows(tmp_path_factory, customers().slice(3), "nobody")
    destination = Recorder()

    report = load(nobody, destination)

    assert destination.calls == ["open", "commit"]
    assert destination.batches == []
    assert (report.permitted, report.accepted, report.unsent) == (0, 0, 0)


@pytest.mark.parametrize("concurrency", [1, 2, 4])
def test_no_more_batches_are_sent_at_once_than_the_limits_allow(permitted: PermittedRows, concurrency: int) -> None:
    def answer(batch: Batch) -> Outcomes:
        time.sleep(0.02)
        return accept(batch)

    destination = Recorder(answer, batch_rows=1, concurrency=concurrency)

    load(permitted, destination)

    assert destination.most_at_once == concurrency
    assert destination.ids == list(range(ROWS))


def test_progress_is_told_of_every_batch_that_ended(permitted: PermittedRows) -> None:
    told: list[int] = []

    send_permitted(permitted, Recorder(), LoadReport(permitted=ROWS), max_rejected_ratio=0.0, progress=told.append)

    assert told == [4, 4, 4, 4, 4]


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
    permitted: PermittedRows, plan: list[str], batch_rows: int, concurrency: int, max_rejected_ratio: float
) -> None:
    def answer(batch: Batch) -> Outcomes:
        rows = batch.rows.num_rows
        match plan[first_ids(batch)]:
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

    try:
        send_permitted(permitted, destination, report, max_rejected_ratio=max_rejected_ratio)
    except ConsentRetlError as caught:
        error = caught

    seen = [outcome.status for outcomes in destination.answers for outcome in outcomes]
    assert report.accepted == seen.count(RowStatus.ACCEPTED)
    assert report.rejected == seen.count(RowStatus.REJECTED)
    assert report.uncertain == seen.count(RowStatus.UNCERTAIN)
    assert report.unsent == ROWS - len(seen)
    assert sum(report.codes.values()) == report.rejected + report.uncertain
    assert destination.calls == ["open", "commit" if error is None else "abort"]
    if error is None:
        assert report.unsent == report.uncertain == 0
        assert report.rejected <= max_rejected_ratio * ROWS
        assert destination.ids == list(range(ROWS))
