"""Each run leaves its figures in the ledger: well ended or not, without a value of a row."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.kept_load import LoadKept
from support.log_lines import task_fails
from support.permitting import (
    CONSENT,
    DESTINATIONS,
    POLICY,
    customers,
    snapshot_of,
    warehouse_with,
)

from airflow_consent_retl.contract.outcomes import Outcome, RowStatus
from airflow_consent_retl.delivery.ledger.run_records import RunKind, RunningTask, RunRecord, RunState
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.delivery.run_notes import RunNotes, noted_run
from airflow_consent_retl.errors import DestinationUnavailableError
from airflow_consent_retl.hooks.ledgers import open_ledger
from airflow_consent_retl.operators import ConsentFilterOperator, RetireSyncOperator
from airflow_consent_retl.progress import module_log
from airflow_consent_retl.storage.folder import Folder

RUN = "scheduled__2026-11-29T09:00:00+00:00"


@pytest.fixture(autouse=True)
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model's source, which every load asks for consent again."""
    return warehouse_with(tmp_path, monkeypatch)


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    return f"file://{tmp_path}/workspace"


@pytest.fixture
def output(tmp_path: Path, workspace: str) -> dict[str, Any]:
    _, ref = snapshot_of(Folder.local(tmp_path / f"snapshot-{uuid.uuid4().hex}"), customers())
    found: dict[str, Any] = ConsentFilterOperator(
        task_id="consent",
        snapshot=ref.to_xcom(),
        policy=POLICY,
        consent=CONSENT,
        destinations=DESTINATIONS,
        workspace=workspace,
    ).execute({})
    return found


def load_of(output: dict[str, Any], **parameters: Any) -> LoadKept:
    return LoadKept(
        task_id="load", permitted=output, destination="lake", fields={"id": "id"}, policy=POLICY, **parameters
    )


def context(*, dag: str = "customers", attempt: int = 1) -> Any:
    ti = SimpleNamespace(dag_id=dag, run_id=RUN, task_id="load", map_index=-1, try_number=attempt)
    return {"ti": ti, "map_index_template": ""}


def noted(workspace: str) -> list[RunRecord]:
    with open_ledger(workspace) as ledger, ledger.history() as history:
        return history.runs()


def test_a_load_that_ends_well_leaves_its_counts_its_reasons_and_its_task(
    output: dict[str, Any], workspace: str
) -> None:
    counts = load_of(output).execute(context())

    (run,) = noted(workspace)
    assert (run.sync, run.kind, run.state, run.failure) == ("customers/lake", RunKind.LOAD, RunState.DONE, "")
    assert run.task == RunningTask(dag="customers", run=RUN, task="load")
    assert (run.counts.read, run.counts.permitted, run.counts.denied, run.counts.accepted) == (5, 2, 3, 2)
    assert run.denied_by_reason == counts["denied_by_reason"] == {"C0002:denied": 2, "C0002:unknown": 1}
    assert run.limits == {
        "max_removed_ratio": 0.5,
        "max_added_ratio": None,
        "max_rejected_ratio": 0.0,
        "min_found_ratio": None,
    }
    assert "example.com" not in repr(run)
    assert (run.policy_digest, run.people) == (counts["policy_digest"], 2)
    assert run.decided_at is not None
    assert run.began_at < run.ended_at


def test_a_load_that_fails_leaves_the_name_of_its_error_and_what_was_rejected(
    output: dict[str, Any], workspace: str
) -> None:
    load = load_of(output)
    load.outcome = Outcome(RowStatus.REJECTED, "invalid_email")

    with task_fails():
        load.execute(context())

    (run,) = noted(workspace)
    assert (run.state, run.failure) == (RunState.FAILED, "GuardError")
    assert (run.counts.rejected, dict(run.codes)) == (2, {"rejected:invalid_email": 2})


def test_the_try_that_resumes_a_load_replaces_the_counts_of_the_one_before(
    output: dict[str, Any], workspace: str
) -> None:
    first = load_of(output)
    first.outcome = Outcome(RowStatus.UNCERTAIN)
    with pytest.raises(DestinationUnavailableError):
        first.execute(context())

    load_of(output).execute(context(attempt=2))

    second, before = noted(workspace)
    assert (before.state, before.failure, before.is_resumed) == (RunState.FAILED, "DestinationUnavailableError", True)
    assert (second.state, second.is_resumed, second.task.attempt) == (RunState.DONE, False, 2)
    assert second.delivery == before.delivery
    assert second.counts.accepted == 2


def test_a_refusal_before_anything_is_sent_is_recorded_too(output: dict[str, Any], workspace: str) -> None:
    load_of(output).execute(context())

    with task_fails(match="is served by DAG"):
        load_of(output).execute(context(dag="others"))

    last, _ = noted(workspace)
    assert (last.state, last.failure, last.task.dag) == (RunState.FAILED, "ConfigurationError", "others")
    assert (last.counts.accepted, last.people) == (0, 2)


def test_a_retired_sync_shows_how_many_were_removed(output: dict[str, Any], workspace: str) -> None:
    load_of(output).execute(context())

    RetireSyncOperator(
        task_id="retire",
        model="customers",
        destination="lake",
        load=lambda **given: LoadKept(fields={"id": "id"}, **given),
        workspace=workspace,
    ).execute(context())

    last, _ = noted(workspace)
    assert (last.kind, last.counts.removed, last.people) == (RunKind.RETIRE, 2, 0)


@pytest.mark.parametrize("stopped_by", [KeyboardInterrupt, SystemExit])
def test_a_run_that_is_stopped_did_not_end_well(
    output: dict[str, Any], workspace: str, stopped_by: type[BaseException]
) -> None:
    load_of(output).execute(context())
    task, sync = RunningTask(dag="customers", run=RUN, task="load"), noted(workspace)[0].sync

    with (
        open_ledger(workspace) as ledger,
        pytest.raises(stopped_by),
        noted_run(ledger, sync, RunNotes(LoadReport(2)), kind=RunKind.LOAD, task=task, log=module_log(__name__)),
    ):
        raise stopped_by

    last, _ = noted(workspace)
    assert (last.state, last.failure) == (RunState.FAILED, stopped_by.__name__)


def test_a_dry_run_leaves_no_figures(output: dict[str, Any], workspace: str) -> None:
    load_of(output).execute(context())

    load_of(output, dry_run=True).execute(context())

    assert len(noted(workspace)) == 1


def test_a_ledger_that_does_not_take_the_figures_does_not_fail_the_load(
    output: dict[str, Any], workspace: str, tmp_path: Path
) -> None:
    load_of(output).execute(context())
    _refuse_figures(tmp_path / "workspace" / "ledger.db")

    counts = load_of(output).execute(context())

    assert counts["accepted"] == 0
    assert len(noted(workspace)) == 1


def _refuse_figures(file: Path) -> None:
    """Have the ledger's database fail when a record of a run is written."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON consent_retl_runs BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
