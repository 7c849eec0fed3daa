"""Changes: which rows to send, and which entries to remove and why."""

from __future__ import annotations

import re
import stat
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.changing import (
    BY_ID,
    BY_MAIL,
    FIELDS,
    UNMAPPED,
    CannotRemove,
    KnowsBy,
    Sync,
    accepted,
    batch_result,
    entries,
    new_folder,
    people,
    people_of,
    removed,
    sent,
)
from support.permitting import AT

from airflow_consent_retl.changes.computing import removals_of
from airflow_consent_retl.consent import RemovalCause
from airflow_consent_retl.contract.outcomes import RowStatus
from airflow_consent_retl.errors import ConfigurationError, GuardError, RefusedError
from airflow_consent_retl.storage.change_set import Changes
from airflow_consent_retl.storage.decision_log import SubjectKey
from airflow_consent_retl.storage.delivered import DeliveredState
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.shape import Shape
from airflow_consent_retl.storage.sync_mode import SyncMode

ANN, BEN, CAT = (
    {"id": number, "email": f"{name}@x", "name": name} for number, name in enumerate(("ann", "ben", "cat"), 1)
)


@pytest.fixture
def sync(tmp_path: Path) -> Sync:
    return Sync(tmp_path, FIELDS, BY_MAIL)


@pytest.fixture
def by_id(tmp_path: Path) -> Sync:
    return Sync(tmp_path, {"key": "id", "name": "name"}, BY_ID)


def numbers(changes: Changes) -> tuple[int, int, int, int]:
    counts = changes.counts
    return counts.added, counts.updated, counts.unchanged, counts.skipped


# What changed


def test_before_the_first_load_every_row_is_new(sync: Sync) -> None:
    changes = sync.changes(people(ANN, BEN))

    assert sent(changes) == {
        1: {"mail": "ann@x", "phone": None, "name": "ann"},
        2: {"mail": "ben@x", "phone": None, "name": "ben"},
    }
    assert removed(changes) == []
    assert numbers(changes) == (2, 0, 0, 0)
    assert changes.counts.delivered == 0
    assert changes.manifest.delivered_sha256 is None


def test_only_new_or_changed_rows_are_sent_and_people_who_left_are_removed(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN, BEN, CAT))

    changes = delivered.changes(people(ANN, BEN | {"name": "Ben"}, {"id": 4, "email": "dan@x"}))

    assert sent(changes) == {
        2: {"mail": "ben@x", "phone": None, "name": "Ben"},
        4: {"mail": "dan@x", "phone": None, "name": None},
    }
    assert removed(changes) == [(3, "left_model", {"mail": "cat@x", "phone": None})]
    assert numbers(changes) == (1, 1, 1, 0)
    assert changes.counts.delivered == 3
    assert people_of(changes)["was_delivered"].to_pylist() == [True, False]


def test_a_column_that_is_not_mapped_is_no_change(by_id: Sync) -> None:
    delivered = by_id.delivered(people(ANN))

    assert numbers(delivered.changes(people(ANN | {"email": "other@x"}))) == (0, 0, 1, 0)


def test_an_empty_model_removes_every_entry_and_an_empty_state_adds_every_row(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN, BEN))

    gone = delivered.delivered(people(ANN, BEN).slice(0, 0))

    assert entries(gone.state) == []
    assert gone.state is not None
    assert gone.state.id_type is None
    assert numbers(gone.changes(people(ANN))) == (1, 0, 0, 0)
    assert numbers(gone.changes(people(ANN).slice(0, 0))) == (0, 0, 0, 0)


def test_another_mapping_updates_every_row_and_is_reported(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN, BEN))

    changes = delivered.with_(fields={**FIELDS, "number": "id"}).changes(people(ANN, BEN))

    assert numbers(changes) == (0, 2, 0, 0)
    assert changes.counts.fields_changed
    assert not delivered.changes(people(ANN, BEN)).counts.fields_changed


