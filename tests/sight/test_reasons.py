"""The reasons of denials over time: all of them are in the chart, and none is added to another."""

from __future__ import annotations

from airflow_consent_retl.sight.charts import Tone
from airflow_consent_retl.sight.reasons import MOST_REASONS, reason_trends

NAMES = {"C0004": "Advertising"}


def test_each_reason_has_its_people_of_each_day_those_with_the_most_first() -> None:
    denied = [{"C0004:denied": 5, "C0002:unknown": 9}, {"C0004:denied": 7}, {}]

    chart = reason_trends(["1 Nov", "2 Nov", "3 Nov"], denied, names=NAMES, label="day")

    assert chart is not None
    assert [(one.name, one.tone, one.values) for one in chart.trends] == [
        ("C0002: no answer is recorded", Tone.UNKNOWN, [9, 0, 0]),
        ("Advertising (C0004): the person said no", Tone.DENIED, [5, 7, 0]),
    ]
    assert "do not add up" in chart.summary


def test_a_reason_that_ended_is_shown_and_no_reason_is_no_chart() -> None:
    ended = reason_trends(["1 Nov", "2 Nov"], [{"gpc:denied": 3}, {}], names=NAMES, label="day")

    assert ended is not None
    assert [one.values for one in ended.trends] == [[3, 0]]
    assert reason_trends(["1 Nov", "2 Nov"], [{}, {}], names=NAMES, label="day") is None


def test_many_reasons_have_the_rest_together() -> None:
    few = {f"C{number}:denied": 10 + number for number in range(MOST_REASONS)}
    many = {**few, "gpc:denied": 2}

    whole = reason_trends(["1 Nov"], [few], names=NAMES, label="day")
    cut = reason_trends(["1 Nov"], [many], names=NAMES, label="day")

    assert whole is not None
    assert cut is not None
    assert [one.name for one in whole.trends][-1] == "C0: the person said no"
    assert len(cut.trends) == len(whole.trends) == MOST_REASONS
    assert (cut.trends[-1].name, cut.trends[-1].values) == ("2 other reasons together", [12])
