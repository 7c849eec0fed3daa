"""Lineage, metrics and notices of real runs, as local servers receive them."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.airflow_run import DAGS
from support.people import CANARY
from support.servers import Answer, Receiver, apply_and, receiver, says
from support.signal_servers import Mails, Packets, Posts, body_of, check_lineage_event

BEFORE = {"categories": [{"id": "C0002", "name": "Analytics", "destinations": ["webhook"]}]}
AFTER = {"categories": [{"id": "C0002", "name": "Analysis", "destinations": ["webhook"]}]}


@dataclass
class Told:
    """Everything that the servers received, in two runs."""

    lineage: Posts = field(default_factory=Posts)
    metrics: Packets = field(default_factory=Packets)
    slack: Posts = field(default_factory=Posts)
    mails: Mails = field(default_factory=Mails)
    vendor: Receiver | None = None
    home: Path = Path()
    logs: list[str] = field(default_factory=list)

    def events(self, task_id: str, kind: str, run: int = 0) -> dict[str, Any]:
        named = [one for one in self.lineage.documents if one["job"]["name"] == f"signals.{task_id}"]
        return [one for one in named if one["eventType"] == kind][run]

    def notices(self, about: str) -> list[str]:
        return [text for body in self.slack.documents if f"task {about}" in (text := str(body["text"]))]


# Two whole runs of Airflow: about 40 seconds.
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, airflow_db: Path) -> Told:
    """Run the DAG twice in processes of their own, with servers that answer as in life."""
    home = tmp_path_factory.mktemp("signals")
    (home / "dags").mkdir()
    shutil.copy(DAGS / "signals.py", home / "dags")
    # A database of their own: this process has the other one open, and reads its file in other tests.
    with closing(sqlite3.connect(airflow_db)) as source, closing(sqlite3.connect(home / "airflow.db")) as copy:
        source.backup(copy)
    told = Told(home=home)
    with ExitStack() as servers:
        for server in (told.lineage, told.metrics, told.slack, told.mails):
            servers.enter_context(server.running())
        told.vendor = servers.enter_context(receiver())
        with duckdb.connect(str(home / "people.duckdb")) as connection:
            connection.execute(
                "CREATE TABLE people AS SELECT format('{}-{}', ?, i) AS user_id, format('{}{}@example.com', ?, i) AS "
                "email, i < 6 AS analytics_ok, now() - INTERVAL 1 DAY AS changed_at FROM range(10) AS r(i)",
                [CANARY, CANARY],
            )
        environment = environment_of(told)
        told.vendor.answers.append(rejecting(2))
        told.logs.append(run(environment | {"AIRFLOW_VAR_E2E_POLICY": json.dumps(BEFORE)}))
        # The rejected people are tried again, with the one who withdrew gone, and the load's limit is passed.
        told.vendor.answers.append(rejecting(1))
        changed = {"AIRFLOW_VAR_E2E_POLICY": json.dumps(AFTER), "E2E_MAX_REJECTED_RATIO": "0.1"}
        told.logs.append(run(environment | changed))
    return told


def rejecting(rows: int) -> Answer:
    return apply_and(
        says({"errors": [{"index": row, "code": "invalid_email", "message": CANARY} for row in range(rows)]})
    )


def environment_of(told: Told) -> dict[str, str]:
    assert told.vendor is not None
    warehouse = str(told.home / "people.duckdb")
    crm = {"conn_type": "http", "host": told.vendor.url, "extra": {"allow_private": True}}
    slack = {"conn_type": "slackwebhook", "host": told.slack.url, "password": f"{told.slack.url}/services/T0/B0/x"}
    mail = {"conn_type": "smtp", "host": "127.0.0.1", "port": told.mails.port}
    mail |= {"extra": {"disable_ssl": True, "disable_tls": True}}
    transport = {"type": "http", "url": told.lineage.url, "endpoint": "api/v1/lineage"}
    return {
        **os.environ,
        "AIRFLOW_HOME": str(told.home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{told.home}/airflow.db",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(DAGS.parents[2]), os.environ.get("PYTHONPATH")])),
        "AIRFLOW__CORE__DAGS_FOLDER": str(told.home / "dags"),
        "AIRFLOW__CONSENT_RETL__WORKSPACE": (told.home / "workspace").as_uri(),
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport),
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(told.metrics.port),
        "AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "True",
        "AIRFLOW__API__BASE_URL": "https://airflow.example.com/data",
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "duckdb", "host": warehouse}),
        "AIRFLOW_CONN_CRM_HTTP": json.dumps(crm),
        "AIRFLOW_CONN_OPS_SLACK": json.dumps(slack),
        "AIRFLOW_CONN_OPS_MAIL": json.dumps(mail),
        "E2E_WAREHOUSE": warehouse,
    }


def run(environment: dict[str, str]) -> str:
    """Run the DAG by Airflow's command, in a process of its own, and return what it prints."""
    # Airflow sets its metrics up when it is imported: the process cannot be a fork of one that has it.
    command = [sys.executable, "-W", "ignore", "-m", "airflow", "dags", "test", "signals"]
    ended = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    return ended.stdout + ended.stderr


