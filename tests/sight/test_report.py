"""The report: every count adds up, the same records give the same file, and what cannot be reported is refused."""

from __future__ import annotations

import re
import shutil
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.noted_runs import a_load
from support.reported import END, PLACE, SYNCS, policies, some_weeks

from airflow_consent_retl.delivery.ledger.run_records import RunKind, RunRecord
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.ledgers import open_ledger
from airflow_consent_retl.sight.report_figures import ReportFigures, ReportScope
from airflow_consent_retl.sight.report_file import WrittenReport, report
from airflow_consent_retl.sight.report_fold import RunFold
from airflow_consent_retl.sight.report_gathering import gathered
from airflow_consent_retl.sight.report_periods import chart_periods
from airflow_consent_retl.sight.report_view import view_of
from airflow_consent_retl.storage.location import policy_archive

SINCE, UNTIL = END - timedelta(days=30), END
SETTING = "AIRFLOW__CONSENT_RETL__WORKSPACE"


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(SETTING, f"file://{tmp_path}/workspace")
    return tmp_path / "workspace"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("weeks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SETTING, f"file://{place}")
        some_weeks()
    return place


@pytest.fixture
def weeks(workspace: Path, made: Path) -> None:
    """Have the workspace contain some weeks."""
    shutil.copytree(made, workspace)


def figures_of(scope: ReportScope) -> ReportFigures:
    with open_ledger(None, None) as ledger:
        return gathered(ledger, scope, policy_archive(), unserved_days=7)


def recorded() -> list[RunRecord]:
    with open_ledger(None, None) as ledger, ledger.history() as history:
        return history.runs(since=SINCE, until=UNTIL)


def written(tmp_path: Path, **parameters: object) -> tuple[WrittenReport, str]:
    chosen: dict[str, Any] = {"since": SINCE, "until": UNTIL, **parameters}
    done = report(tmp_path / "report.html", **chosen)
    return done, Path(done.report).read_text()


@pytest.mark.usefixtures("weeks")
def test_every_count_of_a_period_adds_up_to_the_runs_in_it() -> None:
    figures, runs = figures_of(ReportScope(since=SINCE, until=UNTIL)), recorded()

    totals = view_of(figures)["totals"]

    last = {run.sync: run for run in reversed(runs) if run.kind is RunKind.LOAD}
    assert figures.runs == len(runs) > 50
    assert totals.read == totals.permitted + totals.denied == sum(run.counts.read for run in last.values())
    assert totals.denied == sum(run.counts.denied for run in last.values())
    for name in ("accepted", "rejected", "pending", "removed", "not_removed"):
        summed = sum(getattr(run.counts, name) for run in runs)
        assert getattr(totals.counts, name) == sum(getattr(one.counts, name) for one in figures.syncs) == summed
    assert sum(one.accepted for one in figures.over_time) == totals.counts.accepted
    assert sum(one.removed for one in figures.over_time) == totals.counts.removed
    assert totals.lags.people == totals.counts.removed
    causes = sum(sum(one.causes.values()) for one in figures.syncs)
    assert causes == totals.counts.removed + totals.counts.not_removed
    # The charts end with what the figures say.
    assert (figures.over_time[-1].permitted, figures.over_time[-1].denied) == (totals.permitted, totals.denied)


@pytest.mark.usefixtures("weeks")
def test_a_report_of_one_sync_and_of_one_run_have_its_figures_only() -> None:
    run = f"scheduled__{END - timedelta(days=3):%FT%T}"
    of_sync = figures_of(ReportScope(since=SINCE, until=UNTIL, syncs=("customers/crm",)))
    of_run = figures_of(ReportScope(since=SINCE, until=UNTIL, dag="customers", run=run))

    assert [one.sync for one in of_sync.syncs] == ["customers/crm"]
    assert of_sync.runs == sum(run.sync == "customers/crm" for run in recorded())
    assert [one.sync for one in of_run.syncs] == sorted(SYNCS)
    assert of_run.runs == 3
    assert {one.policy_digest for one in of_run.latest} == {policies()[1].digest}
    assert [one.digest for one in of_run.policies] == [policies()[1].digest]


@pytest.mark.usefixtures("weeks")
def test_a_report_says_what_an_officer_asks(tmp_path: Path) -> None:
    _, page = written(tmp_path)

    for text in (
        "Advertising (C0004): the person said no",
        "Global Privacy Control: it says no",
        "the person withdrew consent",
        "approved by Ida Officer",
        "DPIA 2026-14",
        "category <code>C0004</code>: <code>destinations</code> now with <code>crm</code>",
        "Advertising (C0004): a yes ends after 13 months",
        "A limit stopped 1 run.",
        "at most 50.0 % of the people there are removed without their own wish",
        "The destination has not processed 7 rows yet.",
        "invalid_email",
        PLACE,
    ):
        assert text in page, text


@pytest.mark.usefixtures("weeks")
def test_the_same_records_give_the_same_file_and_another_run_gives_another(tmp_path: Path) -> None:
    first, page = written(tmp_path)
    again, repeated = written(tmp_path)
    with open_ledger(None, None) as ledger:
        ledger.note_run(a_load("customers/crm", at=END - timedelta(hours=1)))
    other, _ = written(tmp_path)

    assert (first.sha256, first.figures_sha256, page) == (again.sha256, again.figures_sha256, repeated)
    assert first.figures_sha256 in page
    assert other.figures_sha256 != first.figures_sha256


@pytest.mark.usefixtures("weeks")
def test_people_at_a_destination_without_a_run_need_attention(tmp_path: Path) -> None:
    later = datetime.now(UTC) + timedelta(days=30)

    _, page = written(tmp_path, since=later - timedelta(days=10), until=later)

    assert page.count("their withdrawals are not seen") == len(SYNCS)
    assert "60 people are there" in page


def test_a_deployment_without_runs_has_a_report_that_says_so(tmp_path: Path) -> None:
    done, page = written(tmp_path)

    assert (done.runs, done.syncs) == (0, [])
    assert "No run is recorded in this period." in page


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({"syncs": ["customers/crn"]}, "knows no sync `customers/crn`, did you mean `customers/crm`"),
        ({"dag": "customers", "run": "never"}, "has no run `never` of DAG `customers`"),
        ({"run": "scheduled"}, "give both, or neither"),
        ({"since": END}, "the period is empty"),
        ({"until": datetime(2026, 11, 28)}, "needs a time zone"),  # noqa: DTZ001 - it is refused
    ],
)
@pytest.mark.usefixtures("weeks")
def test_what_cannot_be_reported_is_refused(tmp_path: Path, parameters: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(why)):
        written(tmp_path, **parameters)


