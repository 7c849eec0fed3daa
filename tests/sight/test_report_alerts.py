"""The matters of a report that need attention: each is named, the worst first, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.noted_runs import FIRST_DAY, a_load

from airflow_consent_retl.delivery.ledger.run_records import RunKind, RunState
from airflow_consent_retl.sight.report_alerts import Level, alerts
from airflow_consent_retl.sight.report_figures import LeftToDo, ReportedSync, ReportFigures, ReportScope
from airflow_consent_retl.sight.report_fold import RunFold
from airflow_consent_retl.sight.report_periods import chart_periods

FAILED = a_load(state=RunState.FAILED, failure="GuardError")


def figures(*syncs: ReportedSync) -> ReportFigures:
    scope = ReportScope(since=FIRST_DAY, until=FIRST_DAY + timedelta(days=1))
    periods = chart_periods(scope.since, scope.until)
    return ReportFigures(
        scope=scope, periods=periods, over_time=(), syncs=syncs, policies=(), categories={}, latest=(), runs=len(syncs)
    )


@pytest.mark.parametrize(
    ("known", "level", "text"),
    [
        (
            {"is_unserved": True, "people": 60, "served_at": FIRST_DAY},
            Level.BAD,
            "No run has served it since 2026-11-20",
        ),
        ({"waiting": LeftToDo(to_take_back=3)}, Level.BAD, "3 people were to be taken back"),
        ({"last": FAILED}, Level.BAD, "The last run failed (GuardError)"),
        ({"waiting": LeftToDo(uncertain=1)}, Level.WARN, "no clear answer about 1 row."),
        ({"waiting": LeftToDo(pending=2)}, Level.WARN, "not processed 2 rows yet"),
        ({"waiting": LeftToDo(unsent=2)}, Level.WARN, "2 rows of permitted people not sent"),
        ({"waiting": LeftToDo(rejected=2)}, Level.WARN, "rejected 2 rows at the last load"),
        ({"open_since": FIRST_DAY, "last": a_load()}, Level.WARN, "A delivery that began at 2026-11-20"),
    ],
)
def test_a_matter_is_named(known: dict[str, Any], level: Level, text: str) -> None:
    fine = ReportedSync(sync="customers/fine", last=a_load())

    (found,) = alerts(figures(fine, ReportedSync(sync="customers/webhook", **known)))

    assert (found.level, found.sync) == (level, "customers/webhook")
    assert text in found.text


def test_the_worst_comes_first() -> None:
    late = ReportedSync(sync="a/late", waiting=LeftToDo(rejected=1))
    bad = ReportedSync(sync="b/bad", waiting=LeftToDo(to_take_back=1))

    assert [one.sync for one in alerts(figures(late, bad))] == ["b/bad", "a/late"]


def test_people_whom_a_later_question_does_not_find_are_still_to_be_taken_back() -> None:
    """A load finds everyone who has to go, a question about withdrawals does not."""
    load = a_load(at=FIRST_DAY)
    load = replace(load, counts=replace(load.counts, not_removed=4))
    asked = replace(a_load(at=FIRST_DAY + timedelta(hours=1)), kind=RunKind.WITHDRAWALS, decided_at=None)
    fold = RunFold(chart_periods(FIRST_DAY, FIRST_DAY + timedelta(days=1)))
    fold.add_all([asked, load])

    (sync,) = fold.syncs()

    assert sync.waiting.to_take_back == 4


def test_a_load_that_failed_before_it_found_the_changes_hides_no_one() -> None:
    load = a_load(at=FIRST_DAY, delivery=7)
    load = replace(load, counts=replace(load.counts, not_removed=4))
    failed = a_load(at=FIRST_DAY + timedelta(hours=1), state=RunState.FAILED, failure="SourceUnavailableError")
    fold = RunFold(chart_periods(FIRST_DAY, FIRST_DAY + timedelta(days=1)))
    fold.add_all([failed, load])

    (sync,) = fold.syncs()

    assert sync.waiting.to_take_back == 4