def test_every_event_of_lineage_follows_the_schemas_that_it_names(told: Told) -> None:
    events = told.lineage.documents

    assert len(events) >= 18
    for event in events:
        check_lineage_event(event)


def test_the_check_of_events_finds_a_count_that_is_none(told: Told) -> None:
    event = told.events("load", "COMPLETE")
    event["run"]["facets"]["consentRetl_outcome"]["syncs"][0]["counts"]["read"] = "ten"

    with pytest.raises(Exception, match="'ten' is not of type 'integer'"):
        check_lineage_event(event)


def test_lineage_leads_from_the_table_to_the_destination_column_by_column(told: Told) -> None:
    table, workspace = (f"duckdb://{told.home}/people.duckdb", "people.main.people"), f"{told.home}/workspace"
    snapshot, permitted = ("file", f"{workspace}/snapshots/people"), ("file", f"{workspace}/permitted/people/webhook")
    assert told.vendor is not None
    endpoint = (told.vendor.url, "/v1/people")

    steps = [told.events(task_id, "COMPLETE") for task_id in ("extract", "consent", "load", "withdraw")]

    assert [names(step, "inputs") for step in steps] == [[table], [snapshot], [permitted], [table]]
    assert [names(step, "outputs") for step in steps] == [[snapshot], [permitted], [endpoint], [endpoint]]
    assert origins(steps[0], "email") == [(*table, "email")]
    assert origins(steps[1], "email") == [(*snapshot, "email")]
    assert origins(steps[2], "id") == [(*permitted, "user_id")]
    filtered = steps[1]["outputs"][0]["facets"]["columnLineage"]["dataset"]
    assert [(one["field"], one["transformations"][0]["subtype"]) for one in filtered] == [("analytics_ok", "FILTER")]
    assert [step["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] for step in steps[:3]] == [10, 6, 4]


def names(event: dict[str, Any], side: str) -> list[tuple[str, str]]:
    return [(dataset["namespace"], dataset["name"]) for dataset in event[side]]


def origins(event: dict[str, Any], column: str) -> list[tuple[str, str, str]]:
    fields = event["outputs"][0]["facets"]["columnLineage"]["fields"][column]["inputFields"]
    return [(one["namespace"], one["name"], one["field"]) for one in fields]


def test_the_facet_of_the_outcome_has_counts_and_the_digest_of_the_policy(told: Told) -> None:
    load, withdraw = (told.events(name, "COMPLETE")["run"]["facets"] for name in ("load", "withdraw"))
    failed = told.events("load", "FAIL")["run"]["facets"]["consentRetl_outcome"]

    (sync,) = load["consentRetl_outcome"]["syncs"]
    assert load["consentRetl_outcome"]["policyDigest"].startswith("sha256:")
    assert (sync["counts"]["read"], sync["counts"]["accepted"], sync["counts"]["rejected"]) == (10, 4, 2)
    assert sync["notAcceptedByCode"] == {"rejected:invalid_email": 2}
    assert withdraw["consentRetl_outcome"]["syncs"][0]["removalsByCause"] == {"consent_withdrawn": 1}
    assert 600 <= withdraw["consentRetl_outcome"]["syncs"][0]["lagSeconds"]["oldest"] < 800
    assert failed["syncs"][0]["counts"]["rejected"] == 1


def test_the_query_is_told_without_its_literals(told: Told) -> None:
    query = told.events("extract", "START")["job"]["facets"]["sql"]["query"]

    assert "email <> ?" in query
    assert "literal-51d0" not in query


def test_metrics_reach_the_server_with_their_tags(told: Told) -> None:
    metrics, load = told.metrics, {"dag_id": "signals", "task_id": "load", "model": "people", "destination": "webhook"}

    assert metrics.values("read", task_id="consent") == [10, 10]
    assert metrics.values("denied", task_id="consent") == [4, 5]
    assert metrics.values("denied_because", task_id="consent", reason="C0002__denied") == [4, 5]
    assert metrics.values("sent", **load)[0] == 4
    assert metrics.values("rejected", **load) == [2, 1]
    assert metrics.values("rejected_ratio", **load) == [pytest.approx(2 / 6), pytest.approx(1 / 5)]
    assert metrics.values("removed", task_id="withdraw") == [1]
    assert metrics.values("removals_because", task_id="withdraw", reason="consent_withdrawn") == [1]
    assert all(600 <= metrics.values(f"lag_{of}_s", task_id="withdraw")[0] < 800 for of in ("median", "p95", "oldest"))
    assert metrics.values("people", task_id="withdraw") == [metrics.values("people", **load)[0] - 1]
    assert 0 <= metrics.values("data_age_s", **load)[0] < 300
    assert metrics.values("unserved_people") == metrics.values("unserved_syncs") == [0]


def test_a_partial_success_is_told_by_slack_and_by_mail(told: Told) -> None:
    (text, _) = told.notices("load")
    mail = told.mails.messages[0]

    assert "only a part was done: 4 rows were, and 2 rejected (rejected:invalid_email 2)" in text
    assert "2 rows were rejected, 33.3% of the permitted, and the limit is 10.0%" in text
    assert "https://airflow.example.com/data/consent-retl/sync?name=people%2Fwebhook" in text
    assert (mail["To"], mail["From"]) == ("ops@example.com", "airflow@example.com")
    assert str(mail["Subject"]).startswith("people/webhook: only a part was done")
    assert "2 rows were rejected" in body_of(mail)


def test_a_late_withdrawal_and_a_smaller_audience_are_told(told: Told) -> None:
    (text,) = told.notices("withdraw")

    assert "the oldest lag from a withdrawal to its confirmed removal is 0:10:" in text
    assert "down by 25.0%, and the limit is 10.0% (consent_withdrawn 1)" in text


def test_a_changed_policy_and_a_failed_load_are_told(told: Told) -> None:
    (changed,) = told.notices("consent")
    failed = told.notices("load")[1]

    assert "the policy changed since the last run, from " in changed
    assert "it permits 5 of 10 rows" in changed
    assert "1 rows were rejected, 20.0% of the permitted" in failed


def test_airflow_keeps_the_links_of_each_task(told: Told) -> None:
    with closing(sqlite3.connect(told.home / "airflow.db")) as connection:
        found = connection.execute("SELECT task_id, key, value FROM xcom WHERE dag_id = 'signals'").fetchall()
    links = {(task_id, key): str(value) for task_id, key, value in found if key.startswith("_link_")}

    page = "https://airflow.example.com/data/consent-retl/"
    assert f"{page}sync?name=people%2Fwebhook" in links["consent", "_link_SyncPageLink"]
    assert f"{page}report?dag_id=signals" in links["load", "_link_RunReportLink"]
    assert ("extract", "_link_RunReportLink") not in links


def test_no_signal_has_a_value_of_a_person(told: Told) -> None:
    assert told.vendor is not None
    sent = json.dumps(told.vendor.applied_rows())
    received = [
        *told.lineage.bodies,
        *told.slack.bodies,
        *told.mails.contents,
        *(line.encode() for line in told.metrics.lines),
        *(body_of(mail).encode() for mail in told.mails.messages),
    ]

    # The sweep would find it: the destination has the values.
    assert CANARY in sent
    assert len(received) > 60
    assert [one for one in received if CANARY.encode() in one] == []


def test_every_notice_fits_a_screen(told: Told) -> None:
    texts = [str(body["text"]).splitlines() for body in told.slack.documents]

    assert texts
    assert all(len(lines) <= 24 and max(map(len, lines)) <= 110 for lines in texts)
