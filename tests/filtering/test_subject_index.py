"""Ids compared with a source's answers: each person has their own answer, in memory that does not grow with people."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.consent import CauseRank, RemovalCause
from airflow_consent_retl.databases.source import MoreMemoryNeededError
from airflow_consent_retl.errors import ModelError
from airflow_consent_retl.filtering.consent_answers import PERMITTED, WITHOUT_FIELDS, ConsentAnswers
from airflow_consent_retl.filtering.subject_index import SubjectIndex

_IDS: list[tuple[pa.DataType, list[Any]]] = [
    (pa.int64(), [0, 1, -1, 2**63 - 1, -(2**63), 7, 8]),
    (pa.uint64(), [0, 1, 2**64 - 1, 2**63, 7, 8, 9]),
    (pa.uint64(), [2**64 - 1 - number for number in range(7)]),
    (pa.int32(), [40, 30, 20, 10, 0, -10, -20]),
    (pa.string(), ["", "a", "A", "a ", "person-0000000001", "person-0000000002", "\0"]),
    (pa.binary(), [b"", b"a", b"a\0", b"\0", b"12345678", b"123456789", b"x" * 99]),
    (pa.decimal128(38, 2), [Decimal(number) / 100 for number in (0, 1, -1, 10**37, 5, 6, 7)]),
    (pa.date32(), [date(1970, 1, 1) + timedelta(days) for days in (0, 1, -1, 20_000, 30_000, 9, 8)]),
]
_VERDICTS = [PERMITTED, CauseRank.CONSENT_WITHDRAWN, CauseRank.CONSENT_MISSING, WITHOUT_FIELDS, WITHOUT_FIELDS + 1]
_FIELDS = [("email",), ("phone",)]


@pytest.mark.parametrize(("type_", "values"), _IDS, ids=[f"{type_}-{number}" for number, (type_, _) in enumerate(_IDS)])
@given(
    # An entry of the delivered state may name a person again; an answer may name others, or a person several times.
    people=st.lists(st.integers(0, 6), max_size=9),
    answers=st.lists(st.lists(st.tuples(st.integers(0, 6), st.sampled_from(_VERDICTS)), max_size=6), max_size=4),
    # Many partitions for few people, and one.
    expected_people=st.sampled_from([1, 300_000, 10**9]),
)
def test_each_person_has_the_strongest_cause_of_their_own_answers(
    type_: pa.DataType,
    values: list[Any],
    people: list[int],
    answers: list[list[tuple[int, int]]],
    expected_people: int,
) -> None:
    def ask() -> Iterator[ConsentAnswers]:
        for some in answers:
            verdicts = np.array([verdict for _, verdict in some], dtype=np.int16)
            ids = pa.array([values[number] for number, _ in some], type_)
            yield ConsentAnswers(ids, {"crm": verdicts}, partial=_FIELDS)

    chunks = [pa.array([values[number] for number in people[start : start + 4]], type_) for start in (0, 4, 8)]
    with SubjectIndex(chunks, type_, people=expected_people) as index:
        found = index.not_permitted(ask(), "crm")

    causes, partial = _plainly(people, answers)
    assert {cause: positions.tolist() for cause, positions in found.items()} == causes
    assert {fields: places.tolist() for fields, places in index.partial.items() if len(places)} == partial


def _plainly(
    people: list[int], answers: list[list[tuple[int, int]]]
) -> tuple[dict[RemovalCause, list[int]], dict[tuple[str, ...], list[int]]]:
    causes: dict[RemovalCause, list[int]] = defaultdict(list)
    partial: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for position, person in enumerate(people):
        verdicts = [verdict for some in answers for number, verdict in some if number == person]
        denials = [CauseRank(verdict) for verdict in verdicts if PERMITTED < verdict < WITHOUT_FIELDS]
        denials += [] if verdicts else [CauseRank.LEFT_MODEL]
        denials += [CauseRank.ID_AMBIGUOUS] if len(verdicts) > 1 else []
        if denials:
            causes[max(denials).cause].append(position)
        elif verdicts[0] >= WITHOUT_FIELDS:
            partial[_FIELDS[verdicts[0] - WITHOUT_FIELDS]].append(position)
    return dict(causes), dict(partial)


_MANY = """
import sys

import numpy as np
import pyarrow as pa
from airflow_consent_retl.filtering.consent_answers import ConsentAnswers
from airflow_consent_retl.filtering.subject_index import SubjectIndex

PEOPLE, ROWS, STEP = 3_000_000, 50_000, int(sys.argv[1])

def memory(name):
    lines = [line.split() for line in open("/proc/self/status") if line.startswith(name)]
    return int(lines[0][1]) >> 10

def ids():
    for start in range(0, PEOPLE, ROWS):
        yield pa.array(np.arange(start, start + ROWS) * STEP)

def ask(id_type):
    for some in ids():
        verdicts = np.zeros(len(some), dtype=np.int16)
        verdicts[0] = 1
        yield ConsentAnswers(some, {"crm": verdicts})