def test_the_order_of_the_mapping_is_no_change(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN, BEN))

    changes = delivered.with_(fields=dict(reversed(FIELDS.items()))).changes(people(BEN, ANN))

    assert numbers(changes) == (0, 0, 2, 0)
    assert not changes.counts.fields_changed


def test_a_schema_that_was_inferred_otherwise_is_no_change(by_id: Sync) -> None:
    delivered = by_id.with_(fields={"key": "id", "name": "name", "orders": "orders"}).delivered(
        people(ANN, BEN).append_column("orders", pa.array([1, None], pa.int16()))
    )

    again = people(ANN, BEN, id_type=pa.int32()).append_column("orders", pa.array([Decimal(1), None]))
    again = again.set_column(again.schema.get_field_index("name"), "name", pa.array(["ann", "ben"], pa.large_string()))

    assert numbers(delivered.changes(again)) == (0, 0, 2, 0)


# Causes of removals


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ([ANN | {"ads_ok": False}], "consent_withdrawn"),
        ([ANN | {"ads_ok": None}], "consent_missing"),
        ([], "left_model"),
        ([ANN, ANN], "id_ambiguous"),
        ([ANN | {"ads_ok": None}, ANN], "id_ambiguous"),
        ([ANN | {"ads_ok": False}, ANN], "consent_withdrawn"),
    ],
)
def test_people_not_permitted_any_more_are_removed_for_the_strongest_cause(
    sync: Sync, rows: list[dict[str, Any]], cause: str
) -> None:
    delivered = sync.delivered(people(ANN, BEN))

    changes = delivered.changes(people(*rows, BEN))

    assert removed(changes) == [(1, cause, {"mail": "ann@x", "phone": None})]
    assert changes.counts.removed == {cause: 1}


def test_rows_without_an_id_say_nothing_of_who_left(sync: Sync) -> None:
    all_people: list[dict[str, Any]] = [{"id": number, "email": f"{number}@x"} for number in range(100)]
    delivered = sync.delivered(people(*all_people))
    # Each follows a denied person in the decision log.
    there = [row | {"ads_ok": None} for row in all_people[::2]]
    without_id = [{"id": None, "email": "no-id@x"} for _ in there]

    changes = delivered.changes(people(*(row for pair in zip(there, without_id, strict=True) for row in pair)))

    causes = [cause for _, cause, _ in removed(changes)]
    assert causes == ["consent_missing"] * 50 + ["left_model"] * 50


def test_a_destination_that_lost_its_mapping_loses_every_entry_for_that_cause(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN))

    changes = delivered.with_(policy=UNMAPPED).changes(people(ANN))

    assert [cause for _, cause, _ in removed(changes)] == ["destination_unmapped"]


def test_withdrawals_are_removed_before_all_others(sync: Sync) -> None:
    all_people: list[dict[str, Any]] = [{"id": number, "email": f"{number}@x"} for number in range(60)]
    delivered = sync.delivered(people(*all_people))

    changes = delivered.changes(
        people(*(row | {"ads_ok": [None, False][row["id"] % 2]} for row in all_people if row["id"] % 3))
    )

    causes = [cause for _, cause, _ in removed(changes, batch_rows=7)]
    assert causes == ["consent_withdrawn"] * 20 + ["consent_missing"] * 20 + ["left_model"] * 20


def test_removals_come_in_full_batches_whatever_their_causes(sync: Sync) -> None:
    delivered = sync.delivered(people(*({"id": number} for number in range(10))))
    changes = delivered.changes(people(*({"id": number, "ads_ok": False} for number in range(5))))

    assert [(some.start, len(some.ids)) for some in changes.removals(4)] == [(0, 4), (4, 4), (8, 2)]


