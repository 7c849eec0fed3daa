"""Tests of the DAGs in `dags/`: they parse without credentials, and the demonstration runs completely."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIST_DAGS = """
import sys, warnings
warnings.simplefilter("ignore")
from airflow_consent_retl.compat import dag_bag
bag = dag_bag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
heavy = {"pandas", "pyarrow", "duckdb", "ibis", "snowflake.connector", "google.cloud.bigquery"} & set(sys.modules)
print(sorted(bag.dags), sorted(heavy))
"""


def test_the_example_dags_parse_without_credentials_and_load_no_engine(repo: Path, tmp_path: Path) -> None:
    listed = subprocess.run(
        [sys.executable, "-c", LIST_DAGS, str(repo / "dags")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path)},
    )

    assert listed.returncode == 0, listed.stderr
    dag_ids = [
        "bigquery_to_webhook",
        "consent_customers",
        "consent_quickstart",
        "consent_withdrawals",
        "google_events",
        "meta_audience",
        "meta_conversions",
        "snowflake_to_google",
        "snowflake_withdrawals",
        "warehouse_to_braze",
        "warehouse_to_customerio",
        "warehouse_to_hubspot",
        "warehouse_to_iterable",
        "warehouse_to_klaviyo",
        "warehouse_to_salesforce",
    ]
    assert listed.stdout.splitlines()[-1] == f"{dag_ids} []"


@pytest.mark.timeout(240)
@pytest.mark.long
def test_the_demonstration_delivers_what_it_says(repo: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(repo / "dags" / "demo" / "run.py"),
        "--rows",
        "5000",
        "--home",
        str(tmp_path / "demo"),
    ]

    shown = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    assert shown.returncode == 0, shown.stdout + shown.stderr
    first, second = shown.stdout.split("who got what, the ")[1:]
    for destination in ("ads_webhook", "crm_table", "lake"):
        read, permitted, denied, accepted, rejected, found = numbers(first, destination, 6)
        assert read == permitted + denied == 5000
        assert permitted == accepted + rejected
        assert accepted == found > 0
        before = found
        permitted, added, updated, unchanged, removed, rejected, found = numbers(second, destination, 7)
        assert permitted == added + updated + unchanged
        assert found == permitted - rejected == before - removed + added - rejected
        assert removed > 0
        assert "consent_withdrawn" in second
    assert shown.stdout.splitlines()[-1].endswith((tmp_path / "demo" / "report.html").as_uri())
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "the person withdrew consent" in page
    assert "@example" not in page


def numbers(shown: str, destination: str, count: int) -> list[int]:
    line = next(line for line in shown.splitlines() if line.startswith(destination))
    return [int(cell.replace(",", "")) for cell in line.split()[1 : count + 1]]


@pytest.mark.long
@pytest.mark.timeout(240)
@pytest.mark.parametrize("warehouse", ["snowflake", "bigquery"])
def test_an_example_of_a_warehouse_delivers_what_it_says_twice(warehouse: str, repo: Path, tmp_path: Path) -> None:
    script = repo / "dags" / "demo" / "warehouses.py"

    shown = subprocess.run(
        [sys.executable, str(script), warehouse, "--rows", "500", "--home", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "the first day: 300 of 500 permitted, found there: 300" in shown.stdout
    assert "the second day: 290 of 500 permitted, found there: 290" in shown.stdout
    assert "consent_withdrawn 10" in shown.stdout
    assert "dropped 5 tables of this run" in shown.stdout
