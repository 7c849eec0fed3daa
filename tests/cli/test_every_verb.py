"""Every verb against a real workspace and ledger: in files with SQLite, and in a warehouse with PostgreSQL."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from support.postgres import Postgres, postgres

from airflow_consent_retl.cli.app import GROUPS
from airflow_consent_retl.cli.dag_files import tasks_of
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadToSqlTableOperator

from .conftest import Run

__all__ = ["postgres"]

POLICY = {
    "unmapped_destinations": "deny",
    "categories": [{"id": "C0004", "name": "Advertising", "destinations": ["crm"]}],
}
DAG = """
from functools import partial
from airflow.sdk import DAG
from airflow_consent_retl.operators import LoadToSqlTableOperator
from airflow_consent_retl.sync import consent_sync

crm = partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields={{"id": "id", "email": "email"}},
    settle_s=0, max_rejected_ratio=1, max_removed_ratio=None)
with DAG("people"):
    consent_sync(
        "people", conn_id="source", sql="SELECT id, email, ads_ok FROM people", primary_key="id",
        consent={{"C0004": "ads_ok"}}, loads={{"crm": crm}}, prune=False, {more}
    )
LOADS = {{"crm": crm}}
"""
# Rows of a run in the warehouse whose drop failed long ago.
OLD_TABLE = "consent_retl_20250101t000000_snapshot_0123456789abcdef"
LOOKING = {
    *("discover", "check", "plan", "preview", "explain", "doctor"),
    *("syncs", "rejected", "report", "history", "evidence", "verify"),
    *("lint", "diff", "proposal", "policy-history", "overrides"),
}
DBT = {"dbt-extract", "dbt-exposures", "dbt-tests"}
# It reads files alone, and no deployment.
MIGRATION = {"from-segment"}
CHANGING = {"send-test", "reset-times", "hand-over", "approve", "forget", "prune", "adopt", "retire"}


@dataclass
class Deployment:
    """A sync that was delivered: persons 1 and 2 are there, 3 was rejected, and 4 denied.

    Attributes:
        kind: `files` or `warehouse`.
        folder: of its files.
        dag: its file.
        snapshot: the output of its extraction.
        permitted: the output of its filter.
        server: has the model, and in a warehouse the workspace and the ledger.
    """

    kind: str
    folder: Path
    dag: str
    snapshot: Any
    permitted: Any
    server: Postgres

    def people(self) -> list[int]:
        with closing(sqlite3.connect(self.folder / "crm.db")) as connection:
            return [row[0] for row in connection.execute("SELECT id FROM people ORDER BY id")]

    def lose_ledger(self, patch: pytest.MonkeyPatch) -> None:
        if self.kind == "files":
            for file in (self.folder / "workspace").glob("ledger.db*"):
                file.unlink()
        else:
            with self.server.connect() as connection:
                connection.execute("CREATE DATABASE another_ledger")
            patch.setenv("AIRFLOW_CONN_LEDGER", self.server.airflow_connection(database="another_ledger"))

    def put_clock_ahead(self) -> None:
        """Have the ledger know a time of the year 2100."""
        statement = "UPDATE consent_retl_syncs SET served_at = 4102444800000000"
        if self.kind == "files":
            with closing(sqlite3.connect(self.folder / "workspace" / "ledger.db")) as connection:
                connection.execute(statement)
                connection.commit()
        else:
            with self.server.connect(database="ledger") as connection:
                connection.execute(statement.encode())


@pytest.fixture(scope="module", params=["files", "warehouse"])
def deployed(
    request: pytest.FixtureRequest, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Deliver once, for all tests that change nothing, and for the last one, which changes much."""
    kind, folder = str(request.param), tmp_path_factory.mktemp(str(request.param))
    with postgres.connect() as connection, pytest.MonkeyPatch.context() as patch:
        connection.execute("CREATE TABLE people (id bigint PRIMARY KEY, email text, ads_ok boolean)")
        connection.execute("INSERT INTO people SELECT n, 'u' || n || '@x.example', n < 4 FROM generate_series(1, 4) n")
        connection.execute("CREATE SCHEMA staging")
        connection.execute(f"CREATE TABLE staging.{OLD_TABLE} (id bigint)".encode())
        with closing(sqlite3.connect(folder / "crm.db")) as crm:
            crm.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT CHECK (email <> 'u3@x.example'))")
        settings = {
            "AIRFLOW__CONSENT_RETL__WORKSPACE": f"file://{folder}/workspace",
            "AIRFLOW__CONSENT_RETL__POLICY": f"file:{folder}/policy.json",
            "AIRFLOW_CONN_SOURCE": postgres.airflow_connection(),
            "AIRFLOW_CONN_CRM": json.dumps({"conn_type": "sqlite", "host": str(folder / "crm.db")}),
        }
        if kind == "warehouse":
            connection.execute("CREATE DATABASE ledger")
            settings["AIRFLOW_CONN_LEDGER"] = postgres.airflow_connection(database="ledger")
            settings["AIRFLOW__CONSENT_RETL__LEDGER_CONN_ID"] = "ledger"
        for name, value in settings.items():
            patch.setenv(name, value)
        (folder / "policy.json").write_text(json.dumps(POLICY))
        (folder / "dags").mkdir()
        file = folder / "dags" / f"people_in_{kind}.py"
        file.write_text(DAG.format(more='workspace="warehouse:staging"' if kind == "warehouse" else ""))
        patch.setattr(sys, "path", [*sys.path, str(file.parent)])
        yield _delivered(kind, folder, str(file), postgres)
        connection.execute("DROP TABLE people; DROP SCHEMA staging CASCADE")