@pytest.mark.parametrize("mode", SyncMode)
def test_people_who_lose_permission_are_removed_in_every_mode(sync: Sync, mode: SyncMode) -> None:
    delivered = sync.delivered(people(ANN, BEN, CAT)).with_(mode=mode)

    changes = delivered.changes(people(ANN | {"ads_ok": False}, BEN | {"ads_ok": None}))

    keeps = mode in {SyncMode.UPSERT, SyncMode.INSERT}
    expected = ["consent_withdrawn", "consent_missing"]
    assert [cause for _, cause, _ in removed(changes)] == expected + ([] if keeps else ["left_model"])
    assert changes.counts.kept_left_model == (1 if keeps else 0)


def test_a_log_under_another_key_is_refused(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN))
    permitted = delivered.permitted(people(ANN | {"ads_ok": False}))

    with pytest.raises(ConfigurationError, match="the decision log was written under another digest key"):
        delivered.with_(key=SubjectKey("another" * 8)).changes(permitted)


def test_a_log_that_permits_a_person_without_a_row_is_refused(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN))
    # In the log, since she is denied for the other destination.
    permitted = delivered.permitted(people(ANN), destinations=["crm", "other"])

    with pytest.raises(RefusedError, match="the decision log permits a person to `crm` who is not among its rows"):
        delivered.changes(replace(permitted, parts=()))


# Identifiers


def test_people_known_by_a_new_value_are_removed_by_the_old_one_and_sent_with_the_new_one(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN, BEN))

    changes = delivered.changes(people(ANN | {"email": "new@x"}, BEN | {"name": "Ben"}))

    assert removed(changes) == [(1, "identifiers_changed", {"mail": "ann@x", "phone": None})]
    assert set(sent(changes)) == {1, 2}


def test_each_loses_their_own_values_also_where_one_took_over_what_another_was_sent_with(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN, BEN, CAT))

    changes = delivered.changes(people(CAT | {"id": 1}, BEN | {"email": "new@x"}, CAT))

    assert sorted(removed(changes)) == [
        (1, "identifiers_changed", {"mail": "ann@x", "phone": None}),
        (2, "identifiers_changed", {"mail": "ben@x", "phone": None}),
    ]
    assert {id_: row["mail"] for id_, row in sent(changes).items()} == {1: "cat@x", 2: "new@x"}


@pytest.mark.parametrize(
    ("before", "now", "is_removed"),
    [
        ({"phone": None}, {"phone": "1"}, False),
        ({"phone": "1"}, {"phone": None}, True),
        ({"phone": "1"}, {"phone": "2"}, True),
        ({"phone": "1", "name": "a"}, {"phone": "1", "name": "b"}, False),
    ],
)
def test_a_value_that_was_not_known_before_needs_no_removal(
    sync: Sync, before: dict[str, str], now: dict[str, str], is_removed: bool
) -> None:
    delivered = sync.delivered(people(ANN | before))

    changes = delivered.changes(people(ANN | now))

    assert changes.counts.removed == ({"identifiers_changed": 1} if is_removed else {})
    assert set(sent(changes)) == {1}


def test_skipped_people_keep_the_values_that_the_destination_knows(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN)).with_(mode=SyncMode.INSERT)

    changes = delivered.changes(people(ANN | {"email": "new@x"}, BEN))

    assert set(sent(changes)) == {2}
    assert removed(changes) == []
    assert numbers(changes) == (1, 0, 0, 1)


def test_a_destination_that_cannot_remove_gets_the_removals_it_should_make(tmp_path: Path) -> None:
    delivered = Sync(tmp_path, {"name": "name"}, CannotRemove()).delivered(people(ANN, BEN))

    changes = delivered.changes(people(ANN | {"ads_ok": False}, BEN))
    kept = delivered.folded(changes, [], [])

    assert removed(changes) == [(1, "consent_withdrawn", {})]
    assert [entry["id"] for entry in entries(kept.state)] == [1, 2]
    assert [some.rows.num_rows for some in changes.removals(5)] == [1]


