"""Folding: people who may be at the destination have an entry, and keep it until their removal is final."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.changing import BY_MAIL, FIELDS, Sync, accepted, batch_result, entries, people, people_of, removed, sent
from support.permitting import AT

from airflow_consent_retl.changes.fold import Folding
from airflow_consent_retl.changes.results import BatchResult
from airflow_consent_retl.contract.outcomes import FORGOTTEN, STATE_REFUSED, Outcomes, RowStatus
from airflow_consent_retl.errors import RefusedError

ANN, BEN = ({"id": number, "email": f"{name}@x", "name": name} for number, name in enumerate(("ann", "ben"), 1))
OLD, NEW = {"mail": "ann@x", "phone": None}, {"mail": "new@x", "phone": None}
UNCONFIRMED_STATUSES = [RowStatus.UNCERTAIN, RowStatus.PENDING]
NOT_APPLIED_STATUSES = [RowStatus.REJECTED, RowStatus.WITHHELD, RowStatus.UNSENT]


@pytest.fixture
def sync(tmp_path: Path) -> Sync:
    return Sync(tmp_path, FIELDS, BY_MAIL)


def entry(
    id_: int, removal: dict[str, Any], *, confirmed: bool = True, unsettled_hours: float | None = None
) -> dict[str, Any]:
    unsettled = None if unsettled_hours is None else AT + timedelta(hours=unsettled_hours)
    return {"id": id_, "confirmed": confirmed, "unsettled_until": unsettled, "removal": removal}


def first_sent(sync: Sync, status: RowStatus, **kwargs: Any) -> Sync:
    """Return a sync to which Ann was sent once, with this outcome."""
    return sync.folded(sync.changes(people(ANN)), [batch_result([status], **kwargs)], [])


# What was sent


def test_accepted_rows_are_delivered(sync: Sync) -> None:
    assert entries(first_sent(sync, RowStatus.ACCEPTED).state) == [entry(1, OLD)]


@pytest.mark.parametrize("status", UNCONFIRMED_STATUSES)
def test_rows_that_may_have_been_delivered_are_unconfirmed_and_sent_again(sync: Sync, status: RowStatus) -> None:
    doubtful = first_sent(sync, status, unsettled_hours=2)

    changes = doubtful.changes(people(ANN))

    assert entries(doubtful.state) == [entry(1, OLD, confirmed=False, unsettled_hours=2)]
    assert set(sent(changes)) == {1}
    assert (changes.counts.updated, changes.counts.unconfirmed) == (1, 1)


@pytest.mark.parametrize("status", NOT_APPLIED_STATUSES)
def test_rows_that_certainly_did_not_arrive_are_not_delivered(sync: Sync, status: RowStatus) -> None:
    assert entries(first_sent(sync, status).state) == []


def test_rows_without_a_result_were_not_sent(sync: Sync) -> None:
    changes = sync.changes(people(*({"id": number, "email": f"{number}@x"} for number in range(5))))

    after = sync.folded(changes, [accepted(1, start=1), accepted(1, start=3)], [])

    ids = people_of(changes)["id"].to_pylist()
    assert [found["id"] for found in entries(after.state)] == sorted([ids[1], ids[3]])


@pytest.mark.parametrize("status", NOT_APPLIED_STATUSES)
def test_an_update_that_did_not_arrive_leaves_what_was_there(sync: Sync, status: RowStatus) -> None:
    delivered = first_sent(sync, RowStatus.ACCEPTED)

    after = delivered.folded(delivered.changes(people(ANN | {"name": "Ann"})), [batch_result([status])], [])

    assert entries(after.state) == [entry(1, OLD)]
    assert after.changes(people(ANN)).counts.unchanged == 1


@pytest.mark.parametrize("status", UNCONFIRMED_STATUSES)
def test_an_update_that_may_have_arrived_leaves_one_entry_that_is_unconfirmed(sync: Sync, status: RowStatus) -> None:
    delivered = first_sent(sync, RowStatus.ACCEPTED)

    after = delivered.folded(
        delivered.changes(people(ANN | {"name": "Ann"})), [batch_result([status], unsettled_hours=1)], []
    )

    assert entries(after.state) == [entry(1, OLD, confirmed=False, unsettled_hours=1)]
    assert after.changes(people(ANN)).counts.updated == 1


def test_uncertain_updates_day_after_day_leave_no_more_entries(sync: Sync) -> None:
    doubtful = first_sent(sync, RowStatus.ACCEPTED)
    for day in range(4):
        changes = doubtful.changes(people(ANN | {"name": f"day {day}"}))
        doubtful = doubtful.folded(changes, [batch_result([RowStatus.UNCERTAIN], unsettled_hours=day)], [])

    assert entries(doubtful.state) == [entry(1, OLD, confirmed=False, unsettled_hours=3)]


@pytest.mark.parametrize("status", [RowStatus.UNCERTAIN, RowStatus.REJECTED, RowStatus.UNSENT])
def test_a_new_identifier_that_may_have_arrived_is_kept_with_the_old_one_that_may_be_there(
    sync: Sync, status: RowStatus
) -> None:
    delivered = first_sent(sync, RowStatus.ACCEPTED)
    changes = delivered.changes(people(ANN | {"email": "new@x"}))

    after = delivered.folded(changes, [batch_result([RowStatus.UNCERTAIN])], [batch_result([status])])

    assert entries(after.state) == [entry(1, OLD, confirmed=False), entry(1, NEW, confirmed=False)]
    assert after.changes(people()).counts.removed == {"left_model": 2}


def test_an_accepted_new_identifier_does_not_hide_that_the_old_one_is_still_there(sync: Sync) -> None:
    delivered = first_sent(sync, RowStatus.ACCEPTED)
    changes = delivered.changes(people(ANN | {"email": "new@x"}))

    after = delivered.folded(changes, [accepted(1)], [batch_result([RowStatus.UNCERTAIN])])

    assert entries(after.state) == [entry(1, OLD, confirmed=False), entry(1, NEW)]
    again = after.changes(people(ANN | {"email": "new@x"}))
    assert removed(again) == [(1, "identifiers_changed", OLD)]
    assert entries(after.folded(again, [accepted(1)], [accepted(1)]).state) == [entry(1, NEW)]


def test_an_accepted_update_is_sent_again_as_long_as_an_older_request_may_undo_it(sync: Sync) -> None:
    doubtful = first_sent(sync, RowStatus.UNCERTAIN, unsettled_hours=5)

    changes = doubtful.changes(people(ANN | {"name": "Ann"}))
    early = doubtful.folded(changes, [batch_result([RowStatus.ACCEPTED], hours=1)], [])
    again = early.changes(people(ANN | {"name": "Ann"}))
    late = early.folded(again, [batch_result([RowStatus.ACCEPTED], hours=5)], [])

    assert entries(early.state) == [entry(1, OLD, confirmed=False, unsettled_hours=5)]
    assert again.counts.unconfirmed == 1
    assert entries(late.state) == [entry(1, OLD)]


def test_a_removal_that_was_not_answered_may_undo_what_is_sent_after_it(sync: Sync) -> None:
    delivered = first_sent(sync, RowStatus.ACCEPTED)
    gone = delivered.folded(
        delivered.changes(people()), [], [batch_result([RowStatus.UNCERTAIN], hours=1, unsettled_hours=4)]
    )

    back = gone.folded(gone.changes(people(ANN)), [batch_result([RowStatus.ACCEPTED], hours=2)], [])

    assert entries(gone.state) == [entry(1, OLD, confirmed=False, unsettled_hours=4)]
    assert entries(back.state) == [entry(1, OLD, confirmed=False, unsettled_hours=4)]
    assert back.changes(people(ANN)).counts.updated == 1


def test_a_removal_that_was_never_asked_for_is_not_in_doubt_for_the_batch_before_it(sync: Sync) -> None:
    delivered = sync.delivered(people(ANN, BEN))
    changes = delivered.changes(people())

    after = delivered.folded(changes, [], [batch_result([RowStatus.UNCERTAIN], unsettled_hours=4)])

    assert sorted(found["unsettled_until"] is None for found in entries(after.state)) == [False, True]


def test_an_accepted_row_remembers_an_attempt_that_was_never_answered(sync: Sync) -> None:
    after = first_sent(sync, RowStatus.ACCEPTED, unsettled_hours=2)

    assert entries(after.state) == [entry(1, OLD, unsettled_hours=2)]
    assert after.changes(people(ANN)).counts.unchanged == 1


# What was removed


@pytest.mark.parametrize("status", [RowStatus.ACCEPTED, *UNCONFIRMED_STATUSES, *NOT_APPLIED_STATUSES])
def test_an_entry_goes_only_when_its_removal_is_confirmed(sync: Sync, status: RowStatus) -> None:
    delivered = first_sent(sync, RowStatus.ACCEPTED)

    after = delivered.folded(delivered.changes(people()), [], [batch_result([status])])

    expected = [] if status is RowStatus.ACCEPTED else [entry(1, OLD, confirmed=False)]
    assert entries(after.state) == expected


def test_people_not_certainly_removed_and_permitted_again_are_sent_again(sync: Sync) -> None:
    delivered = first_sent(sync, RowStatus.ACCEPTED)
    doubtful = delivered.folded(delivered.changes(people()), [], [batch_result([RowStatus.UNCERTAIN])])

    assert set(sent(doubtful.changes(people(ANN)))) == {1}


@pytest.mark.parametrize(("hours", "is_final"), [(1.9, False), (2, True), (3, True)])
def test_a_removal_is_final_only_when_nothing_sent_before_can_still_take_effect(
    sync: Sync, hours: float, is_final: bool
) -> None:
    doubtful = first_sent(sync, RowStatus.ACCEPTED, unsettled_hours=2)

    after = doubtful.folded(doubtful.changes(people()), [], [accepted(1, hours=hours)])

    assert entries(after.state) == ([] if is_final else [entry(1, OLD, confirmed=False, unsettled_hours=2)])
    if not is_final:
        again = after.changes(people())
        assert removed(again) == [(1, "left_model", OLD)]
        assert entries(after.folded(again, [], [accepted(1, hours=4)]).state) == []


def test_a_rejected_row_of_which_a_part_is_there_is_removed_when_consent_ends(sync: Sync) -> None:
    refused = batch_result([RowStatus.REJECTED])
    partly = replace(refused, outcomes=Outcomes.rejected(1, STATE_REFUSED))

    after = sync.folded(sync.changes(people(ANN)), [partly], [])

    assert entries(after.state) == [entry(1, OLD, confirmed=False)]
    assert removed(after.changes(people())) == [(1, "left_model", OLD)]


def test_a_person_whom_the_destination_has_forgotten_is_not_sent_again_before_the_row_changes(sync: Sync) -> None:
    refused = batch_result([RowStatus.REJECTED])
    forgotten = replace(refused, outcomes=Outcomes.rejected(1, FORGOTTEN))

    after = sync.folded(sync.changes(people(ANN)), [forgotten], [])

    assert sent(after.changes(people(ANN))) == {}
    assert set(sent(after.changes(people(ANN | {"name": "anna"})))) == {1}
    assert removed(after.changes(people())) == [(1, "left_model", OLD)]


def test_a_removed_old_identifier_is_gone_whatever_became_of_the_new_one(sync: Sync) -> None:
    delivered = first_sent(sync, RowStatus.ACCEPTED)
    changes = delivered.changes(people(ANN | {"email": "new@x"}))

    after = delivered.folded(changes, [batch_result([RowStatus.REJECTED])], [accepted(1)])

    assert entries(after.state) == []


# Versions


def test_all_other_entries_stay_as_they_are(sync: Sync) -> None:
    rows = [{"id": number, "email": f"{number}@x"} for number in range(300)]
    delivered = sync.delivered(people(*rows))
    before = {found["id"]: found for found in entries(delivered.state)}

    changes = delivered.changes(people(*rows[1:], {"id": 300, "email": "300@x"}))
    after = delivered.folded(changes, [accepted(1)], [accepted(1)])

    expected = {**before, 300: entry(300, {"mail": "300@x", "phone": None})}
    assert {found["id"]: found for found in entries(after.state)} == {n: e for n, e in expected.items() if n}
    assert after.changes(people(*rows[1:], {"id": 300, "email": "300@x"})).counts.unchanged == 300


def test_a_version_says_what_it_is(sync: Sync) -> None:
    first = first_sent(sync, RowStatus.ACCEPTED)
    older = first.with_(at=AT - timedelta(hours=1))
    newer = first.with_(at=AT + timedelta(hours=1))

    states = [one.folded(one.changes(people(ANN, BEN)), [accepted(1)], []).state for one in (older, newer)]

    for state, decided_at in zip(states, (AT, AT + timedelta(hours=1)), strict=True):
        assert state is not None
        manifest = state.manifest
        assert (manifest.sync, manifest.model, manifest.destination) == ("customers/crm", "customers", "crm")
        assert (manifest.primary_key, manifest.rows, manifest.decided_at) == ("id", 2, decided_at)
        assert dict(state.shape.fields) == FIELDS
        assert state.shape.removal_schema.names == ["mail", "phone"]
        assert state.id_type == pa.int64()


def test_changes_found_against_another_version_are_refused(sync: Sync) -> None:
    first = first_sent(sync, RowStatus.ACCEPTED)
    changes = first.changes(people(BEN))
    second = first.folded(changes, [accepted(1)], [accepted(1)])

    for state in (None, second.state):
        with pytest.raises(RefusedError, match="these changes were found against another delivered state"):
            Folding(state, changes)


@pytest.mark.parametrize(
    "results",
    [
        [accepted(2), accepted(2, start=1)],
        [accepted(1, start=1), accepted(1)],
        [accepted(4)],
        [accepted(1, start=3)],
    ],
    ids=["overlap", "out of order", "too long", "behind the end"],
)
def test_results_that_belong_to_no_row_are_refused(sync: Sync, results: list[BatchResult]) -> None:
    changes = sync.changes(people(*({"id": number} for number in range(3))))

    with pytest.raises(ValueError, match="results of batches"):
        sync.folded(changes, results, [])


def test_batches_without_rows_mean_nothing(sync: Sync) -> None:
    changes = sync.changes(people(ANN))

    after = sync.folded(changes, [accepted(0), accepted(1), accepted(0, start=1)], [batch_result(Outcomes.accepted(0))])

    assert entries(after.state) == [entry(1, OLD)]


def test_the_same_fold_ends_in_the_same_bytes(sync: Sync) -> None:
    delivered = sync.delivered(people(*({"id": number, "email": f"{number}@x"} for number in range(300))))
    changes = delivered.changes(people(*({"id": number, "email": f"{number}@y"} for number in range(100, 400))))

    again = [delivered.folded(changes, [accepted(300)], [accepted(300)]).state for _ in range(2)]

    assert again[0] is not None
    assert again[1] is not None
    assert again[0].sha256 == again[1].sha256
