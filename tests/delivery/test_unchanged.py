"""Rows that are, byte for byte, those that a whole comparison found delivered are not compared again."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from support.syncing import Recorder, SyncBench, people, verified

from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.storage.sync_mode import SyncMode

FIELDS = {"id": "id", "email": "email"}
People = dict[int, tuple[str, bool | None]]
BEFORE: People = {1: ("a", True), 2: ("b", True), 3: ("c", True)}
RECOGNISED = "byte for byte"


@pytest.fixture
def bench(tmp_path: Path) -> SyncBench:
    return SyncBench(tmp_path)


def loaded(bench: SyncBench, rows: People, **options: Any) -> tuple[Recorder, LoadReport]:
    """Filter these people and load them, in a run of its own."""
    destination = Recorder()
    fields = options.pop("fields", FIELDS)
    report = bench.load(verified(bench.filtered(people(rows)), fields=fields), destination, **options)
    return destination, report


def recognised(log: pytest.LogCaptureFixture) -> bool:
    found = RECOGNISED in log.text
    log.clear()
    return found


def test_the_third_load_of_the_same_rows_compares_nothing(bench: SyncBench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    loaded(bench, BEFORE)
    loaded(bench, BEFORE)
    assert not recognised(caplog)

    destination, report = loaded(bench, BEFORE)

    assert recognised(caplog)
    assert destination.calls == []
    assert (report.permitted, report.unchanged, report.added, report.updated) == (3, 3, 0, 0)


@pytest.mark.parametrize(
    ("rows", "sent", "removed"),
    [
        ({**BEFORE, 2: ("B", True)}, [2], []),
        ({**BEFORE, 4: ("d", True)}, [4], []),
        ({1: ("a", True), 2: ("b", True), 3: ("c", False)}, [], [3]),
        ({1: ("a", True), 2: ("b", True)}, [], [3]),
    ],
    ids=["changed", "new", "withdrew", "left"],
)
def test_any_difference_is_found_and_the_former_rows_are_not_recognised_after_it(
    bench: SyncBench, caplog: pytest.LogCaptureFixture, rows: People, sent: list[int], removed: list[int]
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        loaded(bench, BEFORE)
    assert recognised(caplog)

    destination, _ = loaded(bench, rows)
    assert not recognised(caplog)
    assert [row["id"] for batch in destination.batches for row in batch.rows.to_pylist()] == sent
    assert destination.removed_ids == removed

    # The rows of the version before are no proof about this one.
    loaded(bench, BEFORE)
    assert not recognised(caplog)


def test_a_person_who_had_left_and_comes_back_with_a_no_is_removed(
    bench: SyncBench, caplog: pytest.LogCaptureFixture
) -> None:
    """The permitted rows are the same on the last three days: only the denied ones tell of the withdrawal."""
    caplog.set_level(logging.INFO)
    without: People = {1: ("a", True), 2: ("b", True)}
    loaded(bench, BEFORE, mode=SyncMode.UPSERT)
    for _ in range(3):
        destination, _ = loaded(bench, without, mode=SyncMode.UPSERT)
        assert destination.removed_ids == []
        assert not recognised(caplog)

    destination, report = loaded(bench, {**without, 3: ("c", False)}, mode=SyncMode.UPSERT)

    assert destination.removed_ids == [3]
    assert report.removals_by_cause["consent_withdrawn"] == 1


def test_other_fields_are_other_rows(bench: SyncBench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(3):
        loaded(bench, BEFORE)
    assert recognised(caplog)

    destination, report = loaded(bench, BEFORE, fields={"id": "id", "mail": "email"})

    assert not recognised(caplog)
    assert report.updated == 3
    assert len(destination.batches) == 1


def test_the_mode_full_sends_everyone_each_time(bench: SyncBench) -> None:
    for _ in range(3):
        loaded(bench, BEFORE)

    destination, _ = loaded(bench, BEFORE, mode=SyncMode.FULL)

    assert sum(batch.rows.num_rows for batch in destination.batches) == 3


def test_a_skipped_change_is_counted_in_every_run(bench: SyncBench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    loaded(bench, BEFORE, mode=SyncMode.INSERT)
    changed: People = {**BEFORE, 2: ("B", True)}

    for _ in range(3):
        _, report = loaded(bench, changed, mode=SyncMode.INSERT)
        assert (report.skipped, report.unchanged) == (1, 2)
        assert not recognised(caplog)