def _delivered(kind: str, folder: Path, file: str, server: Postgres) -> Deployment:
    (extract,) = tasks_of(file, None, ExtractModelOperator, "extraction")
    (consent,) = tasks_of(file, None, ConsentFilterOperator, "filter")
    (load,) = tasks_of(file, None, LoadToSqlTableOperator, "load")
    consent.snapshot = snapshot = extract.run({})
    load.permitted = permitted = consent.run({})
    load.run({})
    return Deployment(kind, folder, file, snapshot, permitted, server)


class Typing:
    """Types verbs, and remembers which."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.verbs: set[str] = set()

    def __call__(self, verb: str, *arguments: str) -> Any:
        """Type a verb, and return its JSON."""
        ran = self.run(verb, *arguments, "--json")
        assert ran.code == 0, f"{verb}: {ran.out}{ran.err}"
        assert "@x.example" not in ran.out + ran.err, verb
        self.verbs.add(verb)
        return ran.document


def test_verbs_that_look_at_a_deployment(run: Run, deployed: Deployment, tmp_path: Path) -> None:
    dag, place = deployed.dag, f"file:{deployed.folder}/policy.json"
    snapshot, permitted = json.dumps(deployed.snapshot), json.dumps(deployed.permitted)
    look = Typing(run)

    discovered = look("discover", dag)
    assert [(one["column"], one["category"]) for one in discovered["proposals"]] == [("ads_ok", "C0004")]
    assert look("check", dag)["dags"] == 1
    (planned,) = look("plan", dag, "--permitted", permitted)
    assert (planned["unchanged"], planned["added"], planned["denied"]) == (2, 1, 1)
    assert look("preview", dag, "--permitted", permitted, "--rows", "1")[0]["permitted"] == 3
    assert [(one["sync"], one["people"]) for one in look("syncs")] == [("people/crm", 2)]
    assert look("rejected", "people/crm")[0]["rejected"]
    assert [one["id"] for one in look("rejected", "people/crm", "--ids")["rows"]] == [3]
    explained = look("explain", "4", dag, "--snapshot", snapshot)
    assert explained["destinations"]["crm"]["reasons"] == ["C0004:denied"]
    assert [one["status"] for one in look("history", "1")["deliveries"]] == ["accepted"]
    reported = look("report", str(tmp_path / "report.html"))
    assert (reported["syncs"], reported["runs"]) == (["people/crm"], 1)
    page = (tmp_path / "report.html").read_text()
    assert "the person said no" in page
    assert "@x.example" not in page
    look("evidence", "1", str(tmp_path / "bundle.zip"))
    assert (tmp_path / "bundle.zip").stat().st_size > 1_000
    assert look("lint") == []
    assert look("diff", place, place)["differences"] == []
    assert look("proposal")["differences"] == []
    assert len(look("policy-history")) == 1
    assert look("overrides", str(Path(dag).parent))
    assert {one["state"] for one in look("doctor")} == {"ok"}
    assert {one["signature"] for one in look("verify")} == {"signed"}
    assert look.verbs == LOOKING


def test_verbs_that_change_a_deployment(run: Run, deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comes last: the tests before share the deployment, and change nothing."""
    change = Typing(run)
    loads = ("--loads", f"people_in_{deployed.kind}:LOADS")
    permitted = json.dumps(deployed.permitted)

    # A test record goes to the destination and back.
    record = ("--permitted", permitted, "--record", '{"id": -1, "email": "me@example.com"}')
    assert change("send-test", deployed.dag, *record)["status"] == "accepted"
    assert deployed.people() == [-1, 1, 2]
    change("send-test", deployed.dag, *record, "--remove")
    # A clock was ahead.
    deployed.put_clock_ahead()
    assert change("reset-times") == ["people/crm"]
    # Another DAG takes over.
    assert change("hand-over", "people/crm", "--dag", "people") == {"sync": "people/crm", "dag": "people"}
    # The policy changes, and is approved.
    policy = {**POLICY, "categories": [{**POLICY["categories"][0], "name": "Ads"}]}  # type: ignore[dict-item]
    (deployed.folder / "policy.json").write_text(json.dumps(policy))
    digest = run("proposal", "--json").document["digest"]
    assert change("approve", "--digest", digest, "--by", "Ida Officer")["digest"] == digest
    # A person asks to be forgotten, and is removed.
    assert change("forget", "2", *loads)[0]["people"] == 1
    assert deployed.people() == [1]
    # What is old is deleted.
    staging = ("--conn-id", "source", "--schema", "staging")
    planned = [one["place"] for one in change("prune", "--dry-run", *staging)]
    assert f"staging.{OLD_TABLE}" in planned
    assert [one["place"] for one in change("prune", *staging)] == planned
    # The ledger is lost, and the workspace is adopted. After one more run, the sync ends.
    deployed.lose_ledger(monkeypatch)
    assert [one["sync"] for one in change("adopt")] == ["people/crm"]
    _delivered(deployed.kind, deployed.folder, deployed.dag, deployed.server)
    assert deployed.people() == [1]
    assert change("retire", "people/crm", *loads, "--yes") == {"removed": 1, "not_removed": 0, "delivered": 0}
    assert deployed.people() == []
    assert change.verbs == CHANGING


def test_no_verb_is_left_out() -> None:
    verbs = {name for group in GROUPS for name, _, _ in import_module(f"airflow_consent_retl.cli.{group}").VERBS.verbs}

    # The dbt verbs need no deployment: `tests/e2e/test_dbt.py` and `tests/dbt` type them.
    assert verbs == LOOKING | CHANGING | DBT | MIGRATION
