"""Forgotten people are recognised in a warehouse as they are in files."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from support.postgres import Postgres
from support.suppressing import suppress
from support.warehouse_sync import FIELDS, Sync, in_staging

from airflow_consent_retl.operators import ForgetOperator, LoadToSqlTableOperator


def forget(sync: Sync, *ids: str) -> None:
    suppress(ids, workspace=sync.workspace)


def ids(sync: Sync) -> set[Any]:
    return {row[0] for row in sync.people()}


@pytest.mark.long
def test_both_workspaces_withhold_and_remove_the_same_people(syncs: list[Sync], customers: Postgres) -> None:
    for sync in syncs:
        sync.run()
        forget(sync, " C1", "c6\u00a0", "C\u00b4", "c4")

    lake, warehouse = (sync.run() for sync in syncs)

    assert warehouse == lake
    assert warehouse["removals_by_cause"] == {"forgotten": 2}
    assert warehouse["denied_by_reason"]["forgotten"] == 3
    assert syncs[1].people() == syncs[0].people()
    assert not {"c1", "c6"} & ids(syncs[1])
    assert "forgotten" not in in_staging(customers)


@pytest.mark.long
def test_the_fast_lane_finds_them_in_both(syncs: list[Sync], customers: Postgres) -> None:
    for sync in syncs:
        sync.run()
        forget(sync, "C2")

    lake, warehouse = (sync.withdraw() for sync in syncs)

    assert warehouse["removals_by_cause"] == lake["removals_by_cause"] == {"forgotten": 1}
    assert "c2" not in ids(syncs[1])
    assert "forgotten" not in in_staging(customers)


def test_who_is_forgotten_after_the_filter_is_withheld_in_both(syncs: list[Sync]) -> None:
    for recheck_interval_s in (60, None):
        for sync in syncs:
            permitted = sync.permit()
            forget(sync, "c1" if recheck_interval_s else "c2")
            counts = sync.load(permitted, recheck_interval_s=recheck_interval_s, mode="full")

            assert counts["withheld"] == 1
            assert "c1" not in ids(sync)


def forgotten(sync: Sync, *ids: str, **options: Any) -> dict[str, Any]:
    load = partial(LoadToSqlTableOperator, conn_id=sync.kind, table="people", fields=FIELDS)
    (report,) = ForgetOperator(
        task_id="forget", ids=ids, loads={"crm": load}, workspace=sync.workspace, settle_s=0, **options
    ).execute({})
    return {name: value for name, value in report.items() if name != "request"}


def test_a_person_is_forgotten_in_both(syncs: list[Sync], customers: Postgres) -> None:
    for sync in syncs:
        sync.run()
        sync.run(sql="SELECT * FROM customers WHERE id NOT IN ('c1', 'c6')", mode="insert")

    lake, warehouse = (forgotten(sync, " C1", "c6", "c3", "nobody") for sync in syncs)

    assert warehouse == lake
    assert warehouse["destinations"] == {"customers/crm": {"deleted": 2, "not_found": 2}}
    assert (warehouse["erased"], warehouse["complete"]) == ({"snapshots": 2, "permitted": 1}, True)
    assert syncs[1].people() == syncs[0].people()
    assert not {"c1", "c6"} & ids(syncs[1])
    for table in tables(customers):
        assert not people_in(customers, table) & {"c1", "c3", "c6"}
    again = forgotten(syncs[1], "c1", "C6", "c3", "nobody")
    assert (again["suppressed"], again["destinations"]) == (0, warehouse["destinations"])
    assert syncs[1].run()["removed"] == 0


def tables(customers: Postgres) -> list[str]:
    with customers.connect() as connection:
        found = connection.execute(
            "SELECT table_name FROM information_schema.columns WHERE table_schema = 'staging' AND column_name = 'id'"
        ).fetchall()
    return [str(name) for (name,) in found]


def people_in(customers: Postgres, table: str) -> set[str]:
    with customers.connect() as connection:
        return {str(one) for (one,) in connection.execute(f"SELECT id FROM staging.{table}").fetchall()}
