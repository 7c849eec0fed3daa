"""Checks that a destination checks its lease before each request: after the lease is lost, no request arrives."""

from __future__ import annotations

import pytest

from airflow_consent_retl.errors import LeaseLostError
from airflow_consent_retl.testing.driving import (
    CountingLease,
    action_of,
    assert_accepted,
    assert_stored,
    deliver,
    load_of,
    opened,
    take_back,
)
from airflow_consent_retl.testing.people import people
from airflow_consent_retl.testing.stand_in import Circumstance, StandIn

_SENDING_AND_REMOVING = pytest.mark.parametrize("action", ["send", "remove"])


class LeaseChecks:
    """Checks of `Load.before_request`; a subclass of the contract has the fixture `stand_in`."""

    @_SENDING_AND_REMOVING
    def test_asks_before_each_request(self, stand_in: StandIn, action: str) -> None:
        """The lease is checked at least once for each request that carries rows."""
        if action == "remove" and not stand_in.destination().can_remove:
            return
        act = action_of(stand_in, action, people(3))
        counted = Circumstance.REQUESTS not in stand_in.impossible
        lease, before = CountingLease(), stand_in.requests() if counted else 0

        assert_accepted(act(decided=1, lease=lease))

        assert lease.asked >= 1
        if counted:
            assert lease.asked == stand_in.requests() - before

    def test_asks_again_before_each_batch(self, stand_in: StandIn) -> None:
        """Permission for one batch says nothing about the next."""
        lease, rows = CountingLease(), stand_in.rows(people(6))
        asked = []

        with opened(stand_in, load_of(stand_in, rows, lease=lease)) as load:
            for batch in load.batches("send", rows, 2):
                load.send_batch(batch)
                asked.append(lease.asked)

        assert lease.asked >= 1
        if not stand_in.destination().replaces:
            # A destination that replaces may keep rows until it publishes.
            assert asked == sorted(set(asked))
            assert asked[0] >= 1

    @_SENDING_AND_REMOVING
    def test_nothing_arrives_once_the_lease_is_lost(self, stand_in: StandIn, action: str) -> None:
        """The destination does not catch the error, and everything is as it was."""
        if action == "remove" and not stand_in.destination().can_remove:
            return
        everyone = people(3)
        act = action_of(stand_in, action, everyone)
        before = sorted(stand_in.stored())

        with pytest.raises(LeaseLostError):
            act(decided=1, lease=CountingLease(lost_after=0))

        assert sorted(stand_in.stored()) == before
        assert_accepted(act(decided=1))
        assert_stored(stand_in, everyone if action == "send" else [])

    def test_a_lease_that_is_lost_between_two_requests_stops_the_second(self, stand_in: StandIn) -> None:
        """This applies wherever the lease is lost, also while publishing."""
        probe = CountingLease()
        deliver(stand_in, people(3), lease=probe)

        for requests in range(probe.asked):
            with pytest.raises(LeaseLostError):
                deliver(
                    stand_in,
                    people(3, start=10 * (requests + 1)),
                    decided=requests + 1,
                    lease=CountingLease(lost_after=requests),
                )

        everyone = people(3)
        assert_accepted(deliver(stand_in, everyone, decided=probe.asked + 1))
        assert set(everyone) <= set(stand_in.stored())

    def test_a_removal_whose_lease_is_lost_is_finished_by_the_next_try(self, stand_in: StandIn) -> None:
        """A try that stopped half-way leaves no one behind."""
        if not stand_in.destination().can_remove:
            return
        everyone = people(4)
        deliver(stand_in, everyone)
        # A destination that replaces may check once, just before it publishes.
        lease = CountingLease(lost_after=0 if stand_in.destination().replaces else 1)
        with pytest.raises(LeaseLostError):
            take_back(stand_in, everyone[:3], decided=1, lease=lease, batch_rows=1)

        outcomes = take_back(stand_in, everyone[:3], decided=1, batch_rows=1)

        assert_accepted(outcomes)
        assert_stored(stand_in, everyone[3:])
