"""Attempts at a batch: a missing answer is never forgotten, a success is never lost, the ledger's text is exact."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.attempts import Attempt, BatchKind, IntendedBatch, combined, decoded, encoded

CASES = json.loads((Path(__file__).parents[1] / "cases" / "attempts.json").read_text())
START = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROWS = 6


def time_of(name: str, index: int) -> datetime:
    return START + timedelta(minutes=10 * index + {"intended": 0, "ended": 1, "lost": 5}[name])


def attempt(index: int, outcomes: Outcomes | None, *, rows: int = 1, is_lost: bool = False, **other: Any) -> Attempt:
    described = {
        "kind": BatchKind.SEND,
        "number": 0,
        "start": 0,
        "key": "k",
        "epoch": index + 1,
        "rows": rows,
        "intended_at": time_of("intended", index),
        "lost_at": time_of("lost", index) if is_lost else None,
        "ended_at": None if outcomes is None else time_of("ended", index),
        "outcomes": outcomes,
    }
    return Attempt(**{**described, **other})


def outcome(text: str) -> Outcome:
    status, _, code = text.partition(":")
    return Outcome(RowStatus(status), code)


def described(index: int, result: str) -> Attempt:
    answered = result not in {"never", "lost"}
    return attempt(index, Outcomes(1, outcome(result)) if answered else None, is_lost=result == "lost")


def at(text: str | None) -> datetime | None:
    return None if text is None else time_of(text.split()[0], int(text.split()[1]))


@pytest.mark.parametrize("case", CASES, ids=[f"{case['law']}: {', '.join(case['attempts'])}" for case in CASES])
def test_attempts_combine_as_the_table_states(case: dict[str, Any]) -> None:
    (batch,) = combined(described(index, result) for index, result in enumerate(case["attempts"]))

    assert list(batch.outcomes) == [outcome(case["outcome"])]
    assert batch.asked_at == at(case["asked_at"])
    assert batch.unsettled_at == at(case["unsettled_at"])


statuses_of_a_try = st.one_of(st.none(), st.lists(st.sampled_from(RowStatus), min_size=ROWS, max_size=ROWS))


def joined(statuses: Sequence[RowStatus] | None) -> Outcomes | None:
    if statuses is None:
        return None
    return Outcomes.concatenated(Outcomes(1, Outcome(status, "code")) for status in statuses)


@given(st.lists(statuses_of_a_try, min_size=1, max_size=4))
def test_each_row_of_a_batch_ends_as_it_would_alone(tries: list[list[RowStatus] | None]) -> None:
    (batch,) = combined(attempt(index, joined(of_try), rows=ROWS) for index, of_try in enumerate(tries))

    alone = [
        combined(attempt(index, joined(of_try and [of_try[row]])) for index, of_try in enumerate(tries))[0]
        for row in range(ROWS)
    ]
    assert list(batch.outcomes) == [row.outcomes[0] for row in alone]
    assert batch.unsettled_at == max((row.unsettled_at for row in alone if row.unsettled_at), default=None)
    accepted = [row.asked_at for row in alone if row.outcomes[0].status is RowStatus.ACCEPTED]
    assert batch.asked_at == min(accepted, default=time_of("intended", len(tries) - 1))


@given(st.lists(statuses_of_a_try, min_size=1, max_size=4), st.randoms())
def test_the_order_in_which_attempts_are_listed_does_not_matter(
    tries: list[list[RowStatus] | None], random: Any
) -> None:
    attempts = [attempt(index, joined(of_try), rows=ROWS) for index, of_try in enumerate(tries)]
    expected = combined(attempts)
    random.shuffle(attempts)

    assert combined(attempts) == expected


def test_batches_stay_separate_and_removals_come_first() -> None:
    accepted = Outcomes.accepted(1)
    attempts = [
        attempt(0, accepted, kind=BatchKind.SEND, number=1, start=1),
        attempt(0, None, kind=BatchKind.SEND, number=0),
        attempt(0, accepted, kind=BatchKind.REMOVE, number=0),
    ]

    found = combined(attempts)

    assert [(batch.kind, batch.number, batch.start) for batch in found] == [
        ("remove", 0, 0),
        ("send", 0, 0),
        ("send", 1, 1),
    ]
    assert [batch.unsettled_at is None for batch in found] == [True, False, True]


def test_no_attempts_give_no_batches() -> None:
    assert combined([]) == []


@pytest.mark.parametrize("other", [{"start": 5}, {"key": "other"}, {"rows": 2}])
def test_attempts_at_different_rows_never_count_as_one_batch(other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="other rows or another key"):
        combined([attempt(0, None), attempt(1, None, **other)])


@pytest.mark.parametrize("wrong", [{"number": -1}, {"start": -1}, {"rows": 0}])
def test_an_impossible_batch_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="a batch has"):
        IntendedBatch(**{"kind": BatchKind.SEND, "number": 0, "start": 0, "rows": 1, "key": "k", **wrong})  # type: ignore[arg-type]


# Outcomes as text for the ledger

any_outcome = st.builds(Outcome, st.sampled_from(RowStatus), st.sampled_from(["", "http_422", "customers/-Tøk:1\x00"]))


@st.composite
def outcomes_of_a_batch(draw: st.DrawFn) -> Outcomes:
    rows = draw(st.integers(0, 40))
    positions = st.integers(0, rows - 1) if rows else st.nothing()
    return Outcomes(rows, draw(any_outcome), draw(st.dictionaries(positions, any_outcome)))


@given(outcomes_of_a_batch())
def test_outcomes_are_read_back_row_by_row(batch: Outcomes) -> None:
    found = decoded(encoded(batch))

    assert list(found) == list(batch)
    assert encoded(found) == encoded(batch)


@given(outcomes_of_a_batch())
def test_outcomes_come_back_with_as_few_exceptions_as_possible(batch: Outcomes) -> None:
    found = decoded(encoded(batch))

    assert len(found.exceptions) == len(batch) - max(batch.counts().values(), default=0)


def test_a_batch_with_one_outcome_takes_a_few_bytes() -> None:
    assert encoded(Outcomes.accepted(10_000)) == '{"outcomes":[["accepted",""]],"runs":[[0,10000]]}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '{"outcomes":[["accepted",""]]}',
        '{"outcomes":[["delivered",""]],"runs":[[0,1]]}',
        '{"outcomes":[["accepted",""]],"runs":[[1,1]]}',
        '{"outcomes":[["accepted",""]],"runs":[[-1,1]]}',
        '{"outcomes":[["accepted",""]],"runs":[[0,0]]}',
        '{"outcomes":[["accepted",""]],"runs":[[0,1]],"rows":1}',
    ],
)
def test_text_that_is_not_the_outcomes_of_a_batch_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the outcomes of a batch"):
        decoded(text)
