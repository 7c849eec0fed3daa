"""What is delivered can be found, whoever serves it, and a sync can be handed over to another DAG."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.crm_sync import CrmSync
from support.log_lines import task_fails, unwrapped

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.delivery.unserved import warn_of_unserved
from airflow_consent_retl.hooks.upkeep import syncs
from airflow_consent_retl.operators import HandOverSyncOperator


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(1, 2, 3, 4)
    return made


def running(dag: str) -> Any:
    return {"ti": SimpleNamespace(dag_id=dag, run_id="r", task_id="load", try_number=1, map_index=-1)}


def test_every_sync_with_people_is_listed_with_its_target_and_its_last_run(
    crm: CrmSync, capsys: pytest.CaptureFixture[str]
) -> None:
    crm.sync(model="old", table="old")
    crm.sync(model="new", table="new", context=running("daily"))
    crm.people(no=(1,))
    crm.sync(model="no_one", table="no_one")
    capsys.readouterr()

    code = main(["syncs", "--workspace", crm.workspace, "--json"])

    listed = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [(one["sync"], one["people"], one["dag"]) for one in listed] == [
        ("new/crm", 4, "daily"),
        ("old/crm", 4, None),
    ]
    assert all(one["target"].endswith("crm.db") and one["served_at"] for one in listed)


def test_the_fast_lane_serves_a_sync_too(crm: CrmSync) -> None:
    crm.sync()
    (before,) = syncs(workspace=crm.workspace)
    crm.withdraw()
    (after,) = syncs(workspace=crm.workspace)

    assert before.served_at is not None
    assert after.served_at is not None
    assert after.served_at > before.served_at


@pytest.mark.parametrize(("days", "warned"), [(6.9, True), (7.1, False), (0, False)])
def test_syncs_that_no_run_serves_are_named(
    crm: CrmSync, caplog: pytest.LogCaptureFixture, days: float, warned: bool
) -> None:
    crm.sync(model="old", table="old")
    log = logging.getLogger("tests.life")

    with caplog.at_level(logging.WARNING, logger=log.name):
        warn_of_unserved(syncs(workspace=crm.workspace), days=days, log=log, now=datetime.now(UTC) + timedelta(days=7))

    assert ("`old/crm` (4 people, last served" in unwrapped(caplog.text)) == warned


@pytest.mark.parametrize("by_command", [True, False])
def test_a_sync_can_be_handed_over_to_the_new_name_of_its_dag(crm: CrmSync, by_command: bool) -> None:
    crm.sync(context=running("before"))
    with task_fails(match="HandOverSyncOperator"):
        crm.sync(context=running("after"))

    if by_command:
        assert main(["hand-over", "people/crm", "--dag", "after", "--workspace", crm.workspace, "--json"]) == 0
    else:
        HandOverSyncOperator(task_id="over", sync="people/crm", new_dag_id="after", workspace=crm.workspace).execute({})

    assert crm.sync(context=running("after"))["unchanged"] == 4
    with task_fails(match="is served by DAG `after`"):
        crm.sync(context=running("before"))


def test_an_unknown_sync_cannot_be_handed_over(crm: CrmSync) -> None:
    crm.sync()

    with task_fails(match="does not know the sync `people/ads`; it knows people/crm"):
        HandOverSyncOperator(task_id="over", sync="people/ads", new_dag_id="d", workspace=crm.workspace).execute({})


def test_a_load_of_a_model_without_rows_retires_a_sync(crm: CrmSync) -> None:
    crm.sync()

    counts = crm.sync(sql="SELECT id, email, ads_ok FROM people WHERE false", max_removed_ratio=None)

    assert counts["removed"] == 4
    assert crm.there() == []
    assert syncs(workspace=crm.workspace) == []
    # Its target is free for another sync.
    assert crm.sync(model="renamed")["added"] == 4
