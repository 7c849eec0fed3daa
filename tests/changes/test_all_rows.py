"""Loads of all rows: the changes note each person, and the payloads stay in the permitted set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from support.changing import BY_ID, BY_MAIL, FIELDS, KnowsBy, Sync, accepted, entries, people, removed, sent

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.change_set import Changes
from airflow_consent_retl.storage.sync_mode import SyncMode

ANN, BEN, CAT = (
    {"id": number, "email": f"{name}@x", "name": name} for number, name in enumerate(("ann", "ben", "cat"), 1)
)


@pytest.fixture
def by_id(tmp_path: Path) -> Sync:
    return Sync(tmp_path, {"key": "id", "name": "name"}, BY_ID)


@pytest.fixture
def sync(tmp_path: Path) -> Sync:
    return Sync(tmp_path, FIELDS, BY_MAIL)


def test_a_load_of_all_rows_notes_each_person_and_leaves_the_rows_in_the_permitted_set(by_id: Sync) -> None:
    rows = people(*({"id": number, "name": f"name {number}"} for number in range(40)))
    delivered = by_id.delivered(rows.slice(5)).with_(mode=SyncMode.FULL)

    changes = delivered.changes(rows.slice(0, 38))

    assert changes.manifest.rows_are_permitted
    assert sent(changes, 7) == {number: {"key": number, "name": f"name {number}"} for number in range(38)}
    assert (changes.counts.added, changes.counts.updated, changes.counts.unchanged) == (5, 0, 33)
    assert {id_: values for id_, _, values in removed(changes)} == {38: {"key": 38}, 39: {"key": 39}}
    after = delivered.folded(changes, [accepted(38)], [accepted(2)])
    assert {entry["id"]: entry["removal"] for entry in entries(after.state)} == {n: {"key": n} for n in range(38)}


def test_rows_that_were_left_in_a_permitted_set_come_from_that_set_alone(by_id: Sync) -> None:
    permitted = by_id.permitted(people(ANN, BEN))
    changes = by_id.changes(permitted)

    with pytest.raises(RefusedError, match="another permitted set"):
        changes.with_permitted(by_id.permitted(people(ANN, CAT)))
    with pytest.raises(RefusedError, match="not open"):
        next(Changes(changes.folder, sha256=changes.sha256).rows_to_send(5))


def test_a_destination_that_asks_for_rows_later_keeps_them_in_the_changes(sync: Sync) -> None:
    class NamesRows(KnowsBy):
        def confirm_rows(self, request_id: str, rows: int, read: Callable[[], pa.RecordBatch]) -> Outcomes | None:
            return None

    changes = sync.with_(destination=NamesRows("mail", "phone")).changes(people(ANN, BEN))

    assert not changes.manifest.rows_are_permitted
    assert [row["mail"] for row in sent(changes).values()] == ["ann@x", "ben@x"]