def test_a_destination_that_learned_to_remove_removes_by_the_primary_key(by_id: Sync) -> None:
    delivered = by_id.with_(destination=CannotRemove()).delivered(people(ANN, BEN)).with_(destination=BY_ID)

    changes = delivered.changes(people(BEN))

    assert removed(changes) == [(1, "left_model", {"key": 1})]
    assert entries(delivered.folded(changes, [], [accepted(1)]).state) == [
        {"id": 2, "confirmed": True, "unsettled_until": None, "removal": {"key": 2}}
    ]


def test_a_field_that_only_has_another_name_keeps_what_is_known_of_people(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN, BEN))

    renamed = delivered.with_(fields={"email": "email", "phone": "phone"}, destination=KnowsBy("email", "phone"))
    changes = renamed.changes(people(BEN))

    assert removed(changes) == [(1, "left_model", {"email": "ann@x", "phone": None})]
    assert set(sent(changes)) == {2}


def test_a_field_that_was_not_sent_then_is_null_in_a_removal(sync: Sync) -> None:
    delivered = sync.with_(destination=KnowsBy("mail")).delivered(people(ANN | {"phone": "1"}, BEN))

    changes = delivered.with_(destination=KnowsBy("mail", "name", "phone")).changes(people(BEN))

    assert removed(changes) == [(1, "left_model", {"mail": "ann@x", "name": None, "phone": None})]


def test_a_removal_that_would_know_nothing_of_people_is_refused_before_anything_is_sent(sync: Sync) -> None:
    delivered = sync.with_(destination=KnowsBy("mail")).delivered(people(ANN))

    with pytest.raises(RefusedError, match="removing people needs `phone` now, and none of these fields was kept"):
        delivered.with_(destination=KnowsBy("phone")).changes(people(ANN))


def test_a_value_that_does_not_fit_what_removal_needs_now_is_refused(by_id: Sync) -> None:
    delivered = by_id.delivered(people(ANN, {"id": 2**40}))

    with pytest.raises(RefusedError, match="removing people needs `key` as int32 now, but the kept values are int64"):
        delivered.changes(people(ANN, id_type=pa.int32()))


# Ids


IDS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "text": (pa.string(), ["1", "01", "a", "A", "é", "e\u0301", "", " 1", "x" * 70]),
    "int8": (pa.int8(), [-128, 0, 127]),
    "int64": (pa.int64(), [2**53, 2**53 + 1, -(2**63), 2**63 - 1]),
    "uint32": (pa.uint32(), [0, 2**32 - 1]),
    "uint64": (pa.uint64(), [2**63, 2**64 - 1, 1]),
    "decimal": (pa.decimal128(38, 2), [Decimal("1.00"), Decimal("1.01"), Decimal("-" + "9" * 36 + ".99")]),
    "bytes": (pa.binary(), [b"", b"\0", b"\0\0", b"a"]),
    "date": (pa.date32(), [date(1970, 1, 1), date(1, 1, 1)]),
    "time stamp": (pa.timestamp("us", "UTC"), [AT, AT + timedelta(microseconds=1)]),
    "uuid as text": (pa.string(), [str(uuid.UUID(int=1)), str(uuid.UUID(int=2))]),
}


