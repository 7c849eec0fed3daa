"""Checks of a dry run: `check` refuses what `open` refuses, and the other side is as it was."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.testing.driving import CountingLease, assert_accepted, assert_stored, deliver, load_of
from airflow_consent_retl.testing.people import people
from airflow_consent_retl.testing.stand_in import Circumstance, StandIn


class DryRunChecks:
    """Checks of `Destination.check` and `look`; a subclass of the contract has the fixture `stand_in`."""

    def test_a_dry_run_before_the_first_load_sends_nothing(self, stand_in: StandIn) -> None:
        """Nothing arrives and nothing is in the way of the load that follows, also after several dry runs."""
        before = _requests(stand_in)

        for _ in range(2):
            rows, lease = stand_in.rows(people(3)), CountingLease()
            load, destination = load_of(stand_in, rows, lease=lease), stand_in.destination()
            destination.check(load)
            (batch,) = rows.combine_chunks().to_batches()
            assert len(destination.sent_as(batch, load)) == rows.num_rows
            assert lease.asked == 0

        assert _requests(stand_in) == before
        assert_accepted(deliver(stand_in, people(3)))
        assert_stored(stand_in, people(3))

    def test_a_dry_run_after_a_load_changes_nothing(self, stand_in: StandIn) -> None:
        """The people who are there stay, with their values, whoever would be sent or removed."""
        deliver(stand_in, people(3))
        before, lease = _requests(stand_in), CountingLease()
        to_send = load_of(stand_in, stand_in.rows(people(4, start=1)), decided=1, lease=lease)
        to_remove = load_of(stand_in, stand_in.rows(people(1)), decided=1, lease=lease, rows_sent=0)

        for load in (to_send, to_remove):
            stand_in.destination().look(replace(load, delivered=3))
            stand_in.destination().check(load)

        assert lease.asked == 0
        assert _requests(stand_in) == before
        assert_stored(stand_in, people(3))

    def test_a_dry_run_refuses_fields_that_do_not_suit(self, stand_in: StandIn) -> None:
        """A plan that the run would then refuse is worth nothing."""
        deliver(stand_in, people(1))

        with pytest.raises(ConfigurationError):
            stand_in.destination().check(load_of(stand_in, stand_in.unfit().empty_table(), decided=1, rows_sent=3))

        assert_stored(stand_in, people(1))


def _requests(stand_in: StandIn) -> int:
    return 0 if Circumstance.REQUESTS in stand_in.impossible else stand_in.requests()
