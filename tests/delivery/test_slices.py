"""A load in slices leaves the receiver and the delivered state as one task does, whatever happens to a slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.permitting import KEY
from support.slicing import SYNC, Receiver, SliceBench
from support.syncing import MakeRecheck, Recorder, consenting, first_id, people, verified

from airflow_consent_retl.consent import RemovalCause
from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.delivery.attempts import BatchKind, IntendedBatch
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.recheck import Recheck, SourceRecheck
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.delivery.settings import Guards, SyncSettings
from airflow_consent_retl.delivery.slicing import Slice
from airflow_consent_retl.errors import (
    ConfigurationError,
    DestinationUnavailableError,
    GuardError,
    LeaseLostError,
    OvertakenError,
    SyncBusyError,
)
from airflow_consent_retl.filtering.consent_answers import PERMITTED, ConsentAnswers
from airflow_consent_retl.filtering.permitted_files import FilePermittedRows
from airflow_consent_retl.filtering.subject_index import Ask, SubjectIndex
from airflow_consent_retl.storage.change_set import Changes

FIELDS = {"id": "id", "email": "email"}


@pytest.fixture
def bench(tmp_path: Path) -> SliceBench:
    return SliceBench(tmp_path)


class Death(BaseException):
    """The process of a worker ends here."""


def everybody(bench: SliceBench, count: int = 200) -> FilePermittedRows:
    return verified(bench.filtered(consenting(count)), fields=FIELDS)


def in_slices(bench: SliceBench, rows: FilePermittedRows, there: dict[int, str], slices: int, **options: Any) -> None:
    """Load as the tasks of a DAG do: begin, each slice, and the load."""
    for part in bench.begin(rows, Receiver(there), slices, **options):
        bench.send(part, Receiver(there), **options)
    bench.load(rows, Receiver(there), **options)


def asking(causes: dict[int, RemovalCause]) -> Ask:
    """Return how to ask a source that permits everyone but these people."""

    def ask(id_type: pa.DataType) -> Iterator[ConsentAnswers]:
        numbers = [causes[number].rank if number in causes else PERMITTED for number in range(200)]
        yield ConsentAnswers(pa.array(range(200), id_type), {"ads": np.array(numbers, dtype=np.int8)})

    return ask


def rechecking(withdrawn: set[int]) -> MakeRecheck:
    """Return what asks that source about the people about to be sent."""

    @contextmanager
    def make(changes: Changes) -> Iterator[Recheck]:
        ids = (some for _, some in changes.ids_to_send(30))
        with SubjectIndex(ids, pa.int64(), people=changes.manifest.upsert_rows) as found:
            ask = asking(dict.fromkeys(withdrawn, RemovalCause.CONSENT_WITHDRAWN))
            yield SourceRecheck(
                found, "ads", ask, carrying=lambda fields: found_none, interval_s=60, start=changes.sent_from
            )

    found_none = np.empty(0, np.int64)
    return make


def dying_at(number: int) -> Callable[[Batch], Outcomes]:
    def answer(batch: Batch) -> Outcomes:
        if first_id(batch) == number:
            raise Death
        return Outcomes.accepted(batch.rows.num_rows)

    return answer


def test_the_slices_send_every_row_once_and_the_load_sends_none(bench: SliceBench) -> None:
    rows = everybody(bench)
    sent: list[Recorder] = []
    parts = bench.begin(rows, Receiver({}), 4)
    for part in parts:
        sent.append(Receiver({}))
        tally = bench.send(part, sent[-1])
        assert tally is not None
        assert tally.accepted == tally.planned == 50

    last = Receiver({})
    report = bench.load(rows, last)

    assert [str(part) for part in parts] == ["1 of 4", "2 of 4", "3 of 4", "4 of 4"]
    assert sorted(number for one in sent for number in one.ids) == list(range(200))
    assert last.ids == []
    assert (report.added, report.sent.accepted, report.resumed) == (200, 200, True)
    assert len(bench.delivered()) == 200


def test_few_rows_are_left_to_the_load(bench: SliceBench) -> None:
    rows, there = everybody(bench, 99), dict[int, str]()

    assert bench.begin(rows, Receiver(there), 8) == []
    bench.load(rows, Receiver(there))

    assert sorted(there) == list(range(99))


def test_people_are_removed_before_the_first_slice_and_the_limits_count_over_the_whole_sync(bench: SliceBench) -> None:
    there = dict[int, str]()
    in_slices(bench, everybody(bench, 300), there, 3)
    fewer = verified(bench.filtered(people({number: ("new", number >= 120) for number in range(300)})), fields=FIELDS)

    bench.begin(fewer, Receiver(there), 3)

    # The slices have sent nothing yet.
    assert sorted(there) == list(range(120, 300))
    assert set(there.values()) == {"x"}
    with pytest.raises(GuardError, match="nothing was sent"):
        bench.begin(everybody(bench, 30), Receiver(there), 3, guards=Guards(max_removed_ratio=0.5))


def test_the_number_of_slices_may_change_between_runs_and_between_tries(bench: SliceBench) -> None:
    there = dict[int, str]()
    in_slices(bench, everybody(bench), there, 4)
    changed = verified(bench.filtered(people(dict.fromkeys(range(200), ("new", True)))), fields=FIELDS)
    first = bench.begin(changed, Receiver(there), 4)
    bench.send(first[1], Receiver(there))

    again = bench.begin(changed, Receiver(there), 2)
    sent = Receiver(there)
    for part in again:
        bench.send(part, sent)
    bench.load(changed, Receiver(there))

    assert len(again) == 2
    assert len(sent.ids) == 150
    assert there == dict.fromkeys(range(200), "new")
    assert bench.delivered() == {number: [(True, False)] for number in range(200)}


def test_a_slice_whose_worker_dies_is_resumed_and_sends_again_only_what_had_no_answer(tmp_path: Path) -> None:
    bench = SliceBench(tmp_path, ttl_s=0.3, wait_s=5)
    rows, there = everybody(bench), dict[int, str]()
    parts = bench.begin(rows, Receiver(there), 2)
    died = Receiver(there, dying_at(57))
    number = next(part.number for part in parts for _ in [0] if dies(bench, part, died))

    resumed = Receiver(there)
    for part in parts:
        bench.send(part, resumed)
    report = bench.load(rows, Receiver(there))

    assert number in {1, 2}
    assert there.keys() == set(range(200))
    assert 57 in resumed.ids
    assert len(died.ids) + len(resumed.ids) < 210
    assert report.sent.accepted == 200


def dies(bench: SliceBench, part: Slice, receiver: Receiver) -> bool:
    """Send a slice by a worker that dies at a row, and leaves its lease behind."""
    try:
        bench.send(part, receiver, releases=False)
    except Death:
        return True
    return False


def test_a_worker_that_lost_its_slice_may_send_nothing_more(tmp_path: Path) -> None:
    bench = SliceBench(tmp_path, ttl_s=0.2, wait_s=5)
    (part, *_) = bench.begin(everybody(bench), Receiver({}), 2)
    with Ledger.sqlite(tmp_path / "ledger.db") as ledger:
        delivery = ledger.open_delivery(SYNC)
        assert delivery is not None
        # Never entered, so never renewed: as of a worker that is paused.
        paused = ledger.acquire_slice(delivery, first=part.first, end=part.end, holder="paused", ttl_s=0.2)
        assert paused is not None
        tally = bench.send(part, Receiver({}))

        with pytest.raises(LeaseLostError):
            paused.check()
        with pytest.raises(LeaseLostError):
            paused.record(delivery, intended=[IntendedBatch(kind=BatchKind.SEND, number=0, start=0, rows=1, key="k")])

    assert tally is not None
    assert tally.accepted == 100


def test_a_newer_run_ends_the_delivery_and_the_slices_of_the_older_one_send_nothing(bench: SliceBench) -> None:
    there = dict[int, str]()
    older, newer = everybody(bench), everybody(bench, 240)
    first = bench.begin(older, Receiver(there), 2)
    bench.send(first[0], Receiver(there))

    second = bench.begin(newer, Receiver(there), 2)
    late = Receiver(there)

    assert bench.send(first[1], late) is None
    assert late.ids == []
    for part in second:
        bench.send(part, Receiver(there))
    report = bench.load(newer, Receiver(there))
    with pytest.raises(OvertakenError):
        bench.load(older, Receiver(there))
    assert there.keys() == set(range(240))
    # What the first slice had sent counts as delivered.
    assert (report.unchanged, report.added) == (100, 140)


def test_withdrawals_between_the_slices_are_carried_out_and_the_load_sends_the_rest(bench: SliceBench) -> None:
    rows, there = everybody(bench), dict[int, str]()
    first, second = bench.begin(rows, Receiver(there), 2)
    bench.send(first, Receiver(there))
    withdrawn = sorted(there)[:3]

    with bench.leased(Receiver(there), SyncSettings()) as sync:
        sync.withdraw(asking(dict.fromkeys(withdrawn, RemovalCause.CONSENT_WITHDRAWN)), LoadReport(permitted=0))

    assert bench.send(second, Receiver(there)) is None
    assert there.keys().isdisjoint(withdrawn)
    report = bench.load(rows, Receiver(there), make_recheck=rechecking(set(withdrawn)))
    assert there.keys() == set(range(200)) - set(withdrawn)
    assert report.sent.withheld == 3


def test_people_whom_a_slice_withholds_are_removed_by_the_load(bench: SliceBench) -> None:
    there = dict[int, str]()
    in_slices(bench, everybody(bench), there, 2)
    changed = verified(bench.filtered(people(dict.fromkeys(range(200), ("new", True)))), fields=FIELDS)
    withdrawn = {3, 77, 142}

    for part in bench.begin(changed, Receiver(there), 2):
        bench.send(part, Receiver(there), make_recheck=rechecking(withdrawn))
    report = LoadReport(permitted=200)
    with bench.leased(Receiver(there), SyncSettings()) as sync:
        ask = asking(dict.fromkeys(withdrawn, RemovalCause.CONSENT_WITHDRAWN))
        sync.load(changed, report, subject_key=KEY, make_recheck=rechecking(withdrawn), ask=ask)

    assert report.sent.withheld == report.removed.accepted == 3
    assert there == dict.fromkeys(set(range(200)) - withdrawn, "new")
    assert bench.delivered().keys() == there.keys()


def test_a_slice_that_gets_no_answer_is_tried_again_with_the_same_keys(bench: SliceBench) -> None:
    rows, there = everybody(bench), dict[int, str]()
    parts = bench.begin(rows, Receiver(there), 2)
    unclear = Receiver(there, lambda batch: Outcomes.uncertain(batch.rows.num_rows, "timeout"))
    with pytest.raises(DestinationUnavailableError):
        bench.send(parts[0], unclear)

    again = Receiver(there)
    for part in parts:
        bench.send(part, again)
    bench.load(rows, Receiver(there))

    assert unclear.batches[0].key in {batch.key for batch in again.batches}
    assert len(bench.delivered()) == 200


def test_a_destination_that_replaces_everything_or_does_not_say_that_it_may_takes_no_slices(bench: SliceBench) -> None:
    with pytest.raises(ConfigurationError, match="Recorder takes no slices: one task sends each load"):
        bench.begin(everybody(bench), Recorder(), 2)


@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_any_number_of_slices_ends_as_one_task_does(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Two days; on each, a slice may die at any of its rows, and slices come in any order."""
    sliced, alone = (SliceBench(tmp_path_factory.mktemp("bench")) for _ in range(2))
    there, expected = dict[int, str](), dict[int, str]()
    # Otherwise a person stays known for as long as a request that was never answered may still arrive.
    options: dict[str, Any] = {"guards": Guards(max_removed_ratio=None), "settle_s": 0}
    for day in ("one", "two"):
        no = data.draw(st.sets(st.integers(0, 159), max_size=40))
        same = data.draw(st.sets(st.integers(0, 159), max_size=20))
        table = people({n: ("one" if n in same else day, n not in no) for n in range(160)})
        rows = verified(sliced.filtered(table), fields=FIELDS)
        parts = sliced.begin(rows, Receiver(there), data.draw(st.integers(2, 4)), **options)
        for part in data.draw(st.permutations(parts)):
            try:
                sliced.send(part, Receiver(there, dying_at(data.draw(st.integers(0, 400))), concurrency=8), **options)
            except Death:
                if data.draw(st.booleans()):
                    sliced.send(part, Receiver(there, concurrency=8), **options)
        sliced.load(rows, Receiver(there, concurrency=8), **options)
        alone.load(verified(alone.filtered(table), fields=FIELDS), Receiver(expected, concurrency=8), **options)

        assert there == expected
        assert sliced.delivered().keys() == alone.delivered().keys()