@pytest.mark.parametrize(("type_", "ids"), IDS.values(), ids=IDS.keys())
def test_ids_of_every_type_are_compared_exactly(tmp_path: Path, type_: pa.DataType, ids: list[Any]) -> None:
    sync = Sync(tmp_path, {"name": "name"}, KnowsBy("name"))
    rows = [{"id": id_, "name": f"name of {number}"} for number, id_ in enumerate(ids)]
    delivered = sync.delivered(people(*rows, id_type=type_))

    same = delivered.changes(people(*reversed(rows), id_type=type_))
    first_withdrew = delivered.changes(people(rows[0] | {"ads_ok": False}, *rows[2:], id_type=type_))

    assert numbers(same) == (0, 0, len(ids), 0)
    assert removed(first_withdrew) == [
        (ids[0], "consent_withdrawn", {"name": "name of 0"}),
        (ids[1], "left_model", {"name": "name of 1"}),
    ]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (pa.int32(), pa.int64()),
        (pa.int64(), pa.int8()),
        (pa.int64(), pa.uint64()),
        (pa.uint64(), pa.int64()),
        (pa.int64(), pa.decimal128(20, 2)),
        (pa.decimal128(38, 0), pa.int16()),
        (pa.string(), pa.large_string()),
    ],
)
def test_the_same_ids_in_another_type_are_the_same_people(sync: Sync, before: pa.DataType, now: pa.DataType) -> None:
    def model(type_: pa.DataType, *ids: int, **more: Any) -> pa.Table:
        value = (lambda id_: id_) if not pa.types.is_decimal(type_) else Decimal
        is_text = not (pa.types.is_integer(type_) or pa.types.is_decimal(type_))
        rows = people(*({"id": id_, "name": "x", **more} for id_ in ids))
        found = pa.array([str(id_) if is_text else value(id_) for id_ in ids])
        return rows.set_column(0, "id", found.cast(type_) if not is_text else found.cast(pa.string()).cast(type_))

    delivered = sync.delivered(model(before, 1, 2, 3, 4))

    changes = delivered.changes(
        pa.concat_tables([model(now, 1, 5), model(now, 2, ads_ok=False), model(now, 3, name="y")])
    )
    after = delivered.folded(changes, [accepted(2)], [accepted(2)])

    assert numbers(changes) == (1, 1, 1, 0)
    assert changes.counts.removed == {"consent_withdrawn": 1, "left_model": 1}
    assert [int(entry["id"]) for entry in entries(after.state)] == [1, 3, 5]
    assert numbers(after.changes(model(before, 1, 5, 2))) == (1, 0, 2, 0)


def test_an_id_that_the_present_type_cannot_hold_left_the_model(by_id: Sync) -> None:
    sync = by_id.with_(fields={"name": "name"}, destination=KnowsBy("name"))
    delivered = sync.delivered(people({"id": 2**40, "name": "x"}, ANN, BEN))

    changes = delivered.changes(people(ANN | {"ads_ok": False}, BEN, id_type=pa.int32()))

    assert removed(changes) == [(1, "consent_withdrawn", {"name": "ann"}), (2**40, "left_model", {"name": "x"})]


@pytest.mark.parametrize(
    ("type_", "id_"), [(pa.string(), "1"), (pa.binary(), b"1"), (pa.date32(), date(2026, 1, 1)), (pa.bool_(), True)]
)
def test_ids_of_another_kind_are_refused(sync: Sync, type_: pa.DataType, id_: Any) -> None:
    delivered = sync.delivered(people(ANN))

    message = f"primary key `id` was int64 when people were delivered and is {type_} now: everyone would be"
    with pytest.raises(RefusedError, match=re.escape(message)):
        delivered.changes(people({"id": id_}, id_type=type_))


def test_another_primary_key_is_refused(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN))
    permitted = delivered.permitted(people(ANN))
    other = permitted.manifest.model_copy(update={"primary_key": "email"})

    with pytest.raises(RefusedError, match="people were delivered with primary key `id`, now it is `email`"):
        delivered.changes(replace(permitted, manifest=other))


# Folders


def test_a_state_whose_hashes_have_an_unknown_tag_is_refused(sync: Sync) -> None:
    state = sync.delivered(people(ANN)).state
    assert state is not None
    shape = Shape(state.shape.fields, state.shape.load_schema, state.shape.removal_schema, "p0")
    folder = republished(state, shape=shape.to_manifest())

    with pytest.raises(GuardError, match="payload hashes of this sync have the tag `p0`"):
        sync.with_(state=folder).changes(people(ANN))


