"""The reasons of denials over time, as a chart that the page and the report share. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.sight import words
from airflow_consent_retl.sight.charts import Series, Tone, trend_chart

if TYPE_CHECKING:
    from airflow_consent_retl.sight.charts import TrendChart

MOST_REASONS: Final = 5
"""The most trends of a chart; where there are more reasons, the last trend has the rest together."""


def reason_trends(
    labels: Sequence[str], denied: Sequence[Mapping[str, int]], *, names: Mapping[str, str], label: str
) -> TrendChart | None:
    """Return a chart of the reasons of denials, those with the most people first; None: no one was denied.

    Args:
        labels: the names of the periods.
        denied: of each period, the denied people by reason code, by the last load up to its end.
        names: of the policy's categories, by id.
        label: the period's unit, such as `day`.
    """
    most: dict[str, int] = {}
    for period in denied:
        for code, people in period.items():
            most[code] = max(most.get(code, 0), people)
    codes = sorted(most, key=lambda code: (-most[code], code))
    if not codes:
        return None
    shown = codes if len(codes) <= MOST_REASONS else codes[: MOST_REASONS - 1]
    series = [
        Series(words.reason(code, names), words.tone(code), [one.get(code, 0) for one in denied]) for code in shown
    ]
    rest = codes[len(shown) :]
    if rest:
        together = [sum(one.get(code, 0) for code in rest) for one in denied]
        series.append(Series(f"{len(rest)} other reasons together", Tone.PEOPLE, together))
    return trend_chart(
        labels,
        series,
        title="Why people are denied, over time",
        summary=f"By the last load of each {label}. A person may have several reasons, so the reasons do not add up.",
        label=label,
    )
