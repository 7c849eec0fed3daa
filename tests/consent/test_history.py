"""Tests of the history: the recorded answer that counts, and doubts about it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_consent_retl.consent import (
    CLOCK_SKEW,
    ConsentSource,
    ConsentStatus,
    CountedAnswer,
    Doubt,
    EpochTime,
    RecordedAnswer,
    counted_answer,
    counted_answers,
)
from airflow_consent_retl.consent.freshness import EpochUnit
from airflow_consent_retl.consent.history import doubt_signal, doubt_status

CASES = json.loads((Path(__file__).parents[1] / "cases" / "recorded_answers.json").read_text())
AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
UNTIL = AT + CLOCK_SKEW


def time_of(day: int | str | None) -> datetime | None:
    """Return a time of the case file: days before or after day 5, now, or the latest time that is not in the future."""
    if day == "limit":
        return UNTIL
    return None if day is None else AT + timedelta(days=int(day) - 5)


def recorded(case_answer: list[Any]) -> RecordedAnswer:
    profile = case_answer[2] if len(case_answer) > 2 and case_answer[2] != "itself" else None
    return RecordedAnswer((case_answer[0],), time_of(case_answer[1]), profile)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
@pytest.mark.parametrize("order", [1, -1])
def test_the_answer_that_counts_is_that_of_the_case_file(case: dict[str, Any], order: int) -> None:
    answers = [recorded(case_answer) for case_answer in case["answers"]][::order]

    found = counted_answer(answers, until=UNTIL)

    if case["expected"] is None:
        assert found is None
    else:
        value, doubt, day = case["expected"]
        assert found == CountedAnswer(None if value == "doubt" else (value,), Doubt(doubt), time_of(day))


def test_without_a_limit_no_answer_is_in_the_future() -> None:
    late = RecordedAnswer((True,), AT + timedelta(days=999))

    assert counted_answer([late], until=None) == CountedAnswer((True,), Doubt.NONE, late.time)


def test_values_are_compared_with_their_types() -> None:
    answers = [RecordedAnswer((True, "a"), AT), RecordedAnswer((1, "a"), AT)]

    assert counted_answer(answers, until=None) == CountedAnswer(None, Doubt.CONFLICT, AT)


def test_a_difference_in_any_column_is_a_conflict() -> None:
    answers = [RecordedAnswer((True, "a"), AT), RecordedAnswer((True, "b"), AT)]

    assert counted_answer(answers, until=None) == CountedAnswer(None, Doubt.CONFLICT, AT)


values = st.tuples(st.sampled_from([True, False, None]))
times = st.one_of(st.none(), st.integers(0, 7).map(time_of))
answers_of = st.lists(
    st.builds(RecordedAnswer, values, times, st.sampled_from([None, "phone", "tablet"])), min_size=1, max_size=6
)


@settings(max_examples=300)
@given(answers_of, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(answers: list[RecordedAnswer], chance: Any) -> None:
    shuffled = chance.sample(answers, len(answers))

    assert counted_answer(shuffled, until=UNTIL) == counted_answer(answers, until=UNTIL)


@settings(max_examples=300)
@given(answers_of)
def test_an_answer_without_doubt_was_recorded_and_no_later_one_contradicts_it(answers: list[RecordedAnswer]) -> None:
    found = counted_answer(answers, until=UNTIL)

    assert found is not None
    assert found.time == max((answer.time for answer in answers if answer.time is not None), default=None)
    if found.doubt is Doubt.NONE:
        assert found.values in [answer.values for answer in answers]
        assert found.time is None or found.time <= UNTIL
        # No answer that is certainly or possibly the latest contradicts it.
        assert all(answer.values == found.values for answer in answers if answer.time in (found.time, None))
    else:
        assert found.values is None


@settings(max_examples=300)
@given(answers_of, times, st.sampled_from([None, "phone", "watch"]))
def test_one_more_no_never_makes_a_yes(answers: list[RecordedAnswer], time: datetime | None, profile: str) -> None:
    before = counted_answer(answers, until=UNTIL)
    after = counted_answer([*answers, RecordedAnswer((False,), time, profile)], until=UNTIL)

    assert before is not None
    assert after is not None
    if before.values != (True,):
        assert after.values != (True,)


@settings(max_examples=300)
@given(answers_of)
def test_one_profile_is_in_doubt_exactly_if_possible_latest_answers_differ(answers: list[RecordedAnswer]) -> None:
    own = [RecordedAnswer(answer.values, answer.time) for answer in answers]
    newest = max((answer.time for answer in own if answer.time is not None), default=None)

    found = counted_answer(own, until=None)

    assert found is not None
    different = {answer.values for answer in own if answer.time in (newest, None)}
    assert found.doubt is (Doubt.NONE if len(different) == 1 else Doubt.CONFLICT)


# Rows of a source

ROW = {"person": "a", "ads": True, "stats": None, "at": AT, "device": None, "category": "C4"}


def source(**parameters: Any) -> ConsentSource:
    return ConsentSource("SELECT 1", subject="person", **{"columns": ["ads", "stats"], **parameters})


def test_states_have_no_time_and_no_future() -> None:
    rows = [ROW, ROW | {"person": "b", "at": AT + timedelta(days=1)}, ROW | {"person": "b", "stats": 1}]

    assert counted_answers(source(), rows, at=AT) == {
        ("a",): CountedAnswer((True, None)),
        ("b",): CountedAnswer(None, Doubt.CONFLICT),
    }


def test_events_may_be_in_the_future_by_the_clock_skew() -> None:
    rows = [ROW | {"at": UNTIL}, ROW | {"person": "b", "at": UNTIL + timedelta(microseconds=1)}]

    found = counted_answers(source(time="at"), rows, at=AT)

    assert found[("a",)] == CountedAnswer((True, None), Doubt.NONE, UNTIL)
    assert found[("b",)] == CountedAnswer(None, Doubt.FUTURE, UNTIL + timedelta(microseconds=1))


@pytest.mark.parametrize(("unit", "number"), [("s", 1), ("ms", 1_000), ("us", 1_000_000)])
def test_a_number_is_the_time_of_an_answer_in_the_declared_unit(unit: EpochUnit, number: int) -> None:
    now = int(AT.timestamp()) * number
    events = source(time=EpochTime("at", unit))
    rows = [
        ROW | {"at": now},
        ROW | {"at": now - number, "ads": False},
        ROW | {"person": "b", "at": now + 301 * number},
    ]

    assert counted_answers(events, rows, at=AT) == {
        ("a",): CountedAnswer((True, None), Doubt.NONE, AT),
        ("b",): CountedAnswer(None, Doubt.FUTURE, AT + timedelta(seconds=301)),
    }


def test_a_number_that_is_no_time_leaves_the_answer_without_one() -> None:
    events = source(time=EpochTime("at", "s"))
    rows = [ROW | {"at": 0}, ROW | {"person": "b", "at": int(AT.timestamp())}, ROW | {"person": "b", "at": 0, "ads": 0}]

    assert counted_answers(events, rows, at=AT) == {
        ("a",): CountedAnswer((True, None)),
        ("b",): CountedAnswer(None, Doubt.CONFLICT, AT),
    }


def test_a_row_without_a_subject_is_ignored() -> None:
    assert counted_answers(source(), [ROW | {"person": None}], at=AT) == {}
    assert list(counted_answers(source(), [ROW | {"person": None}, ROW], at=AT)) == [("a",)]


def test_profiles_are_distinguished_only_if_the_source_has_them() -> None:
    rows = [ROW | {"device": "phone"}, ROW | {"device": "tablet", "ads": False, "at": AT - timedelta(days=1)}]

    assert counted_answers(source(time="at"), rows, at=AT)[("a",)].values == (True, None)
    assert counted_answers(source(time="at", profile="device"), rows, at=AT)[("a",)].doubt is Doubt.CONFLICT


@pytest.mark.parametrize(("subject", "own"), [("a", None), ("a", "a"), (7, "7"), (7, 7)])
def test_a_profile_that_is_the_subject_itself_may_settle_the_others(subject: object, own: object) -> None:
    rows = [
        ROW | {"person": subject, "device": "phone", "at": AT - timedelta(days=1)},
        ROW | {"person": subject, "device": own, "ads": False},
    ]

    found = counted_answers(source(time="at", profile="device"), rows, at=AT)

    assert found == {(str(subject),): CountedAnswer((False, None), Doubt.NONE, AT)}


def test_another_profile_settles_nothing() -> None:
    rows = [ROW | {"device": "phone", "at": AT - timedelta(days=1)}, ROW | {"device": "b", "ads": False}]

    assert counted_answers(source(time="at", profile="device"), rows, at=AT)[("a",)].doubt is Doubt.CONFLICT


def test_each_category_of_a_long_history_has_its_own_answer_and_others_have_none() -> None:
    long = source(time="at", category="category", value="ads", columns={"C4": "ads_ok", "4": "four", "true": "t"})
    rows = [
        ROW,
        ROW | {"category": "C9", "ads": False},
        ROW | {"category": None, "ads": False},
        ROW | {"category": 4, "ads": False},
        ROW | {"category": True, "ads": None},
        ROW | {"person": None},
    ]

    assert counted_answers(long, rows, at=AT) == {
        ("a", "C4"): CountedAnswer((True,), Doubt.NONE, AT),
        ("a", "4"): CountedAnswer((False,), Doubt.NONE, AT),
        ("a", "true"): CountedAnswer((None,), Doubt.NONE, AT),
    }


# Doubts in a snapshot


def test_the_codes_of_doubts_are_those_of_snapshots_written_before() -> None:
    assert {doubt.name: doubt.value for doubt in Doubt} == {"NONE": 0, "CONFLICT": 1, "FUTURE": 2, "NEAR_KEY": 3}


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (None, None),
        (0, None),
        (1, ConsentStatus.CONFLICT),
        (2, ConsentStatus.INVALID),
        (3, ConsentStatus.INVALID),
        (-1, ConsentStatus.INVALID),
        (False, ConsentStatus.INVALID),
        ("1", ConsentStatus.INVALID),
    ],
)
def test_a_doubt_replaces_the_answer(raw: object, status: ConsentStatus | None) -> None:
    signal = doubt_signal("ads_doubt")

    assert signal.column == "ads_doubt"
    assert doubt_status(signal.token(raw)) is status
