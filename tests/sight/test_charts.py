"""Tests of charts: what is drawn adds up to the figures, whatever they are."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.sight.charts import Series, Tone, axis, column_chart, compact, evenly, share_bar, trend_chart

COUNTS = st.integers(0, 10**9)


def stacked(*values: list[int]) -> list[Series]:
    tones = itertools.cycle(Tone)
    return [Series(f"series {number}", next(tones), one) for number, one in enumerate(values)]


@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS), min_size=1, max_size=70))
def test_a_column_is_as_high_as_its_counts_are(rows: list[tuple[int, int, int]]) -> None:
    series = stacked(*(list(one) for one in zip(*rows, strict=True)))

    chart = column_chart([str(place) for place in range(len(rows))], series, title="t", summary="s")

    highest = chart.ticks[-1].value
    for column, values in zip(chart.columns, rows, strict=True):
        assert column.total == sum(values) <= highest
        height = sum(part.height for part in column.segments)
        assert height == pytest.approx(100 * column.total / highest, abs=0.01)
        assert column.segments == [] or column.segments[-1].top == pytest.approx(100 - height, abs=0.01)
    assert [one.left for one in chart.columns] == sorted(one.left for one in chart.columns)
    assert chart.columns[-1].left + chart.columns[-1].width <= 100


@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=1, max_size=70))
def test_trends_have_one_scale_and_a_column_for_each_count(rows: list[tuple[int, int]]) -> None:
    series = stacked(*(list(one) for one in zip(*rows, strict=True)))

    chart = trend_chart([str(place) for place in range(len(rows))], series, title="t", summary="s")

    highest = max(count for row in rows for count in row)
    for trend, one in zip(chart.trends, series, strict=True):
        tops = [float(top) for top in re.findall(r"V([\d.]+)h", trend.path)]
        assert tops == [pytest.approx(100 - 100 * count / highest, abs=0.01) for count in one.values if count]
        assert trend.highest == max(one.values)
    assert all(0 <= float(left) < 100 for trend in chart.trends for left in re.findall(r"M([\d.]+) ", trend.path))


@given(COUNTS)
def test_an_axis_has_a_few_whole_even_steps_and_reaches_the_highest_count(highest: int) -> None:
    ticks = axis(highest)

    steps = {round(after - before, 6) for before, after in itertools.pairwise(ticks)}
    assert ticks[0] == 0
    assert highest <= ticks[-1]
    assert 2 <= len(ticks) <= 6
    assert len(steps) == 1
    assert all(tick == int(tick) for tick in ticks)


def test_an_axis_has_round_steps() -> None:
    assert axis(100_400) == [0, 25_000, 50_000, 75_000, 100_000, 125_000]
    assert axis(7) == [0, 2, 4, 6, 8]
    assert axis(1_000_001) == [0, 250_000, 500_000, 750_000, 1_000_000, 1_250_000]
    assert axis(0) == [0, 1]


@given(st.lists(COUNTS, min_size=1, max_size=8))
def test_the_parts_of_a_bar_fill_it(counts: list[int]) -> None:
    bar = share_bar([(str(count), Tone.PEOPLE, count) for count in counts], title="t")

    assert bar.total == sum(counts)
    assert sum(one.width for one in bar.shares) == pytest.approx(100 if bar.total else 0, abs=0.01)
    for before, after in itertools.pairwise(bar.shares):
        assert after.left == pytest.approx(before.left + before.width, abs=0.01)


def test_labels_are_few_and_include_both_ends() -> None:
    assert evenly(3, 7) == [0, 1, 2]
    assert evenly(30, 7) == [0, 5, 10, 14, 19, 24, 29]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (950, "950"), (2_500, "2.5k"), (125_000, "125k"), (3_000_000, "3M")]
)
def test_numbers_of_an_axis_are_short(value: int, text: str) -> None:
    assert compact(value) == text


def test_a_series_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a label for each value"):
        column_chart(["a", "b"], stacked([1]), title="t", summary="s")
