"""The geometry of charts: columns and trends over time, shares of a whole, and bars of a table. Pure.

`templates/charts.html` draws them as inline SVG without a text: labels are HTML next to it, so that they stay readable
on a narrow screen and for a screen reader. Every chart over time has a table with the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Final

_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_TICKS: Final = 5


class Tone(StrEnum):
    """The meaning of a colour, the same in every chart. `templates/look.css` has the colours."""

    PERMITTED = "permitted"
    DENIED = "denied"
    UNKNOWN = "unknown"
    DOUBT = "doubt"
    REMOVED = "removed"
    WAITING = "waiting"
    REJECTED = "rejected"
    PEOPLE = "people"


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a column chart: a count for each label of the chart."""

    name: str
    tone: Tone
    values: Sequence[int]


@dataclass(frozen=True, slots=True)
class Segment:
    """One rectangle of a column, in percent of the plot: its top and its height."""

    tone: Tone
    top: float
    height: float


@dataclass(frozen=True, slots=True)
class ChartBar:
    """One column of a chart: where it begins and how wide it is, in percent of the plot, and its segments."""

    label: str
    left: float
    width: float
    segments: Sequence[Segment]
    values: Sequence[int]

    @property
    def middle(self) -> float:
        """The place of the label, in percent of the plot."""
        return round(self.left + self.width / 2, 3)

    @property
    def total(self) -> int:
        """The sum of the column's counts."""
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Tick:
    """One line of the vertical axis: its value, and its distance from the top in percent of the plot."""

    value: float
    top: float


@dataclass(frozen=True, slots=True)
class ColumnChart:
    """Stacked columns.

    Args:
        title: the heading.
        summary: one or two sentences that say what the columns show, for people who do not see them.
        unit: of the counts, in the plural, such as `people`.
        label: the heading of the labels' column in the table, such as `day`.
        series: in the order of the stack, the lowest first.
        columns: in the order of the labels.
        ticks: of the vertical axis, the lowest first.
        shown: positions of the columns whose label is written under the plot.
    """

    title: str
    summary: str
    unit: str
    label: str
    series: Sequence[Series]
    columns: Sequence[ChartBar]
    ticks: Sequence[Tick]
    shown: Sequence[int]


def column_chart(
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    title: str,
    summary: str,
    unit: str = "people",
    label: str = "day",
    most_labels: int = 7,
) -> ColumnChart:
    """Return a chart of stacked columns, one for each label.

    Args:
        labels: one for each column, at least one.
        series: each with as many values as there are labels, none of them negative.
        title, summary, unit, label: as `ColumnChart` has them.
        most_labels: how many labels are written under the plot at most.

    Raises:
        ValueError: a series has another number of values than there are labels, or there are none.
    """
    _check(labels, series)
    top = max(sum(one.values[place] for one in series) for place in range(len(labels)))
    ticks = axis(top)
    highest = ticks[-1]
    return ColumnChart(
        title=title,
        summary=summary,
        unit=unit,
        label=label,
        series=series,
        columns=[_column(place, text, len(labels), series, highest=highest) for place, text in enumerate(labels)],
        ticks=[Tick(value, _percent(highest - value, highest)) for value in ticks],
        shown=evenly(len(labels), most_labels),
    )


def _column(place: int, text: str, count: int, series: Sequence[Series], *, highest: float) -> ChartBar:
    values = [one.values[place] for one in series]
    tops = accumulate(values)
    segments = [
        Segment(one.tone, _percent(highest - top, highest), _percent(value, highest))
        for one, value, top in zip(series, values, tops, strict=True)
        if value
    ]
    left, width = _slots(count)
    return ChartBar(text, left(place), width, segments, values)


def _check(labels: Sequence[str], series: Sequence[Series]) -> None:
    if not labels or any(len(one.values) != len(labels) for one in series):
        raise ValueError("a chart needs a label for each value, and at least one")


def _slots(count: int) -> tuple[Callable[[int], float], float]:
    """Return where the column at a position begins, and how wide the columns are, in percent."""
    # A quarter of each slot is a gap, but few columns do not become walls.
    slot = 100 / count
    width = min(slot * 0.75, 12.0)
    return lambda place: round(place * slot + (slot - width) / 2, 3), round(width, 3)


@dataclass(frozen=True, slots=True)
class Trend:
    """One series of a trend chart: its counts, and its columns as the path of an SVG of 100 by 100."""

    name: str
    tone: Tone
    values: Sequence[int]
    path: str

    @property
    def highest(self) -> int:
        """The highest count."""
        return max(self.values)


@dataclass(frozen=True, slots=True)
class TrendChart:
    """Small charts of several series, one below the other, on one scale: for counts that do not add up.

    Args:
        title, summary, unit, label: as `ColumnChart` has them.
        labels: one for each value of a series.
        trends: in the order of the series.
    """

    title: str
    summary: str
    unit: str
    label: str
    labels: Sequence[str]
    trends: Sequence[Trend]


def trend_chart(
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    title: str,
    summary: str,
    unit: str = "people",
    label: str = "day",
) -> TrendChart:
    """Return a chart of trends. Arguments and errors are those of `column_chart`."""
    _check(labels, series)
    highest = max((value for one in series for value in one.values), default=0)
    trends = [Trend(one.name, one.tone, one.values, _path(one.values, highest)) for one in series]
    return TrendChart(title, summary, unit, label, labels, trends)


def _path(values: Sequence[int], highest: int) -> str:
    left, width = _slots(len(values))
    return "".join(
        f"M{left(place):g} 100V{100 - _percent(value, highest):g}h{width:g}V100z"
        for place, value in enumerate(values)
        if value
    )


@dataclass(frozen=True, slots=True)
class Share:
    """One part of a whole: its count, and its position in the bar in percent. The percents of all parts are 100."""

    name: str
    tone: Tone
    count: int
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class ShareBar:
    """One bar that is divided into the parts of a whole."""

    title: str
    unit: str
    total: int
    shares: Sequence[Share]


def share_bar(parts: Sequence[tuple[str, Tone, int]], *, title: str, unit: str = "people") -> ShareBar:
    """Return a bar of parts that add up to a whole: names, tones and counts."""
    total = sum(count for _, _, count in parts)
    ends = [0, *accumulate(count for _, _, count in parts)]
    return ShareBar(
        title,
        unit,
        total,
        [
            Share(name, tone, count, _percent(start, total), _percent(count, total))
            for (name, tone, count), start in zip(parts, ends, strict=False)
        ],
    )


def axis(highest: float) -> list[float]:
    """Return about five round values from 0 to at least `highest`, evenly spaced. They are whole numbers."""
    least = max(highest, 1) / _TICKS
    power = 10.0 ** math.floor(math.log10(least))
    step = next(one * power for one in _STEPS if one * power >= least)
    step = max(1.0, math.ceil(step))
    return [step * number for number in range(max(1, math.ceil(highest / step)) + 1)]


def evenly(count: int, most: int) -> list[int]:
    """Return at most `most` of the positions from 0 to `count - 1`, evenly spaced, with the first and the last."""
    if count <= most:
        return list(range(count))
    return sorted({round(number * (count - 1) / (most - 1)) for number in range(most)})


def compact(value: float) -> str:
    """Return a number as an axis shows it: `950`, `12.5k`, `3M`."""
    for power, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= power:
            return f"{value / power:.4g}{letter}"
    return f"{value:.4g}"


def _percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 3) if whole else 0.0
