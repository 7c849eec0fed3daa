"""The links from tasks to the pages about their syncs and runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToWebhookOperator,
    PropagateWithdrawalsOperator,
)
from airflow_consent_retl.operators.links import RunReportLink, SyncPageLink

INSTANCE: Any = SimpleNamespace(dag_id="d", run_id="scheduled__2026-11-29T00:00:00+00:00", task_id="t", map_index=-1)
SOURCE: dict[str, Any] = {"model": "people", "conn_id": "warehouse", "sql": "SELECT 1", "primary_key": "id"}
PAGE = "/consent-retl/sync?name=people%2Fwebhook"


def extract() -> Any:
    return ExtractModelOperator(task_id="t", **SOURCE)


def decide(*destinations: str) -> Any:
    return ConsentFilterOperator(task_id="t", snapshot={"model": "people"}, destinations=list(destinations))


def load(permitted: Any = None) -> Any:
    given = {"model": "people"} if permitted is None else permitted
    parameters: dict[str, Any] = {"conn_id": "c", "endpoint": "/p", "fields": {"id": "id"}}
    return LoadToWebhookOperator(task_id="t", permitted=given, destination="webhook", **parameters)


def withdraw(*destinations: str) -> Any:
    return PropagateWithdrawalsOperator(task_id="t", loads=dict.fromkeys(destinations, cast("Any", None)), **SOURCE)


@pytest.mark.parametrize("operator", [decide("webhook"), load(), withdraw("webhook")])
def test_a_task_of_one_sync_leads_to_its_page(operator: Any) -> None:
    assert SyncPageLink().get_link(operator, ti_key=INSTANCE) == PAGE


@pytest.mark.parametrize("operator", [extract(), decide("webhook", "lake"), withdraw("a", "b")])
def test_a_task_of_several_syncs_leads_to_the_page_of_all(operator: Any) -> None:
    assert SyncPageLink().get_link(operator, ti_key=INSTANCE) == "/consent-retl/"


def test_the_address_begins_with_airflows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/data/")

    assert SyncPageLink().get_link(load(), ti_key=INSTANCE) == f"https://airflow.example.com/data{PAGE}"


def test_the_report_is_of_the_task_in_its_run() -> None:
    mapped: Any = SimpleNamespace(**{**vars(INSTANCE), "map_index": 3})

    assert RunReportLink().get_link(load(), ti_key=INSTANCE) == (
        "/consent-retl/report?dag_id=d&run_id=scheduled__2026-11-29T00%3A00%3A00%2B00%3A00&task_id=t"
    )
    assert RunReportLink().get_link(load(), ti_key=mapped).endswith("&map_index=3")


def test_tasks_that_send_or_remove_have_both_links() -> None:
    names = {
        type(one()).__name__: [link.name for link in one().operator_extra_links] for one in (extract, load, withdraw)
    }

    assert names == {
        "ExtractModelOperator": ["Consent: sync"],
        "LoadToWebhookOperator": ["Consent: sync", "Consent: report of this run"],
        "PropagateWithdrawalsOperator": ["Consent: sync", "Consent: report of this run"],
    }
