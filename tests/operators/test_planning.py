"""Plan, preview and test record of a load outside of a run: nothing but the test record is sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import duckdb
import pytest
from airflow.sdk import DAG
from support.permitting import CONSENT, POLICY, warehouse_with
from support.servers import Receiver, receiver

from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadOperator,
    LoadToFilesOperator,
    LoadToWebhookOperator,
)
from airflow_consent_retl.operators.own_record import send_test
from airflow_consent_retl.operators.planning import plan, preview


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Receiver) -> Path:
    """Five customers in DuckDB, of whom customer 1 consents to the webhook, and the deployment's workspace."""
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", f"file://{tmp_path}/workspace")
    connection = {"conn_type": "http", "host": server.url}
    extra = {"allow_private": True}
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({**connection, "extra": extra}))
    return warehouse_with(tmp_path, monkeypatch)


@pytest.fixture
def load(warehouse: Path) -> LoadToWebhookOperator:
    made: LoadToWebhookOperator = load_of(LoadToWebhookOperator, "webhook", conn_id="crm", endpoint="/people")
    return made


def load_of(kind: type[LoadOperator], destination: str, **parameters: Any) -> Any:
    with DAG("customers", params={"dry": False}):
        snapshot = ExtractModelOperator(
            task_id="extract",
            model="customers",
            conn_id="warehouse",
            sql="SELECT * FROM customers -- {{ params.dry }}",
            primary_key="id",
        )
        permitted = ConsentFilterOperator(
            task_id="consent",
            snapshot=snapshot.output,
            policy=POLICY,
            consent=CONSENT,
            destinations=[destination],
        )
        return kind(
            task_id="load",
            permitted=permitted.output,
            destination=destination,
            policy=POLICY,
            fields={"id": "id", "mail": "email"},
            **parameters,
        )


def test_a_plan_of_a_dags_load_extracts_filters_and_names_people_by_digest(
    load: LoadToWebhookOperator, server: Receiver
) -> None:
    planned = plan(load)
    shown = plan(load, show_ids=True)

    assert (planned.plan.counts["added"], planned.plan.counts["denied"]) == (1, 4)
    assert shown.people == {"added": ("1",)}
    (digest,) = planned.people["added"]
    assert len(digest) == 16
    assert planned.as_document()["people"] == {"added": [digest]}
    assert "@" not in json.dumps(planned.as_document())
    assert server.received == []


def test_a_preview_shows_rows_as_the_destination_gets_them_and_hides_their_values(
    load: LoadToWebhookOperator, server: Receiver
) -> None:
    hidden, shown = preview(load), preview(load, show_values=True)

    assert hidden.rows == ({"id": "<int>", "mail": "<str, 13>"},)
    assert shown.rows == ({"id": 1, "mail": "a@example.com"},)
    assert (shown.permitted, shown.destination) == (1, "webhook")
    assert "/people" in shown.target
    assert server.received == []


def test_a_test_record_is_sent_and_removed_and_is_in_no_delivered_state(
    load: LoadToWebhookOperator, server: Receiver, warehouse: Path
) -> None:
    notes = warehouse.parent / "workspace" / "own_records"

    sent = send_test(load, {"id": -1, "mail": "test@example.com"})
    assert (sent.action, sent.status, dict(sent.record)) == (
        "sent",
        "accepted",
        {"id": -1, "mail": "test@example.com"},
    )
    assert len(list(notes.iterdir())) == 1
    assert plan(load).plan.counts["delivered"] == 0

    removed = send_test(load, {"id": -1}, remove=True)

    assert (removed.action, removed.status) == ("removed", "accepted")
    assert list(notes.iterdir()) == []
    assert [one.method for one in server.received] == ["POST", "DELETE"]
    assert json.loads(server.received[1].body) == {"rows": [{"id": -1}]}
    with pytest.raises(ConfigurationError, match="sent no test record with this key"):
        send_test(load, {"id": -1}, remove=True)


def test_no_person_is_sent_as_a_test_record(load: LoadToWebhookOperator, server: Receiver, warehouse: Path) -> None:
    with pytest.raises(ConfigurationError, match="a number below 0: a person of the model is sent by a load alone"):
        send_test(load, {"id": 1, "mail": "a@example.com"})
    with pytest.raises(ConfigurationError, match="no field `name`"):
        send_test(load, {"id": -2, "name": "Ann"})
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("UPDATE customers SET id = -1 WHERE id = 4")
    with pytest.raises(RefusedError, match="a person of model `customers` has this key"):
        send_test(load, {"id": -1, "mail": "test@example.com"})

    assert server.received == []


def test_a_destination_that_each_load_replaces_takes_no_test_record(warehouse: Path, tmp_path: Path) -> None:
    files = load_of(LoadToFilesOperator, "lake", path=f"file://{tmp_path}/lake")

    with pytest.raises(ConfigurationError, match="a test record would replace all people"):
        send_test(files, {"id": -1})

    assert not (tmp_path / "lake").exists()


def test_a_task_that_is_no_load_has_no_plan(load: LoadToWebhookOperator) -> None:
    with pytest.raises(ConfigurationError, match="task `consent` is no load"):
        plan(cast("LoadOperator", load.dag.get_task("consent")))