def republished(state: DeliveredState, **changed: Any) -> DeliveredState:
    """Return the same files under another manifest."""
    folder = Folder.local(f"{state.folder.path}-changed")
    for part in state.manifest.parts:
        with folder.create(part.name) as file:
            file.write(state.folder.read(part.name))
    return DeliveredState(folder, sha256=folder.publish(state.manifest.model_copy(update=changed).to_json()))


def test_a_state_in_the_order_of_another_version_is_put_in_order_again(sync: Sync) -> None:
    rows = [{"id": number, "email": f"{number}@x"} for number in range(200)]
    state = sync.delivered(people(*rows)).state
    assert state is not None

    delivered = sync.with_(state=republished(state, order_tag="b0"))

    assert numbers(delivered.changes(people(*rows[:150]))) == (0, 0, 150, 0)


def test_a_state_that_is_not_in_the_order_it_claims_is_refused(sync: Sync) -> None:
    state = sync.delivered(people(*({"id": number} for number in range(50)))).state
    assert state is not None
    twice = republished(state, parts=state.manifest.parts * 2, rows=2 * state.rows)

    with pytest.raises(RefusedError, match="the entries are not in the order that the manifest names"):
        sync.with_(state=twice).changes(people(ANN))


def damaged(folder: Folder, name: str) -> None:
    content = bytearray(folder.read(name))
    content[len(content) // 2] ^= 1
    Path(folder.file_path(name)).write_bytes(bytes(content))


@pytest.mark.parametrize("step", ["changes", "fold", "ids", "removals_of"])
def test_a_state_that_was_changed_on_disk_is_refused_by_every_step(sync: Sync, step: str) -> None:
    delivered = sync.delivered(people(*({"id": number, "email": f"{number}@x"} for number in range(500))))
    state = delivered.state
    assert state is not None
    changes = delivered.changes(people(BEN))
    damaged(state.folder, state.manifest.parts[0].name)
    folder = new_folder(sync.path)
    steps: dict[str, Callable[[], object]] = {
        "changes": lambda: delivered.changes(people(BEN)),
        "fold": lambda: delivered.folded(changes, [], []),
        "ids": lambda: list(state.ids()),
        "removals_of": lambda: removals_of(state, {RemovalCause.LEFT_MODEL: np.array([0])}, folder, sync="s"),
    }

    # Arrow may notice first, that a page cannot be read.
    with pytest.raises((RefusedError, OSError, pa.ArrowException)):
        steps[step]()


def test_changes_that_were_changed_on_disk_are_refused(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN, BEN))
    changes = delivered.changes(people(ANN, CAT))
    changes.verify()
    damaged(changes.folder, changes.manifest.removals[0].parts[0].name)

    with pytest.raises(RefusedError, match=r"removals-left_model-00000\.parquet was changed since it was written"):
        changes.verify()
    with pytest.raises(RefusedError, match="was changed since it was written"):
        changes.only([RemovalCause.LEFT_MODEL], new_folder(sync.path))


def test_files_of_changes_and_state_are_private_and_nothing_without_a_manifest(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN, BEN))
    changes = delivered.changes(people(BEN, CAT))
    assert delivered.state is not None

    for folder in (changes.folder, delivered.state.folder):
        assert stat.S_IMODE(Path(folder.path).stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in Path(folder.path).iterdir()} == {0o600}
        Path(folder.file_path("manifest.json")).unlink()
    with pytest.raises(RefusedError, match="does not exist any more"):
        Changes(changes.folder, sha256=changes.sha256)
    with pytest.raises(RefusedError, match="does not exist any more"):
        DeliveredState(delivered.state.folder, sha256=delivered.state.sha256)


def test_the_same_rows_against_the_same_state_end_in_the_same_bytes(sync: Sync) -> None:
    rows = people(*({"id": number, "email": f"{number}@x"} for number in range(300)))
    delivered = sync.delivered(rows)
    permitted = delivered.permitted(rows.slice(100).append_column("more", pa.nulls(200)))

    assert delivered.changes(permitted).sha256 == delivered.changes(permitted).sha256


