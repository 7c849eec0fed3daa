"""Tests of the rules for states of subscriptions, and of the outcomes of rows after several steps."""

from __future__ import annotations

import logging

import pytest

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.responses import ACCEPTED
from airflow_consent_retl.destinations.http.subscriptions import SubscriptionRules, after_a_change, with_states

DOUBT = Outcome(RowStatus.UNCERTAIN, "unreadable_answer")
REFUSED = Outcome(RowStatus.REJECTED, "locked")


def rules() -> SubscriptionRules:
    return SubscriptionRules("Acme", granting=["in", "confirmed"], denied="out")


@pytest.mark.parametrize(
    ("wanted", "present", "sent"),
    [
        ("in", "", "in"),
        ("confirmed", "in", "confirmed"),
        ("in", "out", None),
        ("in", DOUBT, None),
        ("out", "in", "out"),
        ("out", DOUBT, "out"),
        (None, "in", "out"),
        (None, "out", None),
        (None, "", None),
        (None, DOUBT, None),
    ],
)
def test_no_one_is_subscribed_over_an_opt_out_and_a_missing_consent_ends_a_grant_only(
    wanted: str | None, present: Outcome | str, sent: str | None
) -> None:
    assert rules().to_send(wanted, present) == sent


def test_the_strictest_state_counts_for_all_who_share_an_address() -> None:
    wanted = [("a", "in"), ("a", None), ("b", None), ("b", "out"), ("b", "confirmed"), ("c", "in")]

    assert rules().strictest(wanted) == {"a": None, "b": "out", "c": "in"}


def test_only_opt_outs_at_the_vendor_are_counted_as_kept(caplog: pytest.LogCaptureFixture) -> None:
    acme = rules()
    caplog.set_level(logging.WARNING)
    acme.to_send("in", DOUBT)
    acme.warn()
    before = caplog.text

    acme.to_send("in", "out")
    acme.warn()

    assert before == ""
    assert "1 subscriptions were left unsubscribed: Acme has an opt-out" in caplog.text


def test_a_row_that_was_applied_is_uncertain_where_its_state_was_refused() -> None:
    first = Outcomes(4, ACCEPTED, {3: REFUSED}, requests=((0, "request-1"),))

    settled = with_states(list(first), [[ACCEPTED], [ACCEPTED, DOUBT], [REFUSED, DOUBT], [DOUBT]])
    outcomes = after_a_change(first, settled)

    assert list(settled) == [ACCEPTED, DOUBT, REFUSED, REFUSED]
    assert list(outcomes) == [ACCEPTED, DOUBT, Outcome(RowStatus.REJECTED, "state_refused"), REFUSED]
    assert outcomes.requests == first.requests
