"""Tests of the records that a vendor has of people, and of the outcomes after they were changed."""

from __future__ import annotations

from airflow_consent_retl.contract.outcomes import Outcome, RowStatus
from airflow_consent_retl.destinations.http.found_records import FoundRecords
from airflow_consent_retl.destinations.http.responses import ACCEPTED

DOUBT = Outcome(RowStatus.UNCERTAIN, "unreadable_answer")
REFUSED = Outcome(RowStatus.REJECTED, "locked")
ANN, BOB = {"id": "1", "name": "ann"}, {"id": "2", "name": "bob"}


def test_a_person_whose_record_is_changed_has_its_outcome_and_one_without_a_record_is_done() -> None:
    found = FoundRecords(["ann", "eve", None, "bob"], {"ann": ANN, "bob": BOB}, {})

    assert found.rows == [0, 3]
    assert list(found.after({"1": REFUSED, "2": ACCEPTED})) == [REFUSED, ACCEPTED, ACCEPTED, ACCEPTED]


def test_a_question_without_a_clear_answer_is_the_outcome_even_if_a_record_came_with_it() -> None:
    found = FoundRecords(["ann", "bob"], {"ann": ANN}, {"ann": DOUBT, "bob": DOUBT})

    assert found.records == []
    assert list(found.after({})) == [DOUBT, DOUBT]


def test_people_who_share_a_record_share_its_outcome_and_it_is_changed_once() -> None:
    found = FoundRecords(["ann", "anna"], {"ann": ANN, "anna": ANN}, {})

    assert found.records == [ANN]
    assert list(found.after({"1": REFUSED})) == [REFUSED, REFUSED]
