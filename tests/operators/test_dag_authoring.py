"""What a DAG author writes becomes the tasks, dependencies and templates that are promised."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.definitions.xcom_arg import XComArg
from support.permitting import CONSENT, POLICY

import airflow_consent_retl.operators
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToFilesOperator,
    LoadToSqlTableOperator,
    LoadToWebhookOperator,
    SyncLogsOperator,
)
from airflow_consent_retl.progress import Progress, table
from airflow_consent_retl.sync import consent_sync

LOAD: dict[str, Any] = {"permitted": {}, "destination": "lake", "fields": {"id": "id"}, "policy": POLICY}
OPERATORS: list[tuple[Any, dict[str, Any]]] = [
    (ExtractModelOperator, {"model": "customers", "conn_id": "c", "sql": "SELECT 1", "primary_key": "id"}),
    (ConsentFilterOperator, {"snapshot": {}, "policy": POLICY, "consent": CONSENT, "destinations": ["lake"]}),
    (LoadToFilesOperator, {**LOAD, "path": "file:///exports"}),
    (LoadToSqlTableOperator, {**LOAD, "conn_id": "c", "table": "people"}),
    (LoadToWebhookOperator, {**LOAD, "conn_id": "c", "endpoint": "/people"}),
]


@pytest.mark.parametrize(("operator", "parameters"), OPERATORS)
def test_every_template_field_is_an_attribute(operator: Any, parameters: dict[str, Any]) -> None:
    task = operator(task_id="t", **parameters)

    assert [name for name in task.template_fields if not hasattr(task, name)] == []


@pytest.mark.parametrize(("operator", "parameters"), OPERATORS)
def test_every_parameter_is_kept_under_its_own_name(operator: Any, parameters: dict[str, Any]) -> None:
    task = operator(task_id="t", **parameters)

    assert {name: getattr(task, name) for name in parameters} == parameters


def test_every_name_that_is_offered_is_there() -> None:
    for name in airflow_consent_retl.operators.__all__:
        assert callable(getattr(airflow_consent_retl.operators, name))


def test_a_name_that_is_not_offered_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'LoadToNowhereOperator'"):
        airflow_consent_retl.operators.LoadToNowhereOperator  # type: ignore[attr-defined]  # noqa: B018


def synced(**parameters: Any) -> DAG:
    with DAG("d") as dag:
        consent_sync(
            "customers",
            **{
                "conn_id": "warehouse",
                "sql": "SELECT 1",
                "primary_key": "user_id",
                "policy": POLICY,
                "consent": CONSENT,
                "loads": {
                    "lake": partial(LoadToFilesOperator, path="file:///x", fields={"id": "user_id"}),
                    "ads:emea": partial(LoadToFilesOperator, path="file:///y", fields={"id": "user_id"}),
                },
                **parameters,
            },
        )
    return dag


def test_a_sync_is_an_extraction_a_filter_and_a_load_for_each_destination() -> None:
    dag = synced()

    assert {task_id: task.downstream_task_ids for task_id, task in dag.task_dict.items()} == {
        "customers.extract": {"customers.consent", "customers.prune"},
        "customers.consent": {"customers.load_lake", "customers.load_ads__emea"},
        "customers.load_lake": {"customers.prune"},
        "customers.load_ads__emea": {"customers.prune"},
        "customers.prune": set(),
    }
    assert dag.task_dict["customers.prune"].is_teardown
    assert "customers.prune" not in synced(prune=False).task_dict
    load: Any = dag.task_dict["customers.load_ads__emea"]
    assert (load.destination, load.policy, load.path) == ("ads:emea", POLICY, "file:///y")
    assert isinstance(load.permitted, XComArg)


def test_a_sync_shares_out_its_parameters() -> None:
    dag = synced(
        model="people",
        column_types={"ads_ok": "bool"},
        max_denied_ratio={"lake": 0.5},
        max_invalid_ratio=0.1,
        workspace="file:///w",
    )

    extract: Any = dag.task_dict["customers.extract"]
    consent: Any = dag.task_dict["customers.consent"]
    assert (extract.model, extract.column_types, extract.workspace) == ("people", {"ads_ok": "bool"}, "file:///w")
    assert (consent.max_denied_ratio, consent.max_invalid_ratio, consent.workspace) == ({"lake": 0.5}, 0.1, "file:///w")
    assert consent.destinations == ["lake", "ads:emea"]


@pytest.mark.parametrize(("on_duplicate_id", "checked"), [("fail", True), ("deny", False)])
def test_a_sync_leaves_duplicate_ids_to_the_one_who_has_to_treat_them(on_duplicate_id: str, checked: bool) -> None:
    dag = synced(on_duplicate_id=on_duplicate_id)

    extract: Any = dag.task_dict["customers.extract"]
    consent: Any = dag.task_dict["customers.consent"]
    assert extract.check_primary_key is checked
    assert consent.on_duplicate_id == on_duplicate_id


def test_a_sync_is_named_after_its_group_and_takes_the_groups_parameters() -> None:
    dag = synced(tooltip="all customers", default_args={"retries": 3})

    extract: Any = dag.task_dict["customers.extract"]
    assert (extract.model, extract.retries) == ("customers", 3)
    assert dag.task_group.children["customers"].tooltip == "all customers"  # type: ignore[attr-defined]


# The log's tables and progress


class Lines:
    """A task's logger that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, /, *arguments: object) -> None:
        self.lines.append(message % arguments)


def test_short_work_has_no_progress_lines() -> None:
    log = Lines()
    progress = Progress(log, "read", total_rows=10)

    progress(4)
    progress(6)

    assert (progress.rows, log.lines) == (10, [])


def test_a_table_aligns_numbers_and_leaves_text_as_it_is(tmp_path: Path) -> None:
    text = table(["destination", "read", "because"], [["1e5", 1_234_567, ""], ["007", 5, "C0002:denied 5"]])

    assert text.splitlines() == [
        "  destination       read  because",
        "-------------  ---------  --------------",
        "          1e5  1,234,567",
        "          007          5  C0002:denied 5",
    ]


def test_a_table_without_rows_is_its_headers() -> None:
    assert table(["destination", "read"], []).splitlines()[0].split() == ["destination", "read"]


@pytest.mark.parametrize(
    ("sync_logs", "expected"),
    [
        ("ops", {"conn_id": "ops", "schema": None, "days": 7}),
        ({"conn_id": "ops", "schema": "logs", "days": 1}, {"conn_id": "ops", "schema": "logs", "days": 1}),
    ],
)
def test_sync_logs_are_a_teardown_about_the_syncs_of_the_group(sync_logs: Any, expected: dict[str, Any]) -> None:
    task = synced(sync_logs=sync_logs).task_dict["customers.sync_logs"]

    assert isinstance(task, SyncLogsOperator)
    assert task.is_teardown
    assert task.syncs == ["customers/lake", "customers/ads:emea"]
    assert {name: getattr(task, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("given", "message"), [({"days": 0}, "more than 0"), ({"lags_table": "x", "runs_table": "x"}, "three names")]
)
def test_parameters_of_sync_logs_that_cannot_be_meant_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SyncLogsOperator(task_id="logs", conn_id="ops", **given)
