"""A dbt project built by the real dbt: its manifest feeds a DAG run, and exposures and tests are written back to it."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
import yaml  # type: ignore[import-untyped]
from e2e.test_canaries import leaks
from support.airflow_run import DAGS, Airflow
from support.dbt_project import DbtProject
from support.people import people, permitted_ids
from support.servers import Receiver

from airflow_consent_retl.cli.app import main

pytestmark = pytest.mark.usefixtures("policy")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DbtProject:
    """Return a project whose source has the people of the end-to-end tests, not built yet."""
    project = DbtProject.copied(tmp_path)
    with duckdb.connect(str(project.file)) as connection:
        connection.execute("CREATE SCHEMA raw")
        connection.execute(
            "CREATE TABLE raw.people (user_id VARCHAR, email VARCHAR, name VARCHAR, analytics_ok BOOLEAN, ads VARCHAR, "
            "preferences VARCHAR)"
        )
        connection.executemany("INSERT INTO raw.people VALUES (?, ?, ?, ?, ?, ?)", [one.row for one in people()])
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({"conn_type": "duckdb", "host": str(project.file)}))
    return project


@pytest.mark.long
def test_a_dbt_project_is_synced_exposed_and_tested(
    airflow: Airflow, shop: DbtProject, vendor: Receiver, crm: Path, tmp_path: Path
) -> None:
    exposures = shop.folder / "models" / "consent_retl_exposures.yml"
    (built,) = shop.dbt(["run"])
    assert built.success, built

    # Its manifest feeds a run: each destination gets exactly the people who consented.
    run = airflow.run("dbt_shop", module="dbt_shop")
    assert run.state == "success", run.output
    assert sorted(row["id"] for row in vendor.applied_rows()) == permitted_ids("webhook")
    with closing(sqlite3.connect(crm)) as connection:
        assert [row[0] for row in connection.execute("SELECT id FROM people ORDER BY id")] == permitted_ids("crm_table")
    assert leaks(airflow, run, tmp_path) == []

    # Exposures and tests are written back, and dbt accepts them.
    write_exposures = ("dbt-exposures", str(DAGS / "dbt_shop.py"), "--manifest", str(shop.folder))
    write_tests = ("dbt-tests", "--project", str(shop.folder), "--policy-file", str(tmp_path / "policy.json"))
    assert main([*write_exposures, "--output", str(exposures), "--owner-email", "crm@example.com"]) == 0
    assert main([*write_tests, "--max-null-share", "0.4"]) == 0
    parsed, failed = shop.dbt(["parse"], ["test", "--select", "test_type:singular"])
    assert parsed.success, parsed
    found = json.loads(shop.manifest.read_text())["exposures"]
    assert sorted(found) == [
        "exposure.shop.consent_retl__customers__crm_table",
        "exposure.shop.consent_retl__customers__webhook",
        "exposure.shop.weekly_report",
    ]
    webhook = found["exposure.shop.consent_retl__customers__webhook"]
    assert webhook["depends_on"]["nodes"] == ["model.shop.customers"]
    assert webhook["owner"] == {"name": "crm", "email": "crm@example.com"}
    assert webhook["config"]["meta"]["consent_retl"] == {
        "sync": "customers/webhook",
        "model": "customers",
        "destination": "webhook",
        "operator": "LoadToWebhookOperator",
        "dag": "dbt_shop",
        "task": "customers.load_webhook",
    }

    # The test finds the values that no mapping knows. More of it: `dbt/test_on_postgres.py`.
    assert not failed.success
    results = {name: tuple(result)[:2] for name, result in failed.results.items()}
    assert results == {
        "consent_retl_accounts_v1": ("pass", 0),
        "consent_retl_accounts_v2": ("pass", 0),
        "consent_retl_customers": ("fail", 1),
    }
    # A second time nothing changes, and the file is found out of date after a change.
    assert main([*write_exposures, "--output", str(exposures), "--owner-email", "crm@example.com", "--check"]) == 0
    assert main([*write_exposures, "--output", str(exposures), "--check"]) == 1
    assert [one["name"] for one in yaml.safe_load(exposures.read_text())["exposures"]] == [
        "consent_retl__customers__crm_table",
        "consent_retl__customers__webhook",
    ]
    assert os.environ["E2E_HOME"] not in exposures.read_text()