def test_while_a_slice_runs_no_other_task_gets_the_sync_or_a_part_of_the_slice(bench: SliceBench) -> None:
    parts = bench.begin(everybody(bench), Receiver({}), 4)
    overlapping = Slice(delivery=parts[0].delivery, number=1, of=2, first=0, end=100)

    with bench.leased_slice(parts[1]) as (ledger, _):
        # As the page and the report show who works on a sync.
        assert [one.holder for one in ledger.syncs()] == ["slice 2 of 4"]
    with bench.leased_slice(parts[1]), bench.leased_slice(parts[2]):
        with pytest.raises(SyncBusyError, match=r"slice [23] of 4"), bench.leased(Receiver({}), SyncSettings()):
            pass
        with pytest.raises(SyncBusyError, match="slice 2 of 4"), bench.leased_slice(overlapping):
            pass
    with bench.leased_slice(overlapping) as (_, lease):
        assert lease is not None


def test_while_a_task_has_the_sync_no_slice_begins(bench: SliceBench) -> None:
    (part, *_) = bench.begin(everybody(bench), Receiver({}), 2)

    with (
        bench.leased(Receiver({}), SyncSettings()),
        pytest.raises(SyncBusyError, match="`test`"),
        bench.leased_slice(part),
    ):
        pass
