"""Outcomes survive the ledger row by row, and take no more room than they differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.outcome_runs import decoded, encoded

outcomes = st.builds(Outcome, st.sampled_from(RowStatus), st.sampled_from(["", "http_422", "customers/-Tøk:1\x00"]))


@st.composite
def batches(draw: st.DrawFn) -> Outcomes:
    rows = draw(st.integers(0, 40))
    positions = st.integers(0, rows - 1) if rows else st.nothing()
    return Outcomes(rows, draw(outcomes), draw(st.dictionaries(positions, outcomes)))


@given(batches())
def test_outcomes_come_back_row_by_row(batch: Outcomes) -> None:
    found = decoded(encoded(batch))

    assert list(found) == list(batch)
    assert encoded(found) == encoded(batch)


@given(batches())
def test_no_more_exceptions_come_back_than_there_have_to_be(batch: Outcomes) -> None:
    found = decoded(encoded(batch))

    assert len(found.exceptions) == len(batch) - max(batch.counts().values(), default=0)


def test_a_batch_that_ended_in_one_way_is_a_few_bytes() -> None:
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
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the outcomes of a batch"):
        decoded(text)
