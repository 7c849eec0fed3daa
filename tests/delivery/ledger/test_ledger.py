"""Deliveries and versions: what was written is there, and nothing is closed, skipped or forgotten by mistake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from support.ledgers import DECIDED_AT, ROWS, SYNC, advanced, begun, ended, intended, numbers

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.attempts import BatchKind, EndedBatch, IntendedBatch
from airflow_consent_retl.delivery.ledger.lease import KEPT_DELIVERIES, Lease
from airflow_consent_retl.delivery.ledger.records import VersionRef, sync_name

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger import Ledger

MIXED = Outcomes(ROWS, exceptions={3: Outcome(RowStatus.REJECTED, "invalid_email"), 4: Outcome(RowStatus.UNCERTAIN)})


@pytest.fixture
def lease(ledger: Ledger) -> Iterator[Lease]:
    with ledger.acquire(SYNC, holder="the test") as found:
        yield found


def test_a_new_sync_has_delivered_nothing_and_has_nothing_open(ledger: Ledger, lease: Lease) -> None:
    assert (lease.current(), lease.open_delivery(), lease.newest().decided_at) == (None, None, None)
    assert ledger.current(sync_name("customers", "never_loaded")) is None


def test_a_delivery_is_found_by_the_next_lease_as_it_was_begun(ledger: Ledger) -> None:
    with ledger.acquire(SYNC, holder="first") as lease:
        delivery = begun(lease)

    with ledger.acquire(SYNC, holder="second") as lease:
        found = lease.open_delivery()

    assert found == delivery
    assert (delivery.key, delivery.kind, delivery.decided_at, delivery.base) == ("k1", "load", DECIDED_AT, 0)
    assert (delivery.send_rows, delivery.remove_rows, delivery.closed_at) == (ROWS, ROWS, None)


def test_a_second_delivery_is_refused_while_one_is_open(lease: Lease) -> None:
    begun(lease)

    with pytest.raises(ValueError, match="is open"):
        begun(lease, key="k2")


def test_attempts_are_read_back_with_the_outcome_of_each_row(lease: Lease) -> None:
    delivery = begun(lease)
    lease.record(delivery, intended=[intended(0), intended(1), intended(0, kind=BatchKind.REMOVE)])

    lease.record(delivery, ended=[ended(1, MIXED)], intended=[intended(2)])

    found = lease.attempts(delivery)
    assert [(attempt.kind, attempt.number, attempt.start) for attempt in found] == [
        ("remove", 0, 0),
        ("send", 0, 0),
        ("send", 1, 10),
        ("send", 2, 20),
    ]
    assert [attempt.outcomes and list(attempt.outcomes) for attempt in found] == [None, None, list(MIXED), None]
    assert {(attempt.epoch, attempt.key == f"{attempt.kind} {attempt.number}") for attempt in found} == {(1, True)}


def test_an_attempt_ends_after_it_was_intended_by_the_ledgers_clock(lease: Lease) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    delivery = begun(lease)
    lease.record(delivery, intended=[intended(0)])
    lease.record(delivery, ended=[ended(0)])

    (attempt,) = lease.attempts(delivery)

    assert attempt.ended_at is not None
    assert before < delivery.began_at <= attempt.intended_at
    assert attempt.intended_at < attempt.ended_at < datetime.now(UTC) + timedelta(seconds=1)


def test_the_same_record_twice_changes_nothing(lease: Lease) -> None:
    delivery = begun(lease)
    lease.record(delivery, intended=[intended(0)])
    lease.record(delivery, ended=[ended(0)], intended=[intended(1), intended(2)])
    before = lease.attempts(delivery)

    lease.record(delivery, ended=[ended(0)], intended=[intended(1), intended(2)])

    after = lease.attempts(delivery)
    assert [(attempt.number, attempt.intended_at) for attempt in after] == [
        (attempt.number, attempt.intended_at) for attempt in before
    ]
    assert numbers(after, with_end=True) == [0]


@pytest.mark.parametrize(
    "other",
    [
        IntendedBatch(kind=BatchKind.SEND, number=1, start=11, rows=ROWS, key="send 1"),
        IntendedBatch(kind=BatchKind.SEND, number=1, start=10, rows=9, key="send 1"),
        IntendedBatch(kind=BatchKind.SEND, number=1, start=10, rows=ROWS, key="another"),
        intended(0),
    ],
    ids=["other start", "fewer rows", "other key", "already ended"],
)
def test_a_batch_is_intended_once_under_a_lease(lease: Lease, other: IntendedBatch) -> None:
    delivery = begun(lease)
    lease.record(delivery, intended=[intended(0), intended(1)])
    lease.record(delivery, ended=[ended(0)])
    before = lease.attempts(delivery)

    with pytest.raises(ValueError, match="intended otherwise"):
        lease.record(delivery, ended=[ended(1)], intended=[other, intended(2)])

    assert lease.attempts(delivery) == before


def test_a_batch_named_twice_in_one_record_is_refused(lease: Lease) -> None:
    delivery = begun(lease)

    with pytest.raises(ValueError, match="intended twice"):
        lease.record(delivery, intended=[intended(0), intended(0)])


@pytest.mark.parametrize(
    "end",
    [
        ended(7),
        ended(0, Outcomes.accepted(9)),
        ended(0, epoch=9),
        EndedBatch(kind=BatchKind.REMOVE, number=0, outcomes=MIXED),
    ],
    ids=["never intended", "fewer rows", "another epoch", "another kind"],
)
def test_an_end_without_its_intent_is_refused_with_all_that_came_with_it(lease: Lease, end: EndedBatch) -> None:
    delivery = begun(lease)
    lease.record(delivery, intended=[intended(0)])

    with pytest.raises(ValueError, match="was not intended with these rows"):
        lease.record(delivery, ended=[ended(0), end], intended=[intended(1)])

    assert numbers(lease.attempts(delivery), with_end=False) == [0]


def test_a_pending_batch_of_an_earlier_lease_is_confirmed_under_a_later_one(ledger: Ledger) -> None:
    with ledger.acquire(SYNC, holder="first") as first:
        delivery = begun(first)
        first.record(delivery, intended=[intended(0)])
        first.record(delivery, ended=[ended(0, Outcomes.pending(ROWS, "request-1"))])

    with ledger.acquire(SYNC, holder="second") as second:
        (waiting,) = second.attempts(delivery)
        second.record(delivery, ended=[ended(0, MIXED, epoch=waiting.epoch)])

        (confirmed,) = second.attempts(delivery)

    assert waiting.outcomes is not None
    assert waiting.outcomes[0] == Outcome(RowStatus.PENDING, "request-1")
    assert confirmed.outcomes is not None
    assert list(confirmed.outcomes) == list(MIXED)
    assert waiting.ended_at is not None
    assert confirmed.ended_at is not None
    assert waiting.ended_at < confirmed.ended_at


def test_advancing_closes_the_delivery_and_moves_the_pointer(ledger: Ledger, lease: Lease) -> None:
    delivery = begun(lease)

    version = lease.advance(delivery, uri="file:///state/1", sha256="5" * 64, rows=3, decided_at=DECIDED_AT)

    assert version == VersionRef(number=1, uri="file:///state/1", sha256="5" * 64, rows=3, decided_at=DECIDED_AT)
    assert lease.current() == ledger.current(SYNC) == version
    assert lease.open_delivery() is None
    assert begun(lease, key="k2").base == 1
    assert [(found.key, found.version) for found in ledger.deliveries(SYNC)] == [("k2", None), ("k1", 1)]


def test_a_closed_delivery_takes_nothing_more(lease: Lease) -> None:
    delivery = begun(lease)
    lease.record(delivery, intended=[intended(0)])
    advanced(lease, delivery)

    writes: list[Callable[[], None]] = [
        lambda: lease.record(delivery, ended=[ended(0)]),
        lambda: advanced(lease, delivery),
        lambda: lease.drop(delivery),
    ]
    for write in writes:
        with pytest.raises(ValueError, match="is not open"):
            write()

    assert numbers(lease.attempts(delivery), with_end=False) == [0]
    assert lease.current() is not None


def test_a_delivery_of_which_nothing_was_intended_is_dropped(lease: Lease) -> None:
    delivery = begun(lease)

    lease.drop(delivery)

    assert lease.open_delivery() is None
    assert lease.current() is None


def test_a_delivery_of_which_something_was_intended_cannot_be_dropped(lease: Lease) -> None:
    delivery = begun(lease)
    lease.record(delivery, intended=[intended(0)])

    with pytest.raises(ValueError, match="has to be advanced"):
        lease.drop(delivery)

    assert lease.open_delivery() == delivery


def test_the_newest_decision_is_remembered_also_where_it_changed_nothing(lease: Lease) -> None:
    day = timedelta(days=1)
    delivery = begun(lease, decided_at=DECIDED_AT)
    advanced(lease, delivery)
    lease.note_decision(DECIDED_AT + day)

    begun(lease, key="k2", decided_at=DECIDED_AT - day)

    assert lease.newest().decided_at == DECIDED_AT + day
    current = lease.current()
    assert current is not None
    assert current.decided_at == DECIDED_AT


def test_timestamps_keep_their_microseconds_and_are_read_in_utc(lease: Lease) -> None:
    time = datetime(2026, 3, 29, 2, 30, 0, 1, tzinfo=timezone(timedelta(hours=5, minutes=45)))

    lease.note_decision(time)

    found = lease.newest().decided_at
    assert found is not None
    assert found == time
    assert found.tzinfo is UTC


def test_the_target_stays_once_people_are_delivered(ledger: Ledger, lease: Lease) -> None:
    assert lease.target("") == ""
    assert lease.target("table nobody") == "table nobody"
    assert lease.target("table people") == "table people"
    delivery = begun(lease)
    lease.record(delivery, intended=[intended(0)])
    advanced(lease, delivery)

    assert lease.target("table persons") == "table people"
    assert ledger.syncs()[0].target == "table people"


def test_the_latest_deliveries_keep_their_batches_and_older_ones_only_their_row(ledger: Ledger, lease: Lease) -> None:
    surplus = 2
    made = []
    for number in range(KEPT_DELIVERIES + surplus):
        delivery = begun(lease, key=f"k{number}")
        lease.record(delivery, intended=[intended(0)])
        advanced(lease, delivery, uri=f"file:///state/{number}")
        made.append(delivery)

    assert [len(ledger.attempts(delivery)) for delivery in made] == [0] * surplus + [1] * KEPT_DELIVERIES
    assert [found.key for found in ledger.deliveries(SYNC)] == [made_.key for made_ in reversed(made)]


def test_syncs_do_not_see_each_other(ledger: Ledger, lease: Lease) -> None:
    delivery = begun(lease)
    lease.record(delivery, intended=[intended(0)])
    with ledger.acquire(sync_name("customers", "lake"), holder="other") as other:
        theirs = begun(other)
        advanced(other, theirs, uri="file:///lake/1")
        advanced(other, begun(other), uri="file:///lake/2")

        with pytest.raises(ValueError, match="is not open"):
            other.record(delivery, intended=[intended(1)])

    assert lease.open_delivery() == delivery
    assert len(lease.attempts(delivery)) == 1
    assert lease.current() is None


def test_the_overview_has_the_delivered_version_the_open_delivery_and_the_holder(ledger: Ledger) -> None:
    with ledger.acquire(SYNC, holder="dag.task run 1", ttl_s=30) as lease:
        advanced(lease, begun(lease))
        delivery = begun(lease, key="k2")
        (taken,) = ledger.syncs()
    (free,) = ledger.syncs()

    assert (taken.sync, taken.epoch, taken.holder) == ("customers/webhook", 1, "dag.task run 1")
    assert taken.current == lease.current()
    assert taken.open_delivery == free.open_delivery == delivery
    assert taken.expires_at is not None
    assert timedelta(seconds=20) < taken.expires_at - datetime.now(UTC) <= timedelta(seconds=31)
    assert (free.holder, free.expires_at, free.decided_at) == (None, None, DECIDED_AT)


@pytest.mark.parametrize(("model", "destination"), [("", "webhook"), ("customers", ""), ("customers", "a/b")])
def test_a_sync_has_an_unambiguous_name(model: str, destination: str) -> None:
    with pytest.raises(ValueError, match="the name of a sync needs"):
        sync_name(model, destination)


def test_a_load_that_begins_adds_its_categories_until_one_ends_well(ledger: Ledger) -> None:
    with ledger.acquire(SYNC, holder="a") as lease:
        lease.note_required(["C0004"])
        assert lease.required() is None

        lease.note_served(required=["C0002"])
        lease.note_required(["C0004", "C0002"])
        assert lease.required() == ("C0002", "C0004")

        lease.note_served()
        assert lease.required() == ("C0002", "C0004")
        lease.note_served(required=[("C0002", "C0004"), "C0001"])
        assert lease.required() == ("C0001", ("C0002", "C0004"))
        lease.note_required([("C0002", "C0004"), "C0002"])
        assert lease.required() == ("C0001", "C0002", ("C0002", "C0004"))
        lease.note_served(required=[])
        assert lease.required() == ()
