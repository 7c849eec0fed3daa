"""Every delivery leaves a record of each person whom it reached, with batch, outcome and the vendor's request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.permitting import KEY
from support.syncing import Recorder, SyncBench, accept, consenting, first_id, people, verified

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.attempts import decoded, encoded
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.errors import DestinationUnavailableError, GuardError
from airflow_consent_retl.reports.recorded_deliveries import (
    DeliveryEvent,
    in_progress,
    recorded_deliveries,
    requests_of,
)
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.records.documents import DeliveryRecords
from airflow_consent_retl.storage.records.stream import RecordStream
from airflow_consent_retl.storage.records.subjects import RecordedPerson, RecordKey
from airflow_consent_retl.storage.sync_folder import SyncFolder
from airflow_consent_retl.storage.sync_mode import SyncMode

FIELDS = {"id": "id", "email": "email"}
RECORDS = RecordKey(KEY)


class Records(SyncBench):
    """A sync whose records are looked up."""

    def stream(self) -> RecordStream[DeliveryRecords]:
        folder = SyncFolder(Folder.local(self.path / "workspace"), "customers/ads")
        return RecordStream(folder.records, DeliveryRecords)

    def of(self, subject: int | str) -> list[DeliveryEvent]:
        root = Folder.local(self.path / "workspace")
        return list(recorded_deliveries(root, RecordedPerson.of(subject, [RECORDS]), verify=True))

    def told(self, subject: int | str) -> list[tuple[str, str, str, str]]:
        return [(one.event, one.status, one.cause, one.code) for one in self.of(subject)]


@pytest.fixture
def bench(tmp_path: Path) -> Records:
    return Records(tmp_path)


def load(
    bench: Records, rows: dict[int, tuple[str, bool | None]], destination: Recorder | None = None, **settings: Any
) -> None:
    bench.load(verified(bench.filtered(people(rows)), fields=FIELDS), destination or Recorder(), **settings)


def test_each_person_has_what_was_sent_updated_and_removed_and_the_others_have_nothing(bench: Records) -> None:
    load(bench, {1: ("a", True), 2: ("b", True), 3: ("c", False)})
    load(bench, {1: ("new", True), 2: ("b", False), 3: ("c", True)})

    assert bench.told(1) == [("sent", "accepted", "", ""), ("updated", "accepted", "", "")]
    assert bench.told(2) == [("sent", "accepted", "", ""), ("removed", "accepted", "consent_withdrawn", "")]
    assert bench.told(3) == [("sent", "accepted", "", "")]
    assert bench.told(4) == []


def test_an_event_names_the_policy_the_batch_and_the_times(bench: Records) -> None:
    run = bench.filtered(consenting(9))
    bench.load(verified(run), Recorder(batch_rows=4))

    (event,) = bench.of(5)

    assert event.policy_digest == run.manifest.policy_digest
    assert event.decided_at == run.manifest.decided_at
    assert (event.sync, event.model, event.destination, event.delivery) == ("customers/ads", "customers", "ads", 1)
    assert event.batch == 1
    assert event.asked_at is not None
    assert event.recorded_at is not None
    assert event.asked_at <= event.at <= event.recorded_at


def test_a_rejected_row_has_the_code_of_the_destination(bench: Records) -> None:
    def reject_two(batch: Batch) -> Outcomes:
        places = [n for n, id_ in enumerate(batch.rows["id"].to_pylist()) if id_ == 2]
        return Outcomes(
            batch.rows.num_rows, exceptions={n: Outcome(RowStatus.REJECTED, "invalid_email") for n in places}
        )

    load(bench, {1: ("a", True), 2: ("b", True)}, Recorder(reject_two), max_rejected_ratio=1.0)

    assert bench.told(1) == [("sent", "accepted", "", "")]
    assert bench.told(2) == [("sent", "rejected", "", "invalid_email")]


def test_a_run_that_changes_nothing_records_nothing(bench: Records) -> None:
    rows: dict[int, tuple[str, bool | None]] = {1: ("a", True)}
    load(bench, rows)
    load(bench, rows)

    assert len(bench.stream().names()) == 1


def test_rows_that_are_sent_again_unchanged_are_not_recorded_again(bench: Records) -> None:
    load(bench, {1: ("a", True), 2: ("b", True)}, mode=SyncMode.FULL)
    load(bench, {1: ("a", True), 2: ("new", True)}, mode=SyncMode.FULL)

    assert bench.told(1) == [("sent", "accepted", "", "")]
    assert bench.told(2) == [("sent", "accepted", "", ""), ("updated", "accepted", "", "")]


def test_the_ids_of_requests_stay_when_a_later_try_confirms_them(bench: Records) -> None:
    class Later(Recorder):
        def send(self, batch: Batch) -> Outcomes:
            super().send(batch)
            return Outcomes.pending(batch.rows.num_rows, f"request-{first_id(batch)}")

        def confirm(self, request_id: str, rows: int) -> Outcomes | None:
            return Outcomes.accepted(rows) if len(self.batches) == 0 else None

    run = verified(bench.filtered(consenting(6)))
    bench.load(run, Later(batch_rows=4), confirm_timeout_s=0)
    bench.load(run, Later(batch_rows=4), confirm_timeout_s=0)

    first, last = bench.of(3), bench.of(5)

    assert [(one.status, one.request_ids) for one in first] == [("accepted", ("request-0",))]
    assert [(one.status, one.request_ids) for one in last] == [("accepted", ("request-4",))]


def test_the_ids_of_requests_belong_to_the_rows_that_were_sent(bench: Records) -> None:
    def in_two_requests(batch: Batch) -> Outcomes:
        return replace(accept(batch), requests=((0, "req-first"), (2, "req-second")))

    bench.load(verified(bench.filtered(consenting(4))), Recorder(in_two_requests))

    assert [bench.of(id_)[0].request_ids for id_ in range(4)] == [("req-first",)] * 2 + [("req-second",)] * 2


def test_a_request_of_each_attempt_is_named() -> None:
    assert requests_of([(0, "a"), (5, "b"), (0, "c")], 6) == ("b", "c")
    assert requests_of([(0, "a"), (5, "b"), (3, "c")], 2) == ("a",)
    assert requests_of([], 2) == ()


def test_outcomes_keep_the_ids_of_requests_in_the_ledger_and_in_larger_batches() -> None:
    outcomes = Outcomes.concatenated([Outcomes.pending(2, "r1"), replace(Outcomes.accepted(1), requests=((0, "r2"),))])

    assert outcomes.request_ids() == [(0, "r1"), (2, "r2")]
    assert decoded(encoded(outcomes)).request_ids() == outcomes.request_ids()
    withheld = dict.fromkeys((0, 2, 5), Outcome(RowStatus.WITHHELD, "permission_ended"))
    assert outcomes.at_rows([1, 3, 4], 6, others=withheld).request_ids() == [(1, "r1"), (3, "r1"), (4, "r2")]
    assert decoded('{"outcomes":[["accepted",""]],"runs":[[0,2]]}').requests == ()


def test_a_delivery_that_is_not_over_is_told_from_the_ledger(bench: Records) -> None:
    def fail_second(batch: Batch) -> Outcomes:
        if first_id(batch) == 4:
            raise DestinationUnavailableError("not now")
        return accept(batch)

    with pytest.raises(DestinationUnavailableError):
        bench.load(verified(bench.filtered(consenting(12))), Recorder(fail_second, batch_rows=4))

    def told(id_: int) -> list[tuple[str, str]]:
        with Ledger.sqlite(bench.path / "ledger.db") as ledger:
            workspace = f"file://{bench.path}/workspace"
            found = in_progress(ledger, workspace, RECORDS, RecordedPerson.of(id_, [RECORDS]))
            return [(one.event, one.status) for one in found if one.recorded_at is None]

    assert bench.of(1) == []
    assert told(1) == [("sent", "accepted")]
    assert told(5) == [("sent", "unsent")]
    assert told(77) == []


def test_a_failed_run_is_recorded_by_the_next_one(bench: Records) -> None:
    def reject_all(batch: Batch) -> Outcomes:
        return Outcomes.rejected(batch.rows.num_rows, "invalid_email")

    with pytest.raises(GuardError):
        load(bench, {1: ("a", True)}, Recorder(reject_all))
    load(bench, {1: ("a", True)})

    assert bench.told(1) == [("sent", "rejected", "", "invalid_email"), ("sent", "accepted", "", "")]


def test_a_delivery_stays_open_until_its_records_are_written(bench: Records) -> None:
    run, first, second = verified(bench.filtered(people({1: ("a", True)})), fields=FIELDS), Recorder(), Recorder()
    records = Path(bench.stream().folder.path)
    records.parent.mkdir(parents=True)
    records.write_text("no folder")

    with pytest.raises(OSError, match="records"):
        bench.load(run, first)
    records.unlink()
    bench.load(run, second)

    assert (first.ids, second.ids) == ([1], [])
    assert bench.told(1) == [("sent", "accepted", "", "")]
    assert [event.delivery for event in bench.of(1)] == [1]


def test_records_that_a_dead_worker_wrote_before_count_once(bench: Records) -> None:
    load(bench, {1: ("a", True)})
    stream = bench.stream()
    (name,) = stream.names()
    written = stream.read(name)

    stream.publish(stream.new_name(written.recorded_at), written.model_copy(update={"epoch": 9}))

    assert len(stream.names()) == 2
    assert bench.told(1) == [("sent", "accepted", "", "")]


def test_records_hold_no_value_and_take_few_bytes(bench: Records) -> None:
    count = 20_000
    yes = pa.array([True] * count, pa.bool_())
    rows = pa.table(
        {"id": [f"canary-{n}" for n in range(count)], "email": ["canary"] * count, "analytics_ok": yes, "ads_ok": yes}
    )
    bench.load(verified(bench.filtered(rows)), Recorder(batch_rows=1_000))

    files = list(Path(bench.stream().folder.path).iterdir())
    assert all(b"canary" not in file.read_bytes() for file in files)
    assert sum(file.stat().st_size for file in files) < 20 * count
    assert bench.told("canary-77") == [("sent", "accepted", "", "")]
