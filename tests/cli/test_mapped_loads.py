"""`plan`, `preview` and `send-test` of mapped loads: each instance whose values the DAG file has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.crm_sync import CrmSync
from support.postgres import Postgres, postgres

from .conftest import Run

__all__ = ["postgres"]

DAG = """
from airflow.sdk import DAG, task, task_group
from airflow_consent_retl.operators import (
    ConsentFilterOperator, DropStagingTablesOperator, ExtractModelOperator, LoadToSqlTableOperator,
)

SQL = "SELECT id, email, ads_ok FROM people"
TYPES = {"id": "int64", "email": "string", "ads_ok": "bool"}
TABLE = {"conn_id": "crm", "destination": "crm", "fields": {"id": "id", "email": "email"}}


def parts(**more):
    extract = ExtractModelOperator.partial(
        task_id="extract", model="people", conn_id="source", primary_key="id", **{"column_types": TYPES, **more}
    ).expand(sql=[f"{SQL} WHERE id < 2", f"{SQL} WHERE id > 1"])
    permitted = ConsentFilterOperator.partial(
        task_id="consent", consent={"C0004": "ads_ok"}, destinations=["crm"]
    ).expand(snapshot=extract.output)
    return extract, permitted


with DAG("people"):
    BODY
"""
# Two queries and two tables: four instances.
EXPANDED = """
    _, permitted = parts()
    LoadToSqlTableOperator.partial(task_id="load", **TABLE).expand(permitted=permitted.output, table=["a", "b"])
"""


@pytest.fixture
def dag(crm: CrmSync) -> Path:
    return crm.path / "people.py"


def write(dag: Path, body: str) -> str:
    dag.write_text(DAG.replace("    BODY\n", body))
    return str(dag)


def test_each_instance_of_a_mapped_load_has_a_plan_in_the_order_of_airflow(run: Run, dag: Path) -> None:
    every = run("plan", write(dag, EXPANDED), "--extract", "--show-ids", "--json")
    one = run("plan", str(dag), "--task", "load[3]", "--extract", "--json")

    assert every.code == 0, every.err
    # Two queries, each with two tables.
    assert [one["people"].get("added") for one in every.document] == [["1"], ["1"], ["2"], ["2"]]
    assert one.document[0]["people"].keys() == {"added"}
    assert one.document[0]["added"] == 1


def test_a_preview_and_a_test_record_name_one_instance(run: Run, dag: Path) -> None:
    file = write(dag, EXPANDED)

    shown = run("preview", file, "--task", "load[1]", "--extract", "--json")
    unnamed = run("send-test", file, "--extract", "--record", '{"id": -1}')
    sent = run("send-test", file, "--task", "load[1]", "--extract", "--record", '{"id": -1}', "--json")
    beyond = run("plan", file, "--task", "load[4]", "--extract")

    assert "table `b` of" in shown.document[0]["target"], shown.err
    assert "has 4 loads: name one with --task (people.load[0], " in unnamed.err
    assert sent.document["status"] == "accepted", sent.err
    assert "has no load named `load[4]`" in beyond.err


def test_the_output_of_a_filter_stands_for_values_that_only_a_run_has(run: Run, crm: CrmSync, dag: Path) -> None:
    file = write(
        dag,
        """
    @task
    def queries():
        return [SQL]

    extract = ExtractModelOperator.partial(
        task_id="extract", model="people", conn_id="source", primary_key="id", column_types=TYPES
    ).expand(sql=queries())
    permitted = ConsentFilterOperator.partial(
        task_id="consent", consent={"C0004": "ads_ok"}, destinations=["crm"]
    ).expand(snapshot=extract.output)
    LoadToSqlTableOperator.partial(task_id="load", table="people", **TABLE).expand(permitted=permitted.output)
""",
    )
    output = json.dumps(crm.permitted(policy=f"file:{crm.path}/policy.json"))

    unknown, known = run("plan", file, "--extract"), run("plan", file, "--permitted", output, "--json")

    assert unknown.code == 2
    assert (
        "task `extract` is mapped, and only a run has its values: `sql` is the output of task `queries`" in unknown.err
    )
    assert "Traceback" not in unknown.err
    assert (known.code, known.document[0]["added"]) == (0, 2), known.err


def test_dictionaries_of_parameters_are_instances_and_a_mapped_group_is_named(run: Run, dag: Path) -> None:
    kwargs = """
    extract = ExtractModelOperator(task_id="extract", model="people", conn_id="source", sql=SQL, primary_key="id",
        column_types=TYPES)
    permitted = ConsentFilterOperator(
        task_id="consent", snapshot=extract.output, consent={"C0004": "ads_ok"}, destinations=["crm"]
    )
    LoadToSqlTableOperator.partial(task_id="load", **TABLE).expand_kwargs(
        [{"permitted": permitted.output, "table": "a"}, {"permitted": permitted.output, "table": "b", "mode": "upsert"}]
    )
"""
    grouped = """
    @task_group
    def each(sql):
        extract = ExtractModelOperator(task_id="extract", model="people", conn_id="source", sql=sql, primary_key="id")
        permitted = ConsentFilterOperator(task_id="consent", snapshot=extract.output, consent={}, destinations=["crm"])
        LoadToSqlTableOperator(task_id="load", permitted=permitted.output, table="people", **TABLE)

    each.expand(sql=[SQL])
"""

    two = run("plan", write(dag, kwargs), "--extract", "--json")
    refused = run("plan", write(dag, grouped), "--extract")

    assert [one["added"] for one in two.document] == [2, 2], two.err
    assert (
        "task `each.load` is mapped, and only a run has its values: it is in the mapped task group `each`"
        in refused.err
    )


def test_the_tables_of_each_instance_in_a_warehouse_are_dropped(
    run: Run, dag: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SOURCE", postgres.airflow_connection())
    with postgres.connect() as connection:
        connection.execute("CREATE SCHEMA staging")
        connection.execute("CREATE TABLE people (id bigint PRIMARY KEY, email text, ads_ok boolean)")
        connection.execute("INSERT INTO people VALUES (1, 'u1@x.example', true), (2, 'u2@x.example', true)")

        planned = run(
            "plan",
            write(
                dag,
                """
    extract, permitted = parts(workspace="warehouse:staging", column_types=None)
    LoadToSqlTableOperator.partial(task_id="load", table="people", **TABLE).expand(permitted=permitted.output)
    DropStagingTablesOperator.partial(task_id="drop", conn_id="source", schema="staging").expand(
        snapshot=extract.output
    )
""",
            ),
            "--extract",
            "--json",
        )

        left = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'staging'").fetchall()
    assert [one["added"] for one in planned.document] == [1] * 2, planned.err
    # What the next filter compares its decisions with stays.
    assert ["_recorded_" in str(name) for (name,) in left] == [True]
