"""Tests of the records that a vendor has of people, and of the outcomes after they were changed."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_consent_retl.contract.outcomes import Outcome, RowStatus
from airflow_consent_retl.destinations.http.found_records import FoundRecords, ids_by_key
from airflow_consent_retl.destinations.http.responses import ACCEPTED, UnreadableAnswerError

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


def test_the_text_at_a_place_of_each_record_is_missing_where_there_is_none() -> None:
    nested = {"id": "3", "properties": {"email": "cid@example.com"}}
    found = FoundRecords(["cid", "ann", None], {"cid": nested, "ann": ANN}, {})

    assert found.texts("properties", "email") == ["cid@example.com", None, None]
    assert found.texts("name") == [None, "ann", None]


def test_a_person_has_the_ids_of_all_records_with_the_key_in_any_case_that_the_vendor_folds() -> None:
    records: list[dict[str, Any]] = [{"Id": "1", "Key": "ANN"}, {"Id": "2", "Key": "ann"}, {"Id": "3", "Key": 7.0}]

    found = ids_by_key(records, ["ann", "7", "bob"], field="Key", id_field="Id", fold=str.casefold)

    assert found == {"ann": ["1", "2"], "7": ["3"]}


@pytest.mark.parametrize("record", [{"Id": "1", "Key": "eve"}, {"Id": None, "Key": "ann"}, {"Key": "ann"}, {"Id": "1"}])
def test_a_record_without_an_id_or_with_a_key_that_was_not_asked_for_is_unreadable(record: dict[str, Any]) -> None:
    with pytest.raises(UnreadableAnswerError):
        ids_by_key([record], ["ann"], field="Key", id_field="Id")
