"""Notices by the callback of a DAG, which a real DAG processor of Airflow calls: about tasks that failed.

`dag.test` cannot call any notifier for a DAG: it gives the callback a DAG without templates.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.airflow_run import Airflow
from support.dag_callback import call_back
from support.people import CANARY
from support.servers import Receiver, apply_and, says

pytestmark = pytest.mark.usefixtures("warehouse")


@pytest.fixture
def notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "notices.txt"
    monkeypatch.setenv("E2E_NOTICES", str(file))
    analytics = {"id": "C0002", "name": "Analytics", "destinations": ["webhook"]}
    monkeypatch.setenv("AIRFLOW_VAR_E2E_POLICY", json.dumps({"categories": [analytics]}))
    return file


@pytest.mark.long
def test_a_load_that_failed_is_known_by_what_the_ledger_has_of_it(
    airflow: Airflow, vendor: Receiver, notices: Path, tmp_path: Path
) -> None:
    rejected = {"errors": [{"index": row, "code": "invalid_email", "message": CANARY} for row in range(4)]}
    vendor.answers.append(apply_and(says(rejected)))

    run = airflow.run("run_notices", module="run_notices")

    assert (run.state, run.tasks["load"]) == ("failed", "failed")
    call_back(airflow, run, module="run_notices", folder=tmp_path / "processor")
    (notice, *more) = notices.read_text().split("\nDAG run_notices, run ")
    assert len(more) == 1
    assert notice.startswith("people/webhook: task `load` failed: GuardError; 26 rows were sent")
    assert "rows were rejected" in more[0]
    assert "rejected:invalid_email 4" in more[0]
    assert CANARY not in notices.read_text()


@pytest.mark.long
def test_of_a_task_that_failed_before_it_counted_anything_its_name_is_known(
    airflow: Airflow, vendor: Receiver, notices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("E2E_MAX_DENIED_RATIO", "0")

    run = airflow.run("run_notices", module="run_notices")

    assert (run.state, run.tasks["consent"], run.tasks["load"]) == ("failed", "failed", "upstream_failed")
    call_back(airflow, run, module="run_notices", folder=tmp_path / "processor")
    assert "consent: task `consent` failed before it counted anything: it left no result" in notices.read_text()


@pytest.mark.long
@pytest.mark.parametrize(
    ("how", "state", "notice"),
    [
        ("fail", "upstream_failed", "run_notices: nothing is known of this run: no result and no record of `extract`"),
        ("skip", "skipped", "run_notices: nothing was sent: every task of this package was skipped"),
    ],
)
def test_a_run_in_which_no_task_of_this_package_began_is_seen(
    airflow: Airflow,
    vendor: Receiver,
    notices: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    state: str,
    notice: str,
) -> None:
    monkeypatch.setenv("E2E_BEFORE", how)

    run = airflow.run("run_notices", module="run_notices")

    assert (run.tasks["extract"], run.tasks["load"]) == (state, state)
    printed = call_back(airflow, run, module="run_notices", folder=tmp_path / "processor")
    assert notices.read_text().startswith(notice)
    line = "nothing is known of this run: " if how == "fail" else "every task of this package was skipped in this run"
    assert printed.count(line) >= 1
