"""The view of a report: its figures as the charts, tables and sentences that the template shows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.delivery.lags import Lags
from airflow_consent_retl.delivery.ledger.run_records import RunCounts
from airflow_consent_retl.progress import by_count
from airflow_consent_retl.sight import words
from airflow_consent_retl.sight.charts import Series, Tone, column_chart, share_bar
from airflow_consent_retl.sight.reasons import reason_trends
from airflow_consent_retl.sight.report_alerts import alerts
from airflow_consent_retl.sight.report_figures import LeftToDo

if TYPE_CHECKING:
    from airflow_consent_retl.sight.charts import ColumnChart, TrendChart
    from airflow_consent_retl.sight.report_figures import ReportFigures, ReportScope

# Upper ends of the ranges of the chart of lags, in seconds.
_OF_ROWS: Final = ("accepted", "rejected", "uncertain", "pending", "withheld", "unsent")
_OF_REMOVALS: Final = ("removed", "not_removed", "cleared", "not_cleared")
_SECTIONS: Final[Sequence[tuple[str, str]]] = (
    ("attention", "Attention"),
    ("syncs", "Syncs"),
    ("decisions", "Permitted and denied"),
    ("sent", "Sent"),
    ("removed", "Taken back"),
    ("waiting", "Waiting"),
    ("policy", "Policy"),
    ("guards", "Guards"),
    ("runs", "Runs"),
)
_LAGS: Final = (
    ("≤ 1 min", 60),
    ("≤ 10 min", 600),
    ("≤ 1 h", 3_600),
    ("≤ 6 h", 21_600),
    ("≤ 1 d", 86_400),
    ("≤ 7 d", 604_800),
    ("longer", None),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table with bars: words, the code behind them, its people, their colour, and a mark."""

    words: str
    code: str
    people: int
    tone: Tone
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """The figures of all syncs of a report together."""

    people: int
    read: int
    permitted: int
    denied: int
    counts: RunCounts
    waiting: LeftToDo
    lags: Lags | None
    failed: int
    stopped: int


def view_of(figures: ReportFigures) -> dict[str, Any]:
    """Return everything that the template of a report asks for."""
    totals = _totals(figures)
    causes, codes = (_summed(getattr(one, name) for one in figures.syncs) for name in ("causes", "codes"))
    withheld = _summed(one.decided.withheld for one in figures.syncs if one.decided is not None)
    return {
        "limits_in_words": words.LIMITS,
        "title": _title(figures.scope),
        "scope": figures.scope,
        "syncs": figures.syncs,
        "one_sync": figures.syncs[0] if len(figures.syncs) == 1 else None,
        "policies": figures.policies,
        "latest": figures.latest,
        "runs": figures.runs,
        "alerts": alerts(figures),
        "totals": totals,
        "decisions": share_bar(
            [("permitted", Tone.PERMITTED, totals.permitted), ("denied", Tone.DENIED, totals.denied)],
            title="The last decision",
        ),
        "reasons": _reasons(figures),
        "withheld": by_count(withheld),
        "causes": [
            Row(words.cause(cause), cause, people, Tone.REMOVED, mark="own wish" if words.is_own_wish(cause) else "")
            for cause, people in causes.most_common()
        ],
        "codes": [
            Row(code.partition(":")[2], code.partition(":")[0], rows, _tone_of_code(code))
            for code, rows in codes.most_common()
        ],
        "planned": sum(getattr(totals.counts, name) for name in _OF_ROWS),
        "to_take_back": sum(getattr(totals.counts, name) for name in _OF_REMOVALS),
        "sections": _SECTIONS if len(figures.syncs) > 1 else [one for one in _SECTIONS if one[0] != "syncs"],
        # One column shows nothing that the sums do not.
        "charts_of": _charts(figures) if _has_trend(figures) else None,
        "trends": _denied_chart(figures) if _has_trend(figures) else None,
        "lags_chart": None if totals.lags is None else _lags_chart(totals.lags),
        "decided_at": sorted({one.decided.at for one in figures.syncs if one.decided is not None}),
    }


def _title(scope: ReportScope) -> str:
    if scope.is_run:
        return f"Run {scope.run} of {scope.dag}"
    if len(scope.syncs) == 1:
        return scope.syncs[0]
    return ", ".join(scope.syncs) if scope.syncs else "All syncs"


def _totals(figures: ReportFigures) -> Totals:
    syncs = figures.syncs
    decided = [one.decided for one in syncs if one.decided is not None]
    work: Counter[str] = Counter()
    for one in syncs:
        work.update({name: getattr(one.counts, name) for name in one.counts.__slots__})
    return Totals(
        people=sum(one.people for one in syncs),
        read=sum(one.read for one in decided),
        permitted=sum(one.permitted for one in decided),
        denied=sum(one.denied for one in decided),
        counts=RunCounts(**work),
        waiting=sum((one.waiting for one in syncs), LeftToDo()),
        lags=Lags.joined([one.lags for one in syncs if one.lags is not None]),
        failed=sum(one.failed for one in syncs),
        stopped=sum(one.stopped for one in syncs),
    )


def _summed(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in counts:
        found.update(one)
    return found


def _reasons(figures: ReportFigures) -> list[Row]:
    people = _summed(one.decided.by_reason for one in figures.syncs if one.decided is not None)
    return [
        Row(
            words.reason(code, figures.categories),
            code,
            count,
            words.tone(code),
        )
        for code, count in people.most_common()
    ]


def _tone_of_code(code: str) -> Tone:
    return Tone.REJECTED if code.startswith("rejected:") else Tone.WAITING


def _has_trend(figures: ReportFigures) -> bool:
    return not figures.scope.is_run and figures.runs > 0 and len(figures.over_time) > 1


def _charts(figures: ReportFigures) -> dict[str, ColumnChart]:
    labels, unit, over = figures.periods.labels, figures.periods.unit, figures.over_time

    def chart(title: str, summary: str, *series: Series) -> ColumnChart:
        return column_chart(labels, series, title=title, summary=summary, label=unit)

    return {
        "decisions": chart(
            f"Permitted and denied, by {unit}",
            f"Each column is the last decision up to the end of the {unit}.",
            Series("permitted", Tone.PERMITTED, [one.permitted for one in over]),
            Series("denied", Tone.DENIED, [one.denied for one in over]),
        ),
        "sent": chart(
            f"Sent, by {unit}",
            "Rows that were new or had changed, and the destination's answer.",
            Series("accepted", Tone.PEOPLE, [one.accepted for one in over]),
            Series("rejected", Tone.REJECTED, [one.rejected for one in over]),
        ),
        "removed": chart(
            f"Taken back, by {unit}",
            "People who were removed or lost fields, and attempts that did not succeed.",
            Series("taken back", Tone.REMOVED, [one.removed for one in over]),
            Series("not taken back", Tone.WAITING, [one.not_removed for one in over]),
        ),
    }


def _denied_chart(figures: ReportFigures) -> TrendChart | None:
    periods, denied = figures.periods, [one.by_reason for one in figures.over_time]
    return reason_trends(periods.labels, denied, names=figures.categories, label=periods.unit)


def _lags_chart(lags: Lags) -> ColumnChart:
    counts = [0] * len(_LAGS)
    for seconds, people in lags.spread():
        place = next(place for place, (_, end) in enumerate(_LAGS) if end is None or seconds <= end)
        counts[place] += people
    return column_chart(
        [name for name, _ in _LAGS],
        [Series("people", Tone.REMOVED, counts)],
        title="How late people were taken back",
        summary="From the withdrawal in the model to the destination's confirmation, where the model has the time.",
        label="lag",
    )