def test_a_report_is_an_html_file_at_a_place_that_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match=r"does not end in `\.html`"):
        report(tmp_path / "report.pdf")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        report(tmp_path / "file" / "report.html")


@pytest.mark.usefixtures("weeks")
def test_a_report_without_a_place_is_in_the_workspace(workspace: Path) -> None:
    of_run = report(dag="customers", run=f"scheduled__{END - timedelta(days=3):%FT%T}")
    of_sync = report(syncs=["customers/crm"], until=END)

    for done in (of_run, of_sync):
        assert Path(done.report).is_relative_to(workspace / "reports")
        assert Path(done.report).stat().st_mode & 0o077 == 0


def test_a_report_of_many_runs_counts_all_of_them_and_is_no_larger(tmp_path: Path) -> None:
    """It reads 500 runs at a time."""
    with open_ledger(None, None) as ledger:
        for number in range(510):
            ledger.note_run(a_load(at=END - timedelta(minutes=number), run=f"run-{number}"))

    few, few_page = written(tmp_path, since=END - timedelta(minutes=99), until=END + timedelta(minutes=1))
    many, many_page = written(tmp_path, since=END - timedelta(days=1), until=END + timedelta(minutes=1))

    assert (few.runs, many.runs) == (100, 510)
    assert "<strong>5,100</strong> accepted" in many_page
    assert len(many_page) < 1.2 * len(few_page)


def test_runs_are_summed_up_without_having_all_of_them_in_memory() -> None:
    def peak_of(count: int) -> int:
        fold = RunFold(chart_periods(SINCE, UNTIL))
        tracemalloc.start()
        fold.add_all(a_load(at=END - timedelta(minutes=number)) for number in range(count))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    # The least of three: other threads of this process may allocate some kilobytes meanwhile.
    many, few = (min(peak_of(count) for _ in range(3)) for count in (10_000, 1_000))

    assert many < 1.5 * few


@pytest.mark.parametrize(
    ("days", "unit", "count"), [(1, "day", 1), (92, "day", 92), (93, "week", 14), (2000, "month", 66)]
)
def test_the_columns_of_a_chart_are_never_many(days: int, unit: str, count: int) -> None:
    first = datetime(2026, 1, 1, tzinfo=UTC)
    found = chart_periods(first, first + timedelta(days=days))

    assert (found.unit, len(found.starts)) == (unit, count)
    assert found.place_of(first) == 0
    assert found.place_of(first + timedelta(days=days, microseconds=-1)) == count - 1
