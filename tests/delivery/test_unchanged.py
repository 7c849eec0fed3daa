"""Rows that are, byte for byte, those that were delivered are neither compared nor written again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.syncing import Recorder, SyncBench, people, verified

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.recheck import ForgottenRecheck, Recheck
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.destinations.files.destination import FilesDestination
from airflow_consent_retl.destinations.files.options import FilesOptions
from airflow_consent_retl.errors import PeopleMissingError, TransientError
from airflow_consent_retl.storage.change_set import Changes
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


def test_the_second_load_of_the_same_rows_compares_nothing(bench: SyncBench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
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


@pytest.mark.parametrize("status", [RowStatus.REJECTED, RowStatus.UNCERTAIN])
def test_rows_that_did_not_all_arrive_are_compared_again(
    bench: SyncBench, caplog: pytest.LogCaptureFixture, status: RowStatus
) -> None:
    caplog.set_level(logging.INFO)
    rows = verified(bench.filtered(people(BEFORE)), fields=FIELDS)
    destination = Recorder(lambda batch: Outcomes(batch.rows.num_rows, exceptions={0: Outcome(status, "code")}))
    with suppress(TransientError):
        bench.load(rows, destination, max_rejected_ratio=1)

    destination, _ = loaded(bench, BEFORE)

    assert not recognised(caplog)
    assert sum(batch.rows.num_rows for batch in destination.batches) == 1


def test_a_person_who_was_withheld_is_sent_once_the_source_permits_it(
    bench: SyncBench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    rows = verified(bench.filtered(people(BEFORE)), fields=FIELDS)

    @contextmanager
    def first_is_withheld(changes: Changes) -> Iterator[Recheck]:
        yield ForgottenRecheck(lambda: np.array([0]), interval_s=60)

    bench.load(rows, Recorder(), make_recheck=first_is_withheld)

    destination, _ = loaded(bench, BEFORE)

    assert not recognised(caplog)
    assert sum(batch.rows.num_rows for batch in destination.batches) == 1


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


class Exports:
    """A folder of exports, loaded by a sync of its own."""

    def __init__(self, path: Path) -> None:
        self.bench = SyncBench(path)
        self.folder = path / "lake"

    def load(self, rows: People, **options: Any) -> LoadReport:
        options = {"path": self.folder.as_uri(), **options}
        permitted = verified(self.bench.filtered(people(rows)), fields=FIELDS)
        return self.bench.load(permitted, FilesDestination(FilesOptions(**options)))

    @property
    def current(self) -> Path:
        pointer = json.loads((self.folder / "_current.json").read_bytes())
        return self.folder / str(pointer["current"])


@pytest.fixture
def exports(tmp_path: Path) -> Exports:
    return Exports(tmp_path)


def test_an_export_of_the_same_rows_is_not_written_again(exports: Exports, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    exports.load(BEFORE)
    before = exports.current

    report = exports.load(BEFORE)

    assert recognised(caplog)
    assert exports.current == before
    assert (report.unchanged, report.sent.planned) == (3, 0)


def test_an_export_without_a_person_who_withdrew_is_written(exports: Exports) -> None:
    exports.load(BEFORE)
    exports.load(BEFORE)

    report = exports.load({**BEFORE, 3: ("c", False)})

    assert pq.read_table(exports.current / "part-00000.parquet").to_pydict() == {"id": [1, 2], "email": ["a", "b"]}
    assert report.removed.accepted == 1
    assert [path.name for path in exports.folder.iterdir() if path.is_dir()] == [exports.current.name]


def test_an_export_in_another_form_is_written(exports: Exports) -> None:
    exports.load(BEFORE)

    exports.load(BEFORE, format="csv")
    assert [path.suffix for path in exports.current.iterdir() if path.stem.startswith("part")] == [".csv"]
    exports.load(BEFORE, format="csv", null_text="none")

    assert json.loads((exports.current / "_manifest.json").read_bytes())["options"]["null_text"] == "none"


def test_a_lost_export_is_missed_although_its_rows_are_the_same(exports: Exports) -> None:
    exports.load(BEFORE)
    (exports.current / "part-00000.parquet").unlink()

    with pytest.raises(PeopleMissingError):
        exports.load(BEFORE)


def test_versions_that_are_due_go_with_a_load_of_the_same_rows(exports: Exports) -> None:
    exports.load({1: ("a", True)}, keep_versions=2)
    exports.load({1: ("a", True), 2: ("b", True)}, keep_versions=2)
    assert sum(path.is_dir() for path in exports.folder.iterdir()) == 2

    exports.load({1: ("a", True), 2: ("b", True)}, keep_versions=1)

    assert [path.name for path in exports.folder.iterdir() if path.is_dir()] == [exports.current.name]
