"""Checks of a destination's description and life cycle: its limits, its target, `open`, `commit` and `abort`."""

from __future__ import annotations

import inspect
from typing import ClassVar

import pytest

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.testing.driving import (
    CountingLease,
    assert_accepted,
    assert_stored,
    begun,
    deliver,
    load_of,
)
from airflow_consent_retl.testing.people import people
from airflow_consent_retl.testing.stand_in import Circumstance, StandIn


class ShapeChecks:
    """Checks of everything around the batches; a subclass of the contract has the fixture `stand_in`."""

    destination_class: ClassVar[type[Destination]]

    def test_every_circumstance_is_brought_about_or_impossible_for_a_reason(self, stand_in: StandIn) -> None:
        """No check passes because a circumstance was forgotten."""
        assert type(stand_in).undeclared() == []

    def test_the_stand_in_makes_new_destinations_of_the_class(self, stand_in: StandIn) -> None:
        """The checks use the class that the contract names, and no destination twice."""
        first, second = stand_in.destination(), stand_in.destination()

        assert type(first) is self.destination_class
        assert first is not second
        assert not inspect.isabstract(self.destination_class)

    def test_limits_are_known_before_it_is_opened(self, stand_in: StandIn) -> None:
        """Batches are planned and recorded before the other side is contacted."""
        assert stand_in.destination().limits == stand_in.destination().limits

    def test_removal_has_one_meaning_or_the_one_that_was_chosen(self, stand_in: StandIn) -> None:
        """A destination never guesses what happens to a person who withdraws."""
        choices, chosen = self.destination_class.withdrawal_choices, stand_in.destination().on_withdrawal

        assert chosen in choices if choices else not chosen
        assert all(choice.isidentifier() and sentence for choice, sentence in choices.items())

    def test_the_target_is_told_without_secrets_and_stays_the_same(self, stand_in: StandIn) -> None:
        """The ledger stores it: people delivered to another target would be forgotten there."""
        secrets = [] if Circumstance.SECRETS in stand_in.impossible else [*stand_in.secrets()]
        destination = stand_in.destination()
        target = destination.target

        deliver(stand_in, people(1))

        assert target
        assert destination.target == stand_in.destination().target == target
        assert destination.target_details == stand_in.destination().target_details
        assert [secret for secret in secrets if secret in f"{target} {destination!r}"] == []

    def test_open_refuses_fields_that_do_not_suit_before_any_request(self, stand_in: StandIn) -> None:
        """A mistake in the mapping is found before the first row, and `abort` then releases everything."""
        lease = CountingLease()
        destination = stand_in.destination()

        with pytest.raises(ConfigurationError):
            destination.open(load_of(stand_in, stand_in.unfit().empty_table(), lease=lease, rows_sent=3))
        destination.abort()

        assert lease.asked == 0
        assert_stored(stand_in, [])
        assert_accepted(deliver(stand_in, people(2)))

    def test_a_load_that_is_given_up_publishes_nothing_it_should_not(self, stand_in: StandIn) -> None:
        """A destination that replaces leaves the version before; any other adds no one who was not sent."""
        deliver(stand_in, people(2))
        rows = stand_in.rows(people(2, start=2))
        load = begun(stand_in, load_of(stand_in, rows, decided=1))

        load.send(rows)
        load.destination.abort()

        there = set(stand_in.stored())
        assert set(people(2)) <= there
        assert there <= set(people(2) if load.destination.replaces else people(4))

    def test_a_load_that_was_given_up_can_be_tried_again(self, stand_in: StandIn) -> None:
        """`abort` releases every lock, file and connection, also when it is called twice."""
        rows = stand_in.rows(people(3))
        load = begun(stand_in, load_of(stand_in, rows))
        load.send(rows)
        load.destination.abort()
        load.destination.abort()

        outcomes = deliver(stand_in, people(3))

        assert_accepted(outcomes)
        assert_stored(stand_in, people(3))

    def test_a_removal_that_is_given_up_takes_nobody_out_of_a_version(self, stand_in: StandIn) -> None:
        """A destination that replaces publishes in `commit` alone."""
        destination = stand_in.destination()
        if not (destination.replaces and destination.can_remove):
            return
        deliver(stand_in, people(3))
        load = begun(stand_in, load_of(stand_in, stand_in.rows(people(1)), decided=1, rows_sent=0))

        load.remove(people(1))
        load.destination.abort()

        assert_stored(stand_in, people(3))
