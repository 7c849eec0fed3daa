"""Checks of removals: exactly the named people are gone, whatever the model has of them by then."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcomes, RowStatus
from airflow_consent_retl.errors import DestinationError
from airflow_consent_retl.testing.driving import (
    CountingLease,
    accepted,
    assert_accepted,
    assert_stored,
    deliver,
    load_of,
    opened,
    take_back,
)
from airflow_consent_retl.testing.people import CANARY, ODD_IDS, Person, people
from airflow_consent_retl.testing.stand_in import Circumstance, StandIn


class RemovalChecks:
    """Checks of `remove`; a destination that cannot remove passes them if it says so."""

    def test_removes_those_who_are_named_and_nobody_else(self, stand_in: StandIn) -> None:
        """The rows of the others stay."""
        everyone = people(6)
        deliver(stand_in, everyone)
        if not _can_remove(stand_in):
            return

        outcomes = take_back(stand_in, [everyone[0], everyone[3]], decided=1)

        assert_accepted(outcomes)
        assert_stored(stand_in, [everyone[number] for number in (1, 2, 4, 5)])

    def test_keys_that_look_alike_are_different_people(self, stand_in: StandIn) -> None:
        """Removing one never removes another, and no one stays because of an odd key."""
        everyone = [Person(odd, f"{CANARY} {number}") for number, odd in enumerate(ODD_IDS)]
        there = accepted(everyone, deliver(stand_in, everyone))
        assert_stored(stand_in, there)
        if not _can_remove(stand_in):
            return

        outcomes = take_back(stand_in, there[::2], decided=1)

        assert_accepted(outcomes)
        assert_stored(stand_in, there[1::2])

    def test_somebody_who_was_never_there_counts_as_removed(self, stand_in: StandIn) -> None:
        """Alone, and together with a person who is there."""
        if not _can_remove(stand_in):
            return
        assert_accepted(take_back(stand_in, people(2, start=90), decided=0))
        deliver(stand_in, people(3), decided=1)

        outcomes = take_back(stand_in, [*people(1, start=91), *people(1)], decided=2)

        assert_accepted(outcomes)
        assert_stored(stand_in, people(2, start=1))

    def test_somebody_who_was_removed_can_be_removed_again(self, stand_in: StandIn) -> None:
        """Under the same key, as another try would, and under a new one."""
        deliver(stand_in, people(3))
        if not _can_remove(stand_in):
            return

        outcomes = [take_back(stand_in, people(2), decided=decided) for decided in (1, 1, 2)]

        assert_accepted(Outcomes.concatenated(outcomes))
        assert_stored(stand_in, people(1, start=2))

    def test_somebody_who_was_removed_can_be_added_again(self, stand_in: StandIn) -> None:
        """Consent that is granted again counts again."""
        deliver(stand_in, people(2))
        if not _can_remove(stand_in):
            return
        take_back(stand_in, people(2), decided=1)

        outcomes = deliver(stand_in, people(2, text="again"), decided=2)

        assert_accepted(outcomes)
        assert_stored(stand_in, people(2, text="again"))

    def test_one_load_removes_some_and_sends_others(self, stand_in: StandIn) -> None:
        """Removals come first, as in every load."""
        deliver(stand_in, people(3))
        if not _can_remove(stand_in):
            return
        sent = stand_in.rows(people(2, start=3))

        with opened(stand_in, load_of(stand_in, sent, decided=1)) as load:
            removed, added = load.remove(people(1)), load.send(sent)

        assert_accepted(removed)
        assert_accepted(added)
        replaced = stand_in.destination().replaces
        assert_stored(stand_in, people(2, start=3) if replaced else people(4, start=1))

    def test_people_who_have_to_stay_are_rejected_and_the_others_go(self, stand_in: StandIn) -> None:
        """A removal is accepted only where the person is certainly not there."""
        deliver(stand_in, people(5))
        if not _can_remove(stand_in) or Circumstance.PARTIAL_REMOVAL in stand_in.impossible:
            return
        refused = {people(5)[1].id, people(5)[4].id}
        stand_in.partial_removal(refused)

        outcomes = take_back(stand_in, people(5), decided=1)

        expected = [RowStatus.REJECTED if who.id in refused else RowStatus.ACCEPTED for who in people(5)]
        assert [outcome.status for outcome in outcomes] == expected
        assert_stored(stand_in, [who for who in people(5) if who.id in refused])

    def test_a_removal_that_was_only_reported_is_not_accepted(self, stand_in: StandIn) -> None:
        """Where the other side can be read, a success counts only if the person is not there."""
        deliver(stand_in, people(5))
        if not _can_remove(stand_in) or Circumstance.SWALLOWED_REMOVAL in stand_in.impossible:
            return
        kept = {people(5)[0].id, people(5)[3].id}
        stand_in.swallowed_removal(kept)

        outcomes = take_back(stand_in, people(5), decided=1)

        accepted_ids = {
            who.id for who, outcome in zip(people(5), outcomes, strict=True) if outcome.status == "accepted"
        }
        assert accepted_ids == {who.id for who in people(5)} - kept
        assert_stored(stand_in, [who for who in people(5) if who.id in kept])

    def test_removing_nobody_asks_for_nothing(self, stand_in: StandIn) -> None:
        """An empty batch has no outcome."""
        deliver(stand_in, people(2))
        if not _can_remove(stand_in):
            return
        lease = CountingLease()
        destination = stand_in.destination()
        load = load_of(stand_in, stand_in.rows([]), decided=1, lease=lease)
        destination.open(load)
        empty = pa.RecordBatch.from_pylist([], destination.removal_schema(load))

        outcomes = destination.remove(Batch(key="0" * 64, rows=empty))
        asked = lease.asked
        destination.commit()

        assert len(outcomes) == 0
        assert asked == 0
        assert_stored(stand_in, people(2))

    @pytest.mark.parametrize("beyond", [-1, 0, 1])
    def test_removes_batches_up_to_its_limit(self, stand_in: StandIn, beyond: int) -> None:
        """A full batch fits, and one person more begins another."""
        limits = stand_in.destination().limits
        count = max(1, (limits.removal_rows or limits.batch_rows) + beyond)
        deliver(stand_in, people(count + 1))
        if not _can_remove(stand_in):
            return

        outcomes = take_back(stand_in, people(count), decided=1)

        assert_accepted(outcomes)
        assert_stored(stand_in, people(1, start=count))

    def test_removes_as_many_batches_at_the_same_time_as_it_says(self, stand_in: StandIn) -> None:
        """`remove` is called from as many threads as `send`."""
        concurrency = stand_in.destination().limits.concurrency
        everyone = people(8 * concurrency)
        deliver(stand_in, everyone)
        if not _can_remove(stand_in):
            return
        leaving = everyone[:-1]

        with (
            opened(stand_in, load_of(stand_in, stand_in.rows(leaving), decided=1, rows_sent=0)) as load,
            ThreadPoolExecutor(concurrency) as threads,
        ):
            batches = load.batches("remove", load.kept(leaving), 2)
            outcomes = Outcomes.concatenated(threads.map(load.remove_batch, batches))

        assert_accepted(outcomes)
        assert_stored(stand_in, everyone[-1:])

    def test_what_is_kept_for_a_removal_follows_from_the_row_alone(self, stand_in: StandIn) -> None:
        """The same rows give the same result, whatever else is in the batch: it is stored for years and compared."""
        if not _can_remove(stand_in):
            return
        everyone = people(5)
        rows = stand_in.rows(everyone).combine_chunks()
        (batch,) = rows.to_batches()
        load, later = load_of(stand_in, rows), load_of(stand_in, rows, decided=9)
        destination, other = stand_in.destination(), stand_in.destination()

        kept = destination.removal_rows(batch, load)
        alone = [other.removal_rows(batch.slice(row, 1), later) for row in range(5)]

        assert kept.num_rows == 5
        assert kept.schema == destination.removal_schema(load) == other.removal_schema(later)
        assert kept.equals(destination.removal_rows(batch, load))
        assert pa.Table.from_batches(alone).to_pylist() == kept.to_pylist()
        assert batch.equals(stand_in.rows(everyone).combine_chunks().to_batches()[0])


def _can_remove(stand_in: StandIn) -> bool:
    """Return whether the destination removes people; one that does not has to refuse instead of reporting success."""
    destination = stand_in.destination()
    if destination.can_remove:
        return True
    stranger = stand_in.rows(people(1, start=99)).combine_chunks().to_batches()[0]
    with pytest.raises(DestinationError):
        destination.remove(Batch(key="0" * 64, rows=stranger))
    return False
