"""A person has one subject, however the id is typed, and no one finds it without the key."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.decision_log import SubjectKey
from airflow_consent_retl.storage.records.subjects import RecordedPerson, RecordKey

KEY = RecordKey(SubjectKey("0123456789abcdef0123456789abcdef"))
OTHER = RecordKey(SubjectKey("fedcba9876543210fedcba9876543210"))


@pytest.mark.parametrize(
    ("ids", "asked"),
    [
        (pa.array([7], pa.int8()), "7"),
        (pa.array([-7], pa.int64()), -7),
        (pa.array([2**63 + 5], pa.uint64()), 2**63 + 5),
        (pa.array(["c7"]), "c7"),
        (pa.array(["7"]), 7),
        (pa.array(["é7"], pa.large_string()).dictionary_encode(), "é7"),
        (pa.array([Decimal("7.00")]), "7"),
        (pa.array([Decimal("7.50")]), "7.5"),
        (pa.array([Decimal(7)], pa.decimal128(38, 0)), 7),
        (pa.array([Decimal(10**30)], pa.decimal128(38, 0)), 10**30),
        (pa.array([date(2026, 11, 23)]), "2026-11-23"),
        (pa.array([True]), "true"),
    ],
)
def test_a_person_is_found_by_the_id_as_people_write_it(ids: pa.Array, asked: Any) -> None:
    assert int(KEY.subjects(ids)[0]) in KEY.of_person(asked)


def test_the_same_number_has_one_subject_in_every_type_of_numbers() -> None:
    found = {
        int(KEY.subjects(pa.array([number], type_))[0])
        for number, type_ in [
            (7, pa.int8()),
            (7, pa.uint64()),
            (Decimal(7), pa.decimal128(38, 0)),
            (Decimal("7.00"), pa.decimal128(9, 2)),
        ]
    }

    assert len(found) == 1


def test_another_key_gives_other_subjects() -> None:
    ids = pa.array(range(100_000))

    assert not set(KEY.subjects(ids).tolist()) & set(OTHER.subjects(ids).tolist())
    assert not KEY.of_person(7) & OTHER.of_person(7)


@given(st.sets(st.text(max_size=40), min_size=2, max_size=50))
def test_different_ids_have_different_subjects(ids: set[str]) -> None:
    assert len(set(KEY.subjects(pa.array(sorted(ids), pa.string())).tolist())) == len(ids)


def test_records_under_a_key_that_is_not_known_are_no_empty_answer() -> None:
    person = RecordedPerson.of(7, [KEY])

    with pytest.raises(ConfigurationError, match=f"under digest key {OTHER.key_id}, and only {KEY.key_id} is known"):
        person.under(OTHER.key_id, place="records/x.json")
