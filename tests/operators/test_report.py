"""The task that writes a report: about its own run or a period, from real loads, without a value of a row."""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from support.crm_sync import CONSENT, FIELDS, SQL, CrmSync
from support.log_lines import task_fails
from support.permitting import AirflowSkipException

from airflow_consent_retl.cli.dag_files import tasks_of
from airflow_consent_retl.hooks.ledgers import open_ledger
from airflow_consent_retl.operators import ConsentReportOperator, LoadToSqlTableOperator
from airflow_consent_retl.sight.report_figures import ReportFigures, ReportScope
from airflow_consent_retl.sight.report_gathering import gathered
from airflow_consent_retl.storage.location import policy_archive
from airflow_consent_retl.sync import consent_sync

PAGE = Path(__file__).resolve().parents[2] / "docs" / "report.md"


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(1, 2, 3, no=(4, 5))
    return made


def context(run: str) -> Any:
    ti = SimpleNamespace(dag_id="people", run_id=run, task_id="load", map_index=-1, try_number=1)
    return {"ti": ti, "map_index_template": ""}


def figures(crm: CrmSync, run: str) -> ReportFigures:
    """Return what a report about a run shows."""
    with open_ledger(crm.workspace) as ledger:
        with ledger.history() as history:
            (found,) = history.of_task("people", run)
        scope = ReportScope(since=found.began_at, until=found.ended_at, dag="people", run=run)
        return gathered(ledger, scope, policy_archive(), unserved_days=7)


def test_a_report_is_about_its_own_run(crm: CrmSync) -> None:
    crm.sync(context=context("first"))
    crm.people(1, 2, no=(3, 4, 5))
    crm.sync(context=context("second"))

    returned = ConsentReportOperator(task_id="report", workspace=crm.workspace).execute(context("first"))

    page = Path(returned["report"]).read_text()
    assert (returned["syncs"], returned["runs"], returned["alerts"]) == (["people/crm"], 1, 0)
    assert "<strong>5</strong> people in the model" in page
    assert "<strong>3</strong> permitted" in page
    assert "<h1>Run first of people</h1>" in page
    assert returned["figures_sha256"] in page


def test_a_report_about_days_has_every_run_and_no_value_of_a_row(crm: CrmSync, tmp_path: Path) -> None:
    crm.sync(context=context("first"))
    crm.people(1, no=(2, 4, 5))
    crm.withdraw()
    crm.sync(context=context("second"))
    place = tmp_path / "reports" / "days.html"

    returned = ConsentReportOperator(task_id="report", to=str(place), days=1, workspace=crm.workspace).execute(
        context("second")
    )

    page = place.read_text()
    assert returned["runs"] == 3
    # One person withdrew and one left the model.
    assert "<strong>2</strong> to take back" in page
    assert "the person withdrew consent" in page
    assert "the model has no row of the person any more" in page
    assert "@x.example" not in page + repr(returned)


def test_who_was_to_be_taken_back_is_removed_or_not_for_each_cause(crm: CrmSync) -> None:
    crm.sync(context=context("first"))
    crm.people(1, no=(2, 4, 5))
    crm.sync(context=context("second"))

    (sync,) = figures(crm, "second").syncs

    assert dict(sync.causes) == {"consent_withdrawn": 1, "left_model": 1}
    assert (sync.counts.removed, sync.counts.not_removed, sync.waiting.to_take_back, sync.people) == (2, 0, 0, 1)
    assert sync.decided is not None
    assert (sync.decided.read, sync.decided.permitted, sync.decided.denied) == (4, 1, 3)


def test_a_run_that_sent_and_removed_nothing_has_no_report(crm: CrmSync) -> None:
    crm.sync(context=context("first"))

    with task_fails(kind=AirflowSkipException, match="neither sent nor removed"):
        ConsentReportOperator(task_id="report", workspace=crm.workspace).execute(context("another"))


def test_a_place_that_is_no_html_file_fails_the_task(crm: CrmSync) -> None:
    crm.sync(context=context("first"))

    with task_fails(match=r"does not end in `\.html`"):
        ConsentReportOperator(task_id="report", to="s3://bucket/report", workspace=crm.workspace).execute(
            context("first")
        )


def test_the_dags_of_the_page_write_their_reports(
    crm: CrmSync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", crm.workspace)
    crm.sync(context=context("first"))
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "people.py").write_text(example)

    tasks = {task.dag_id: task for task in tasks_of(str(tmp_path / "people.py"), None, ConsentReportOperator, "report")}
    of_run, of_month = tasks["people"], tasks["officers_report"]
    assert of_month.to == "/srv/reports/{{ ds }}.html"
    of_month.to = str(tmp_path / "month.html")
    written = [one.execute(context("first"))["report"] for one in (of_run, of_month)]

    assert [Path(one).read_text().count("<!DOCTYPE html>") for one in written] == [1, 1]


@pytest.mark.parametrize(
    ("report", "to"), [(False, ()), (True, (None,)), ({"to": "/reports/{{ ds }}.html"}, ("/reports/{{ ds }}.html",))]
)
def test_a_sync_ends_with_a_report_where_it_is_asked_for(report: Any, to: tuple[str | None, ...]) -> None:
    load = partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields=FIELDS, ledger_conn_id="ledger")
    with DAG("people", schedule=None, start_date=datetime(2026, 1, 1)) as dag:  # noqa: DTZ001 - Airflow sets the zone
        consent_sync(
            "people", conn_id="source", sql=SQL, primary_key="id", consent=CONSENT, loads={"crm": load}, report=report
        )

    tasks = [task for task in dag.tasks if isinstance(task, ConsentReportOperator)]

    assert tuple(task.to for task in tasks) == to
    for task in tasks:
        assert (task.ledger_conn_id, task.is_teardown, task.days) == ("ledger", True, None)
        assert task.upstream_task_ids == {"people.load_crm", "people.extract"}
