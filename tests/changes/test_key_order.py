"""A first load into a place that takes rows faster in the order of their keys."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.changing import KnowsBy, Sync, accepted, entries, people

from airflow_consent_retl.contract.destination import Limits
from airflow_consent_retl.storage.change_set import Changes

FIELDS = {"key": "id", "name": "name"}


class TakesInOrder(KnowsBy):
    """A destination of batches of five that are faster in order."""

    @property
    def limits(self) -> Limits:
        return Limits(batch_rows=5)

    @property
    def orders_rows(self) -> bool:
        return True


def mixed(ids: list[Any]) -> pa.Table:
    random.Random(3).shuffle(ids)  # noqa: S311 - the same rows in each run
    names = [f"name of {id_}" for id_ in ids]
    return pa.table({"id": ids, "name": names, "ads_ok": [True] * len(ids)})


def batches_of(changes: Changes, rows: int = 5) -> list[tuple[int, list[dict[str, Any]]]]:
    return [(start, some.to_pylist()) for start, some in changes.rows_to_send(rows)]


@pytest.fixture
def sync(tmp_path: Path) -> Sync:
    return Sync(tmp_path, FIELDS, TakesInOrder())


@pytest.mark.parametrize("ids", [list(range(23)), [f"k{n}" for n in range(23)]], ids=["integers", "texts"])
def test_rows_ascend_over_all_batches_and_each_person_keeps_what_is_noted_of_it(sync: Sync, ids: list[Any]) -> None:
    changes = sync.changes(mixed([*ids]))

    expected = [{"key": id_, "name": f"name of {id_}"} for id_ in sorted(ids)]
    assert batches_of(changes) == [(start, expected[start : start + 5]) for start in range(0, 23, 5)]
    assert not changes.manifest.rows_are_permitted
    assert [id_ for _, some in changes.ids_to_send(4) for id_ in some.to_pylist()] == sorted(ids)
    assert (changes.counts.added, changes.counts.permitted) == (23, 23)
    after = sync.folded(changes, [accepted(23)], [])
    assert {entry["id"]: entry["removal"] for entry in entries(after.state)} == {id_: {"key": id_} for id_ in ids}


def test_a_load_that_is_resumed_has_the_same_batches(sync: Sync) -> None:
    changes = sync.changes(mixed([*range(40)]))

    again = Changes(changes.folder, sha256=changes.sha256)
    again.verify()

    assert batches_of(again) == batches_of(changes)


def test_the_next_load_of_the_same_rows_finds_each_person_unchanged(sync: Sync) -> None:
    rows = mixed([*range(23)])

    changes = sync.delivered(rows).changes(rows)

    assert (changes.counts.unchanged, changes.manifest.upsert_rows) == (23, 0)


@pytest.mark.parametrize(
    "ids",
    [
        pytest.param([*range(10)], id="two batches"),
        pytest.param([Decimal(n) for n in range(23)], id="keys without an order"),
    ],
)
def test_rows_that_are_sent_in_any_order_stay_in_the_permitted_set(sync: Sync, ids: list[Any]) -> None:
    rows = mixed(ids)

    changes = sync.changes(rows)

    assert changes.manifest.rows_are_permitted
    assert [row["key"] for _, some in batches_of(changes) for row in some] == rows["id"].to_pylist()


def test_rows_that_are_in_order_stay_in_the_permitted_set(sync: Sync) -> None:
    rows = people(*({"id": number, "name": f"name of {number}"} for number in range(40)))

    changes = sync.changes(rows)

    assert changes.manifest.rows_are_permitted
    assert [row["key"] for _, some in batches_of(changes) for row in some] == list(range(40))
