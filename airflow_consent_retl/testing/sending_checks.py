"""Checks of sent rows: each has its outcome, and every accepted row is stored, whole and once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcomes, RowStatus
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.testing.arrow_values import arrow_values
from airflow_consent_retl.testing.driving import (
    CountingLease,
    accepted,
    assert_accepted,
    assert_stored,
    deliver,
    load_of,
    opened,
)
from airflow_consent_retl.testing.people import CANARY, ODD_TEXTS, Person, people
from airflow_consent_retl.testing.stand_in import Circumstance, StandIn

_HUGE = 6 * 1024 * 1024
_VALUES = arrow_values()


class SendingChecks:
    """Checks of `send`; a subclass of the contract has the fixture `stand_in`."""

    def test_accepts_every_row_and_stores_it(self, stand_in: StandIn) -> None:
        """Rows in several batches all arrive, with their values."""
        sent = people(7)

        with opened(stand_in, load_of(stand_in, stand_in.rows(sent))) as load:
            outcomes = load.send(stand_in.rows(sent), batch_rows=3)

        assert_accepted(outcomes)
        assert_stored(stand_in, sent)

    def test_rejects_exactly_the_rows_that_the_other_side_refuses(self, stand_in: StandIn) -> None:
        """An outcome belongs to its row: refused rows are rejected with a code, and not stored."""
        if Circumstance.PARTIAL_FAILURE in stand_in.impossible:
            return
        sent = people(9)
        refused = {sent[1].id, sent[4].id, sent[8].id}
        rows = stand_in.partial_failure(sent, refused)

        outcomes = deliver(stand_in, sent, rows=rows)

        expected = [RowStatus.REJECTED if who.id in refused else RowStatus.ACCEPTED for who in sent]
        assert [outcome.status for outcome in outcomes] == expected
        assert all(outcome.code for outcome in outcomes if outcome.status is RowStatus.REJECTED)
        assert_stored(stand_in, [who for who in sent if who.id not in refused])

    def test_a_second_load_adds_to_the_first_or_replaces_it(self, stand_in: StandIn) -> None:
        """Other rows stay as they are, or go where the destination stores the rows of its last load only."""
        first, second = people(3), people(3, start=3)
        deliver(stand_in, first)

        outcomes = deliver(stand_in, second, decided=1)

        assert_accepted(outcomes)
        assert_stored(stand_in, second if stand_in.destination().replaces else first + second)

    def test_somebody_who_is_sent_again_has_the_new_value_only(self, stand_in: StandIn) -> None:
        """A change overwrites the earlier value."""
        if Circumstance.OVERWRITING in stand_in.impossible:
            return
        deliver(stand_in, people(3))

        outcomes = deliver(stand_in, people(3, text="another"), decided=1)

        assert_accepted(outcomes)
        assert_stored(stand_in, people(3, text="another"))

    def test_the_same_rows_under_the_same_key_are_there_once(self, stand_in: StandIn) -> None:
        """Each further try sends the same bytes under the same key."""
        sent = stand_in.rows(people(3))

        for _ in range(2):
            with opened(stand_in, load_of(stand_in, sent)) as load:
                tries = [load.send(sent) for _ in range(1 if load.destination.replaces else 2)]

            assert_accepted(Outcomes.concatenated(tries))
        assert_stored(stand_in, people(3))

    def test_somebody_who_occurs_twice_in_a_batch_is_there_once(self, stand_in: StandIn) -> None:
        """The filter lets no such rows through; a destination still never stores one person as two."""
        if Circumstance.REPEATED_ID in stand_in.impossible:
            return
        (twice,) = people(1)
        other = people(2)[1]

        outcomes = deliver(stand_in, [twice, other, twice])

        assert set(accepted([twice, other, twice], outcomes)) == {twice, other}
        assert_stored(stand_in, [twice, other])

    def test_an_empty_batch_has_no_outcome_and_asks_for_nothing(self, stand_in: StandIn) -> None:
        """Without rows nothing is sent."""
        lease, rows = CountingLease(), stand_in.rows([])
        empty = Batch(key="0" * 64, rows=pa.RecordBatch.from_pylist([], rows.schema))
        destination = stand_in.destination()
        destination.open(load_of(stand_in, rows, lease=lease))

        outcomes = destination.send(empty)
        asked = lease.asked
        destination.commit()

        assert len(outcomes) == 0
        assert asked == 0
        assert_stored(stand_in, [])

    def test_a_load_without_rows_adds_nobody(self, stand_in: StandIn) -> None:
        """It leaves the stored people, or no one where each load replaces the one before."""
        deliver(stand_in, people(2))

        with opened(stand_in, load_of(stand_in, stand_in.rows([]), decided=1)):
            pass

        assert_stored(stand_in, [] if stand_in.destination().replaces else people(2))

    def test_odd_characters_arrive_as_they_are_or_their_row_is_rejected(self, stand_in: StandIn) -> None:
        """No text is trimmed, folded, cut, escaped or run."""
        sent = [Person(f"{CANARY}-{row}", text) for row, text in enumerate(ODD_TEXTS)]

        outcomes = deliver(stand_in, sent)

        assert {outcome.status for outcome in outcomes} <= {RowStatus.ACCEPTED, RowStatus.REJECTED}
        assert Person(f"{CANARY}-3", ODD_TEXTS[3]) in accepted(sent, outcomes)
        assert_stored(stand_in, accepted(sent, outcomes))

    def test_text_that_is_not_utf_8_harms_no_other_row(self, stand_in: StandIn) -> None:
        """Nothing in Arrow or Parquet promises that text is UTF-8."""
        sent = people(3)
        rows = stand_in.rows(sent)
        field = rows.schema.names.index(stand_in.text_field)
        texts = rows.column(field).cast(pa.binary()).to_pylist()
        odd = pa.array([texts[0], b"\xff\xfe" + texts[1], texts[2]], pa.binary()).view(pa.string())

        outcomes = deliver(stand_in, sent, rows=rows.set_column(field, rows.schema.field(field), odd))

        assert [outcomes[0].status, outcomes[2].status] == [RowStatus.ACCEPTED] * 2
        assert outcomes[1].status in {RowStatus.ACCEPTED, RowStatus.REJECTED}
        there = {person.id for person in stand_in.stored()}
        assert there == {who.id for who in accepted(sent, outcomes)}

    def test_a_huge_row_arrives_whole_or_is_rejected_and_harms_no_other(self, stand_in: StandIn) -> None:
        """A row larger than a request, a page or a buffer is never cut."""
        before, huge, after = people(3)
        sent = [before, Person(huge.id, "x" * _HUGE), after]

        outcomes = deliver(stand_in, sent)

        assert [outcomes[0].status, outcomes[2].status] == [RowStatus.ACCEPTED] * 2
        assert outcomes[1].status in {RowStatus.ACCEPTED, RowStatus.REJECTED}
        there = {person.id: len(person.text) for person in stand_in.stored()}
        assert there == {who.id: len(who.text) for who in accepted(sent, outcomes)}

    @pytest.mark.parametrize("beyond", [-1, 0, 1])
    def test_takes_batches_up_to_its_limit(self, stand_in: StandIn, beyond: int) -> None:
        """A full batch fits, and one row more begins another: no batch is ever larger than the limit."""
        sent = people(max(1, stand_in.destination().limits.batch_rows + beyond))

        outcomes = deliver(stand_in, sent)

        assert_accepted(outcomes)
        assert_stored(stand_in, sent)

    def test_takes_as_many_batches_at_the_same_time_as_it_says(self, stand_in: StandIn) -> None:
        """`send` is called from that many threads, and every batch keeps its own outcomes."""
        concurrency = stand_in.destination().limits.concurrency
        sent = people(8 * concurrency)
        rows = stand_in.rows(sent)

        with opened(stand_in, load_of(stand_in, rows)) as load, ThreadPoolExecutor(concurrency) as threads:
            outcomes = Outcomes.concatenated(threads.map(load.send_batch, load.batches("send", rows, 2)))

        assert_accepted(outcomes)
        assert_stored(stand_in, sent)

    @pytest.mark.parametrize("kind", list(_VALUES))
    def test_values_of_every_type_stay_apart_or_the_type_is_refused(self, stand_in: StandIn, kind: str) -> None:
        """Nothing is rounded or guessed: `open` refuses the field, the row is rejected, or its value is stored."""
        values = _VALUES[kind]
        sent = people(len(values))
        rows = stand_in.rows(sent).append_column("value", values)
        lease = CountingLease()

        if not stand_in.takes(values.type):
            with pytest.raises(ConfigurationError):
                deliver(stand_in, sent, rows=rows, lease=lease)
            assert lease.asked == 0
            return
        outcomes = deliver(stand_in, sent, rows=rows)

        kept = {who.id for who in accepted(sent, outcomes)}
        found = {person: repr(value) for person, value in stand_in.stored_values().items()}
        assert {outcome.status for outcome in outcomes} <= {RowStatus.ACCEPTED, RowStatus.REJECTED}
        assert kept
        assert found.keys() == kept
        wrote = {repr(value) for who, value in zip(sent, values.to_pylist(), strict=True) if who.id in kept}
        assert len(set(found.values())) == len(wrote), "different values are equal at the other side"