before = memory("VmRSS")
with SubjectIndex(ids(), pa.int64(), people=PEOPLE) as people:
    found = people.asked(ask, "crm")
print(sum(map(len, found.values())), memory("VmHWM") - before)
"""


@pytest.mark.parametrize("step", [1, 1_000_003], ids=["ids close together", "ids far apart"])
def test_millions_of_people_and_answers_need_some_mebibytes(step: int) -> None:
    ended = subprocess.run([sys.executable, "-c", _MANY, str(step)], capture_output=True, text=True, check=True)

    denied, grown_mib = map(int, ended.stdout.split())
    assert denied == 60
    # A list of the ids and their positions has 46 MiB, and a hash table of them twice as much.
    assert grown_mib < 60


def test_ids_of_which_the_last_one_repeats_or_is_far_away_are_all_compared() -> None:
    for last in (7, 10**15):
        people = [pa.array(np.arange(200_000)), pa.array([last])]
        answered = pa.array([*range(100_000), last] if last != 7 else range(100_000))
        answer = ConsentAnswers(answered, {"crm": np.full(len(answered), PERMITTED, np.int16)})

        with SubjectIndex(people, pa.int64(), people=200_001) as index:
            found = index.not_permitted(iter([answer]), "crm")

        assert {cause: places.tolist() for cause, places in found.items()} == {
            RemovalCause.LEFT_MODEL: list(range(100_000, 200_000))
        }


def test_ids_of_any_width_are_asked_about_once() -> None:
    asked = []

    def wide(start: int) -> pa.Array:
        return pa.array([f"{number:02000d}" for number in range(start, start + 1_000)])

    def ask(id_type: pa.DataType) -> Iterator[ConsentAnswers]:
        asked.append(id_type)
        for start in range(0, 8_000, 1_000):
            verdicts = np.full(1_000, PERMITTED, dtype=np.int16)
            verdicts[7] = CauseRank.CONSENT_WITHDRAWN
            yield ConsentAnswers(wide(start), {"webhook": verdicts})

    with SubjectIndex((wide(start) for start in range(0, 8_000, 1_000)), pa.string(), people=8_000) as people:
        found = people.asked(ask, "webhook")

    assert {cause: positions.tolist() for cause, positions in found.items()} == {
        RemovalCause.CONSENT_WITHDRAWN: list(range(7, 8_000, 1_000))
    }
    assert len(asked) == 1


class TimeIsUpError(BaseException):
    """Ends a task, as Airflow's timeout does."""


@pytest.mark.parametrize("failure", [ModelError("the source broke off"), TimeIsUpError()], ids=["error", "timeout"])
def test_an_answer_that_breaks_off_is_no_answer(failure: BaseException) -> None:
    def answers() -> Iterator[ConsentAnswers]:
        for start in range(0, 400_000, 100_000):
            ids = pa.array(np.arange(start, start + 100_000))
            yield ConsentAnswers(ids, {"webhook": np.full(100_000, PERMITTED, dtype=np.int16)})
        raise failure

    with (
        SubjectIndex([pa.array(np.arange(500_000))], pa.int64(), people=500_000) as people,
        pytest.raises(type(failure)),
    ):
        people.not_permitted(answers(), "webhook")


def test_the_moments_are_those_of_rows_that_deny() -> None:
    day = datetime(2026, 11, 1, tzinfo=UTC)
    times = pa.array([day.replace(day=number) for number in range(1, 6)], pa.timestamp("us", tz="UTC"))
    denied = CauseRank.CONSENT_WITHDRAWN
    verdicts = np.array([PERMITTED, denied, denied, PERMITTED, PERMITTED], dtype=np.int16)
    # 2 has two rows that deny, 3 two that permit.
    answer = ConsentAnswers(pa.array([1, 2, 2, 3, 3]), {"webhook": verdicts}, moments=times)

    with SubjectIndex([pa.array([1, 2, 3, 4])], pa.int64(), people=4) as people:
        found = people.not_permitted(iter([answer]), "webhook")

    assert {cause: positions.tolist() for cause, positions in found.items()} == {
        RemovalCause.CONSENT_WITHDRAWN: [1],
        RemovalCause.ID_AMBIGUOUS: [2],
        RemovalCause.LEFT_MODEL: [3],
    }
    assert sorted(people.moments) == [day.replace(day=3), day.replace(day=5)]


def test_a_question_whose_rows_are_too_wide_for_a_plain_scan_is_asked_again() -> None:
    asked: list[int] = []

    def ask(id_type: pa.DataType) -> Iterator[ConsentAnswers]:
        asked.append(len(asked))
        yield ConsentAnswers(pa.array([1], id_type), {"ads": np.array([PERMITTED], dtype=np.int8)})
        if len(asked) == 1:
            raise MoreMemoryNeededError("a scan needs more memory")
        yield ConsentAnswers(pa.array([2], id_type), {"ads": np.array([PERMITTED], dtype=np.int8)})

    with SubjectIndex([pa.array([1, 2])], pa.int64(), people=2) as people:
        found = people.asked(ask, "ads")

    assert found == {}
    assert len(asked) == 2
