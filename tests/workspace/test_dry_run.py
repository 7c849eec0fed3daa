"""A dry run says what the run that follows does, in files and in a warehouse, and changes nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlparse

import pytest
from airflow.sdk import DAG
from support.log_lines import task_fails
from support.postgres import Postgres
from support.warehouse_sync import FIELDS, POLICY, Sync, in_staging

from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.records import SyncName
from airflow_consent_retl.errors import SyncBusyError
from airflow_consent_retl.operators import LoadToSqlTableOperator
from airflow_consent_retl.operators.own_record import send_test
from airflow_consent_retl.operators.planning import plan, preview
from airflow_consent_retl.sync import consent_sync

STRICTER = {"categories": [POLICY["categories"][0], {"id": "C4", "name": "Native", "destinations": ["crm", "other"]}]}
SAME = (
    *("permitted", "added", "updated", "unchanged", "skipped", "accepted", "withheld", "removed", "not_removed"),
    *("cleared", "denied", "denied_by_reason", "removals_by_cause", "policy_digest"),
)


def folder_of(sync: Sync) -> Path:
    return Path(urlparse(sync.workspace).path)


def state_of(sync: Sync, customers: Postgres) -> dict[str, Any]:
    """Everything that a run could change: the files of the workspace with its ledger, the target, the tables."""
    files = {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder_of(sync).rglob("*.*"))}
    target = sync.file.read_bytes() if sync.file.exists() else b""
    return {**files, "target": target, "tables": in_staging(customers)}


def planned_and_run(sync: Sync, customers: Postgres, permitted: Any, policy: Any, **parameters: Any) -> dict[str, Any]:
    before = state_of(sync, customers)
    plan = sync.load(permitted, policy, dry_run=True, **parameters)
    assert state_of(sync, customers) == before
    counts = sync.load(permitted, policy, **parameters)
    assert {name: plan[name] for name in SAME} == {name: counts[name] for name in SAME}
    assert (plan["dry_run"], plan["stopped_by"], plan["notes"]) == (True, [], [])
    return plan


@pytest.mark.long
def test_the_run_does_what_the_plan_said_at_each_time_in_the_life_of_a_sync(
    syncs: list[Sync], change: Callable[[str], None], customers: Postgres, capsys: pytest.CaptureFixture[str]
) -> None:
    def both(policy: Any = POLICY) -> dict[str, Any]:
        found = [planned_and_run(sync, customers, sync.permit(policy), policy) for sync in syncs]
        assert found[0] == found[1]
        return found[1]

    first, quiet = both(), both()
    change("UPDATE customers SET email = 'new-' || email WHERE id IN ('c1', 'c2')")
    change("UPDATE customers SET ok = false WHERE id = 'c7'; DELETE FROM customers WHERE id IN ('c12', 'c16')")
    second = both()
    third = both(STRICTER)

    assert (first["added"], first["delivered"], quiet["unchanged"]) == (800, 0, 800)
    assert (second["updated"], second["removals_by_cause"]) == (2, {"consent_withdrawn": 1, "left_model": 2})
    assert third["removals_by_cause"].keys() == {"policy_changed"}
    logged = capsys.readouterr().out
    assert logged.count("dry run of `customers` to `crm`: nothing is sent, nothing is recorded") == 8
    assert "canary" not in logged


def test_who_withdraws_after_the_filter_is_withheld_in_the_plan_too(
    syncs: list[Sync], change: Callable[[str], None], customers: Postgres
) -> None:
    for sync in syncs:
        sync.run()
    change("UPDATE customers SET email = 'new-' || email WHERE id IN ('c1', 'c2')")
    permitted = [sync.permit() for sync in syncs]
    change("UPDATE customers SET ok = false WHERE id = 'c1'")

    plans = [planned_and_run(sync, customers, some, POLICY) for sync, some in zip(syncs, permitted, strict=True)]

    for found in plans:
        assert (found["accepted"], found["withheld"], found["removed"]) == (1, 1, 1)
        assert found["withheld_by_cause"] == {"consent_withdrawn": 1}


@pytest.mark.long
def test_a_limit_that_would_stop_the_run_is_in_the_plan_with_what_it_would_hold_back(
    syncs: list[Sync], change: Callable[[str], None], customers: Postgres
) -> None:
    for sync in syncs:
        sync.run()
    change("UPDATE customers SET ok = false WHERE id = 'c7'; DELETE FROM customers WHERE id IN ('c12', 'c16')")

    for sync in syncs:
        permitted, before = sync.permit(), state_of(sync, customers)
        after_filter = state_of(sync, customers)
        plan = sync.load(permitted, dry_run=True, max_removed_ratio=0.0)
        assert state_of(sync, customers) == after_filter
        assert before["target"] == after_filter["target"]
        (stopped,) = plan["stopped_by"]
        assert stopped == "it would remove 2 of 800 people (left_model 2), max_removed_ratio is 0.0"
        assert plan["held_back"] == {"added": 0, "updated": 0, "removed": 3}
        assert (plan["accepted"], plan["removed"]) == (0, 1)

        with task_fails(match="1 explicit withdrawals were carried out"):
            sync.load(permitted, max_removed_ratio=0.0)
        assert len(sync.people()) == 799


@pytest.mark.long
def test_the_fast_lane_plans_what_it_then_removes(
    syncs: list[Sync], change: Callable[[str], None], customers: Postgres
) -> None:
    for sync in syncs:
        sync.run()
    change("UPDATE customers SET ok = false WHERE id IN ('c1', 'c2'); DELETE FROM customers WHERE id = 'c6'")
    same = ("found", "absent", "removed", "not_removed", "cleared", "not_cleared", "removals_by_cause")

    for sync in syncs:
        before = state_of(sync, customers)
        plan = sync.withdraw(dry_run=True)
        assert state_of(sync, customers) == before
        counts = sync.withdraw()
        assert {name: plan[name] for name in same} == {name: counts[name] for name in same}
        assert (plan["removed"], plan["delivered"], plan["absent"]) == (2, 800, 1)


def test_a_dry_run_waits_for_a_running_load_and_keeps_no_other_task_waiting(
    syncs: list[Sync], customers: Postgres
) -> None:
    sync = syncs[0]
    permitted = sync.permit()
    sync.load(permitted)
    with Ledger.sqlite(folder_of(sync) / "ledger.db") as ledger:
        with (
            ledger.acquire(SyncName("customers/crm"), holder="another task"),
            pytest.raises(SyncBusyError, match="another task"),
        ):
            sync.load(permitted, dry_run=True, lease_wait_s=0)
        epoch = ledger.syncs()[0].epoch
        sync.load(permitted, dry_run="true")
        assert ledger.syncs()[0].epoch == epoch


def test_a_dry_run_copies_a_ledger_in_postgresql_and_leaves_it_as_it_is(syncs: list[Sync], customers: Postgres) -> None:
    def ledger() -> list[tuple[Any, ...]]:
        with customers.connect() as connection:
            return connection.execute("SELECT * FROM consent_retl_syncs").fetchall()

    sync = syncs[0]
    permitted = sync.permit(sql="SELECT * FROM customers WHERE level = 1")
    sync.load(permitted, ledger_conn_id="pg")
    before = ledger()

    plan = sync.load(permitted, ledger_conn_id="pg", dry_run=True)

    assert (plan["unchanged"], plan["added"], plan["delivered"]) == (plan["permitted"], 0, plan["permitted"])
    assert ledger() == before


def test_plan_preview_and_test_record_work_in_a_warehouse_and_leave_no_table(
    customers: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "crm.db")}))
    with DAG("customers", params={"dry_run": True}) as dag:
        consent_sync(
            "customers",
            conn_id="pg",
            sql="SELECT * FROM customers WHERE level = 1",
            primary_key="id",
            policy=POLICY,
            consent={"C1": "ok"},
            loads={"crm": partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields=FIELDS)},
            workspace="warehouse:staging",
            dry_run="{{ params.dry_run }}",
        )
    load = cast("LoadToSqlTableOperator", dag.get_task("customers.load_crm"))

    planned, shown = plan(load), preview(load, rows=2)
    sent = send_test(load, {"id": "test-1", "email": "me@example.com", "spent": "1.50"})
    removed = send_test(load, {"id": "test-1"}, remove=True)

    assert vars(load)["dry_run"] == "{{ params.dry_run }}"
    assert planned.plan.counts["added"] == shown.permitted > 0
    assert len(planned.people["added"]) == 10
    assert [set(row) for row in shown.rows] == [{*FIELDS}] * 2
    assert "canary" not in str((planned, shown))
    assert (sent.status, float(str(sent.record["spent"])), removed.status) == ("accepted", 1.5, "accepted")
    # The state of the records of decisions lasts, as after a run.
    assert in_staging(customers) == ["recorded"]
