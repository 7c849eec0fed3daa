"""A filter run records only changed decisions; runs at the same time do not hide each other's changes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa
import pytest
from support.permitting import AT, CONSENT, DESTINATIONS, KEY, POLICY, plan_for, snapshot_of

from airflow_consent_retl.errors import RefusedError, SyncBusyError
from airflow_consent_retl.filtering.decision_files import SortedPeople
from airflow_consent_retl.filtering.decision_records import DecidedRun, DecisionRecorder, NewState
from airflow_consent_retl.filtering.files import SnapshotFilter
from airflow_consent_retl.reports.recorded_decisions import recorded_decisions
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.location import open_folder
from airflow_consent_retl.storage.records.documents import DecisionClass, DecisionRecords, DestinationDecision
from airflow_consent_retl.storage.records.stream import RecordStream
from airflow_consent_retl.storage.records.subjects import RecordedPerson, RecordKey

LOG = logging.getLogger("tests.decision_records")
RECORDS = RecordKey(KEY)
RUN = DecidedRun(
    model="customers",
    destinations=("ads", "lake", "webhook"),
    decided_at=AT,
    data_time=AT,
    policy_digest="sha256:0",
    policy_source="inline",
    snapshot_sha256="0" * 64,
    rows_read=3,
)
OnePeople = TypeVar("OnePeople", bound=SortedPeople)


class Bench:
    """Filter runs of one model over people with their answer to advertising; all permit analytics."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stream = RecordStream(Folder.local(path / "records"), DecisionRecords)
        self._runs = 0

    def filtered(
        self, answers: dict[int | None, bool], resources: ExitStack, kind: type[OnePeople], *, used_again: str = ""
    ) -> tuple[DecisionRecorder, OnePeople]:
        """Filter, and return what is to be recorded; with a content, as a run that uses the files before again."""
        self._runs += 1
        folder = Folder.local(self.path / f"snapshot-{self._runs}")
        rows = pa.table(
            {
                "id": pa.array(list(answers), pa.int64()),
                "email": ["x"] * len(answers),
                "analytics_ok": [True] * len(answers),
                "ads_ok": list(answers.values()),
            }
        )
        snapshot, _ = snapshot_of(folder, rows)
        plan = plan_for(snapshot, POLICY, consent=CONSENT, destinations=DESTINATIONS)
        run = resources.enter_context(SnapshotFilter(folder, snapshot, plan, duplicates=None, at=AT))
        decided = run.decide()
        recorder = DecisionRecorder(self.stream, RECORDS, decided, LOG, open_folder)
        if used_again:
            people = kind(recorder, content_sha256=used_again, read_rows=partial(run.read_again, decided))
        else:
            people = kind(recorder)
        resources.enter_context(people)
        if not used_again:
            run.write(decided, Folder.local(self.path / f"out-{self._runs}"), KEY, record=people.add)
        return recorder, people

    def record(self, answers: dict[int | None, bool]) -> None:
        with ExitStack() as resources:
            recorder, people = self.filtered(answers, resources, SortedPeople)
            recorder.publish(RUN, people)

    def told(self, subject: int) -> list[tuple[int, str, str]]:
        found = recorded_decisions(self.stream, RecordedPerson.of(subject, [RECORDS]), verify=True)
        return [(one.run, one.before, one.decision) for one in found if one.destination == "ads"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_run_without_a_change_records_that_it_ran_and_no_person(bench: Bench) -> None:
    bench.record({1: True, 2: False})
    bench.record({1: True, 2: False})

    first, second = (bench.stream.read(name) for name in bench.stream.names())

    assert (first.rows, second.rows) == (2, 0)
    assert (first.people, second.people, second.number) == (2, 2, 2)
    assert second.parts == ()
    assert first.state is not None
    assert not bench.stream.folder.exists(first.state.file)


def test_rows_without_an_id_are_no_person(bench: Bench) -> None:
    bench.record({1: True, None: True})

    assert bench.stream.read(bench.stream.names()[0]).people == 1


class Overtaken(SortedPeople):
    """Lets another run publish while this one compares, some times."""

    def overtake(self, bench: Bench, runs: Sequence[dict[int | None, bool]]) -> None:
        self._bench, self._others = bench, list(runs)

    def compare(self, *arguments: Any) -> NewState:
        state = super().compare(*arguments)
        if self._others:
            self._bench.record(self._others.pop())
        return state


def overtaken(
    bench: Bench,
    answers: dict[int | None, bool],
    others: Sequence[dict[int | None, bool]],
    *,
    used_again: str = "",
) -> None:
    with ExitStack() as resources:
        recorder, people = bench.filtered(answers, resources, Overtaken, used_again=used_again)
        people.overtake(bench, others)
        recorder.publish(RUN, people)


def test_a_run_that_is_overtaken_is_compared_with_the_other_one(bench: Bench) -> None:
    bench.record({1: True})

    overtaken(bench, {1: True}, [{1: False}])

    assert bench.told(1) == [
        (1, "not_in_model", "permitted"),
        (2, "permitted", "denied"),
        (3, "denied", "permitted"),
    ]
    left = [name for name in bench.stream.folder.names() if name.endswith("state.numbers")]
    assert len(left) == 1


def test_a_run_that_uses_files_again_reads_its_rows_where_another_one_overtakes_it(bench: Bench) -> None:
    with ExitStack() as resources:
        recorder, people = bench.filtered({1: True, 2: True}, resources, SortedPeople)
        recorder.publish(replace(RUN, content_sha256="same"), people)

    overtaken(bench, {1: True, 2: True}, [{1: False, 2: True}], used_again="same")

    assert [bench.stream.read(name).rows for name in bench.stream.names()] == [2, 1, 1]
    assert bench.told(1)[1:] == [(2, "permitted", "denied"), (3, "denied", "permitted")]
    left = [name for name in bench.stream.folder.names() if name.endswith("state.numbers")]
    assert len(left) == 1


def test_a_run_that_is_overtaken_all_the_time_may_be_tried_again(bench: Bench) -> None:
    with pytest.raises(SyncBusyError, match="filtered by several tasks at the same time"):
        overtaken(bench, {1: True}, [{1: False}] * 5)


def test_too_many_different_decisions_are_not_recorded_and_the_run_says_so(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as resources:
        recorder, people = bench.filtered({1: True}, resources, SortedPeople)
        recorder.classes = recorder.classes * 4097
        with caplog.at_level(logging.WARNING, logger=LOG.name):
            recorder.publish(RUN, people)

    assert "not recorded: there are 4,097 different ones, the most is 4,096" in caplog.text
    assert bench.stream.names() == []


def test_where_the_numbers_of_classes_run_out_everyone_is_recorded_again(bench: Bench) -> None:
    bench.record({1: True, 2: False})
    (name,) = bench.stream.names()
    first = bench.stream.read(name)
    other = DestinationDecision(permitted=False, reasons=("x",), withheld=())
    full = [DecisionClass(destinations={f"d{number}": other}) for number in range(4096)]
    details = bench.stream.write_details("full", full)
    bench.stream.publish("00000002", first.model_copy(update={"number": 2, "classes": details, "state": first.state}))

    bench.record({1: True, 2: False})

    assert [run for run, _, _ in bench.told(1)][-1] == 3
    assert bench.stream.read(bench.stream.names()[-1]).rows == 2


def test_records_are_read_with_plain_sql(bench: Bench) -> None:
    bench.record({1: True, 2: False})
    (part,) = bench.stream.read(bench.stream.names()[0]).parts

    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT * FROM '{bench.stream.folder.path}/{part.part.name}' ORDER BY subject"
        ).fetchall()

    assert [before for _, _, before in found] == [-1, -1]
    assert [subject for subject, _, _ in found] == sorted(subject for subject, _, _ in found)


def test_after_the_state_is_lost_everyone_is_recorded_again_and_the_run_says_so(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.record({1: True})
    state = bench.stream.read(bench.stream.names()[0]).state
    assert state is not None
    bench.stream.folder.remove_file(state.file)

    with caplog.at_level(logging.WARNING, logger=LOG.name):
        bench.record({1: True})

    assert "is gone: everyone is recorded again" in caplog.text
    assert [run for run, _, _ in bench.told(1)] == [1, 2]


def test_a_changed_state_is_refused(bench: Bench) -> None:
    bench.record({1: True})
    state = bench.stream.read(bench.stream.names()[0]).state
    assert state is not None
    bench.stream.folder.replace(state.file, b"another")

    with pytest.raises(RefusedError, match=f"{state.file} has 7 bytes"):
        bench.record({1: True})
