"""Checks of a destination after lost answers, unreadable answers and refusals: never a success, and never a leak."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence

import pytest

from airflow_consent_retl.contract.outcomes import Outcomes, RowStatus
from airflow_consent_retl.errors import DestinationUnavailableError, PermanentError, TransientError
from airflow_consent_retl.testing.driving import (
    CountingLease,
    accepted,
    action_of,
    assert_accepted,
    assert_stored,
    deliver,
    take_back,
)
from airflow_consent_retl.testing.people import CANARY, Person, people
from airflow_consent_retl.testing.stand_in import Circumstance, StandIn

_SENDING_AND_REMOVING = pytest.mark.parametrize("action", ["send", "remove"])
_FAULTS = [
    Circumstance.APPLIED_THEN_TIMEOUT,
    Circumstance.UNREADABLE_ANSWER,
    Circumstance.UNAVAILABLE,
    Circumstance.REFUSED,
]


class FailureChecks:
    """Checks under faults; a subclass of the contract has the fixture `stand_in`."""

    @_SENDING_AND_REMOVING
    def test_nothing_is_accepted_when_the_answer_is_lost(self, stand_in: StandIn, action: str) -> None:
        """A batch applied without an answer is uncertain; the next try, under the same key, settles it."""
        _check_unanswered(stand_in, Circumstance.APPLIED_THEN_TIMEOUT, action)

    @_SENDING_AND_REMOVING
    def test_nothing_is_accepted_when_the_answer_cannot_be_read(self, stand_in: StandIn, action: str) -> None:
        """An unreadable answer never counts as success."""
        _check_unanswered(stand_in, Circumstance.UNREADABLE_ANSWER, action)

    @_SENDING_AND_REMOVING
    def test_is_unavailable_only_where_nothing_was_applied(self, stand_in: StandIn, action: str) -> None:
        """`DestinationUnavailableError` means that certainly nothing was applied, and that another try may succeed."""
        if _cannot(stand_in, Circumstance.UNAVAILABLE, action):
            return
        everyone = people(3)
        act = action_of(stand_in, action, everyone)
        before = sorted(stand_in.stored())
        stand_in.unavailable()

        with pytest.raises(DestinationUnavailableError):
            act(decided=1)
        stand_in.recover()

        assert sorted(stand_in.stored()) == before
        assert_accepted(act(decided=1))
        assert_stored(stand_in, everyone if action == "send" else [])

    @_SENDING_AND_REMOVING
    def test_a_refusal_of_everything_is_no_matter_of_rows(self, stand_in: StandIn, action: str) -> None:
        """Wrong credentials stop the load with an error that Airflow does not retry; no row is at fault."""
        if _cannot(stand_in, Circumstance.REFUSED, action):
            return
        act = action_of(stand_in, action, people(3))
        before = sorted(stand_in.stored())
        stand_in.refused()

        with pytest.raises(PermanentError):
            act(decided=1)
        stand_in.recover()

        assert sorted(stand_in.stored()) == before

    @_SENDING_AND_REMOVING
    @pytest.mark.parametrize("fault", _FAULTS)
    def test_no_error_code_or_log_tells_a_value_or_a_secret(
        self, stand_in: StandIn, caplog: pytest.LogCaptureFixture, fault: Circumstance, action: str
    ) -> None:
        """Every failure is reported in counts and codes."""
        if _cannot(stand_in, fault, action):
            return
        act = action_of(stand_in, action, people(3))
        caplog.set_level(logging.INFO)
        getattr(stand_in, fault)()

        reported = ""
        try:
            reported = _codes(act(decided=1))
        except (PermanentError, TransientError) as error:
            reported = "".join(traceback.format_exception(error))
        stand_in.recover()

        _assert_leaks_nothing(stand_in, reported, caplog)

    def test_no_rejection_tells_a_value_or_a_secret(self, stand_in: StandIn, caplog: pytest.LogCaptureFixture) -> None:
        """Vendors quote values they refuse: their codes are checked, their texts are dropped."""
        caplog.set_level(logging.INFO)
        if Circumstance.PARTIAL_FAILURE in stand_in.impossible:
            return
        sent = people(5)
        rows = stand_in.partial_failure(sent, {sent[2].id})

        reported = _codes(deliver(stand_in, sent, rows=rows))

        _assert_leaks_nothing(stand_in, reported, caplog)

    def test_no_removal_that_is_refused_tells_a_value_or_a_secret(
        self, stand_in: StandIn, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The same for people who have to stay."""
        caplog.set_level(logging.INFO)
        if _cannot(stand_in, Circumstance.PARTIAL_REMOVAL, "remove"):
            return
        deliver(stand_in, people(5))
        stand_in.partial_removal({people(5)[2].id})

        reported = _codes(take_back(stand_in, people(5), decided=1))

        _assert_leaks_nothing(stand_in, reported, caplog)

    @_SENDING_AND_REMOVING
    def test_requests_that_are_tried_again_ask_before_each(self, stand_in: StandIn, action: str) -> None:
        """A lease that is lost between two tries stops the second one."""
        if _cannot(stand_in, Circumstance.UNAVAILABLE, action) or Circumstance.REQUESTS in stand_in.impossible:
            return
        act = action_of(stand_in, action, people(3))
        stand_in.unavailable()
        lease, before = CountingLease(), stand_in.requests()

        with pytest.raises(DestinationUnavailableError):
            act(decided=1, lease=lease)

        # It may have checked the lease for a request that never arrived.
        assert stand_in.requests() - before <= lease.asked


def _check_unanswered(stand_in: StandIn, fault: Circumstance, action: str) -> None:
    if _cannot(stand_in, fault, action):
        return
    everyone = people(3)
    act = action_of(stand_in, action, everyone)
    getattr(stand_in, fault)()

    if stand_in.destination().replaces:
        # It may accept rows into a version that `commit` then cannot publish.
        with pytest.raises(TransientError):
            act(decided=1)
    else:
        outcomes = act(decided=1)
        assert accepted(everyone, outcomes) == []
        assert {outcome.status for outcome in outcomes} == {RowStatus.UNCERTAIN}
        assert all(outcome.code for outcome in outcomes)
    stand_in.recover()

    assert_accepted(act(decided=1))
    _assert_ended(stand_in, everyone, action)


def _assert_ended(stand_in: StandIn, everyone: Sequence[Person], action: str) -> None:
    assert_stored(stand_in, everyone if action == "send" else [])


def _cannot(stand_in: StandIn, circumstance: Circumstance, action: str) -> bool:
    # INVARIANT: every circumstance declared impossible has a reason, which `test_every_circumstance_…` checks.
    return circumstance in stand_in.impossible or (action == "remove" and not stand_in.destination().can_remove)


def _codes(outcomes: Outcomes) -> str:
    return " ".join(outcome.code for outcome in outcomes)


def _assert_leaks_nothing(stand_in: StandIn, reported: str, caplog: pytest.LogCaptureFixture) -> None:
    secrets = [] if Circumstance.SECRETS in stand_in.impossible else [*stand_in.secrets()]
    everything = reported + caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert [text for text in (CANARY, *secrets) if text in everything] == []