def test_reading_removals_may_begin_at_any_position(sync: Sync) -> None:
    delivered = sync.delivered(people(*({"id": -number} for number in range(1, 30))))
    changes = delivered.changes(people({"id": 1}))
    removals = [(some.start, some.ids.to_pylist(), some.entries.tolist()) for some in changes.removals(7)]

    for start in (0, 14, 28, 35):
        later = [(some.start, some.ids.to_pylist(), some.entries.tolist()) for some in changes.removals(7, start=start)]
        assert later == removals[start // 7 :]


# Some removals alone


def test_the_withdrawals_alone_can_be_carried_out(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN, BEN, CAT))
    changes = delivered.changes(people(ANN | {"ads_ok": False}, BEN | {"ads_ok": None}, {"id": 9}))

    only = changes.only([RemovalCause.CONSENT_WITHDRAWN], new_folder(sync.path))
    after = delivered.folded(only, [], [accepted(1)])

    assert removed(only) == [(1, "consent_withdrawn", {"mail": "ann@x", "phone": None})]
    assert sent(only) == {}
    assert only.counts.removed == {"consent_withdrawn": 1}
    assert only.counts.delivered == 3
    assert only.manifest.delivered_sha256 == changes.manifest.delivered_sha256
    assert [entry["id"] for entry in entries(after.state)] == [2, 3]
    assert [entry["id"] for entry in entries(delivered.state)] == [1, 2, 3]


def test_entries_can_be_removed_by_their_numbers(sync: Sync) -> None:
    delivered = sync.delivered(people(*({"id": number, "email": f"{number}@x"} for number in range(100))))
    state = delivered.state
    assert state is not None
    ids = np.concatenate([np.asarray(some) for some in state.ids(batch_rows=7)])
    found = {
        RemovalCause.CONSENT_MISSING: np.flatnonzero(ids % 10 == 0),
        RemovalCause.CONSENT_WITHDRAWN: np.flatnonzero(ids % 20 == 0),
        RemovalCause.LEFT_MODEL: np.empty(0, np.int64),
    }

    changes = removals_of(state, found, new_folder(sync.path), sync="customers/crm", decided_at=AT)
    after = delivered.folded(changes, [], [accepted(10)])

    assert sorted(removed(changes)) == [
        (number, "consent_missing" if number % 20 else "consent_withdrawn", {"mail": f"{number}@x", "phone": None})
        for number in range(0, 100, 10)
    ]
    assert changes.counts.removed == {"consent_withdrawn": 5, "consent_missing": 5}
    assert [entry["id"] for entry in sorted(entries(after.state), key=lambda entry: int(entry["id"]))] == [
        number for number in range(100) if number % 10
    ]
    with pytest.raises(ValueError, match="no entry of the delivered state has this number"):
        removals_of(state, {RemovalCause.LEFT_MODEL: np.array([100])}, new_folder(sync.path), sync="customers/crm")


def test_a_person_with_two_entries_is_removed_by_both(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN))
    changes = delivered.changes(people(ANN | {"email": "new@x"}))
    doubtful = delivered.folded(changes, [batch_result([RowStatus.UNCERTAIN])], [batch_result([RowStatus.UNCERTAIN])])
    assert doubtful.state is not None

    by_the_filter = doubtful.changes(people(ANN | {"ads_ok": False}))
    by_number = removals_of(
        doubtful.state, {RemovalCause.CONSENT_WITHDRAWN: np.array([0, 1])}, new_folder(sync.path), sync="customers/crm"
    )

    for removal in (by_the_filter, by_number):
        assert {values["mail"] for _, _, values in removed(removal)} == {"ann@x", "new@x"}
    assert by_the_filter.counts.delivered == 1
