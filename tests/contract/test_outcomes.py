"""One outcome for each row, and no word of a vendor that quotes a row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.contract.outcomes import UNNAMED_CODE, Outcome, Outcomes, RowStatus, vendor_code

outcomes = st.builds(Outcome, st.sampled_from(RowStatus), st.sampled_from(["", "a", "b"]))


@st.composite
def pieces(draw: st.DrawFn) -> Outcomes:
    rows = draw(st.integers(0, 6))
    positions = st.integers(0, rows - 1) if rows else st.nothing()
    return Outcomes(rows, draw(outcomes), draw(st.dictionaries(positions, outcomes)))


@given(st.lists(pieces()))
def test_pieces_joined_hold_each_rows_outcome_in_order(drawn: list[Outcomes]) -> None:
    joined = Outcomes.concatenated(drawn)

    assert list(joined) == [outcome for piece in drawn for outcome in piece]
    assert len(joined) == joined.counts().total() == sum(len(piece) for piece in drawn)


@given(pieces())
def test_counts_are_those_of_the_rows(piece: Outcomes) -> None:
    assert {outcome: list(piece).count(outcome) for outcome in set(piece)} == dict(piece.counts())


@pytest.mark.parametrize(("rows", "row"), [(0, 0), (2, 2), (2, -1), (-1, 0)])
def test_an_outcome_that_belongs_to_no_row_is_refused(rows: int, row: int) -> None:
    with pytest.raises(ValueError, match="an outcome belongs to no row of the batch"):
        Outcomes(rows, exceptions={row: Outcome(RowStatus.REJECTED)})


@pytest.mark.parametrize("row", [-1, 2])
def test_a_row_beyond_the_batch_has_no_outcome(row: int) -> None:
    with pytest.raises(IndexError):
        Outcomes.accepted(2)[row]


@pytest.mark.parametrize("code", ["invalid_email", "http_422", "422", "E1000", "too.long", "a-b"])
def test_a_short_code_is_kept(code: str) -> None:
    assert vendor_code(code) == code


@pytest.mark.parametrize(
    "code",
    [
        "",
        "no such user: a@example.com",
        "a@example.com",
        "x" * 49,
        "123456",
        "ünknown",
        "a b",
        "1a",
        None,
        True,
        1.5,
        ["a"],
        {},
    ],
)
def test_anything_that_could_quote_a_row_is_unnamed(code: object) -> None:
    assert vendor_code(code) == UNNAMED_CODE


@pytest.mark.parametrize("value", ["Anna", "anna", "xANNAx", 12345])
def test_a_code_that_repeats_a_value_of_the_row_is_unnamed(value: object) -> None:
    code = "12345" if value == 12345 else "anna"

    assert vendor_code(code, row_values=[None, value]) == UNNAMED_CODE


def test_a_number_is_a_code() -> None:
    assert vendor_code(422) == "422"
