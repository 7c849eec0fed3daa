"""Destinations for withdrawals: built from a load's parameters, without an Airflow task."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Context

from airflow_consent_retl.destinations.webhook.destination import WebhookDestination
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators import (
    LoadOperator,
    LoadToFilesOperator,
    LoadToGoogleCustomerMatchOperator,
    LoadToSqlTableOperator,
    LoadToWebhookOperator,
    PropagateWithdrawalsOperator,
)
from airflow_consent_retl.operators.removing_load import RemovingLoad, from_parameters, rendered

WEBHOOK: dict[str, Any] = {"conn_id": "crm_http", "endpoint": "/people", "fields": {"id": "id"}}


@pytest.fixture(autouse=True)
def connections(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CRM_HTTP", json.dumps({"conn_type": "http", "host": "https://crm.example.com"}))
    monkeypatch.setenv("AIRFLOW_CONN_CRM_DB", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "crm.db")}))


def today(value: Any) -> Any:
    return value.replace("{{ ds }}", "today") if isinstance(value, str) else value


def read(load: object) -> RemovingLoad | None:
    return from_parameters(load, "crm", render=today)


@pytest.mark.parametrize(
    ("load", "target"),
    [
        (partial(LoadToWebhookOperator, **WEBHOOK), "`/people` of connection `crm_http`"),
        (
            partial(LoadToWebhookOperator, **WEBHOOK, retries=3, pool="crm", mode="upsert"),
            "`/people` of connection `crm_http`",
        ),
        (
            partial(LoadToWebhookOperator, **{**WEBHOOK, "endpoint": "/{{ ds }}"}),
            "`/today` of connection `crm_http`",
        ),
        (partial(partial(LoadToWebhookOperator, conn_id="crm_http"), endpoint="/x"), "`/x` of connection `crm_http`"),
        (
            partial(LoadToSqlTableOperator, conn_id="crm_db", table="people", fields={}),
            "table `people` of connection `crm_db`",
        ),
        (partial(LoadToFilesOperator, path="file:///exports/lake"), "file:///exports/lake"),
        (
            partial(
                LoadToGoogleCustomerMatchOperator,
                audience_id="42",
                operating_account="1-2",
                consent_signals={},
                terms_of_service_accepted=True,
            ),
            "audience 42 of GOOGLE_ADS account 12",
        ),
    ],
)
def test_the_destination_is_built_from_the_parameters_of_the_load(load: object, target: str) -> None:
    removing = read(load)

    assert removing is not None
    assert removing.build_destination().former_targets[0] == target
    assert not removing.accept_no_removal


def test_a_load_that_accepts_a_destination_without_removal_keeps_doing_so() -> None:
    removing = read(partial(LoadToWebhookOperator, **WEBHOOK, accept_no_removal=True))

    assert removing is not None
    assert removing.accept_no_removal


def test_destinations_of_one_load_share_their_quota() -> None:
    removing = read(
        partial(
            LoadToGoogleCustomerMatchOperator,
            audience_id="42",
            operating_account="1-2",
            consent_signals={},
            terms_of_service_accepted=True,
        )
    )

    assert removing is not None
    first, second = removing.build_destination(), removing.build_destination()
    assert first is not second
    assert getattr(first, "pace") is getattr(second, "pace")  # noqa: B009 - typed as any destination


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({**WEBHOOK, "endpont": "/x"}, "has no parameter `endpont`, did you mean `endpoint`"),
        ({"conn_id": "crm_http"}, "LoadToWebhookOperator needs the parameter `endpoint`"),
    ],
)
def test_a_parameter_that_is_unknown_or_missing_is_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        read(partial(LoadToWebhookOperator, **parameters))


class LoadElsewhere(LoadToWebhookOperator):
    """A user's own operator, which builds its destination in its own way."""

    def build_destination(self) -> WebhookDestination:
        raise AssertionError("not here")


def load_by_function(**parameters: Any) -> LoadOperator:
    return LoadToWebhookOperator(**WEBHOOK, **parameters)


@pytest.mark.parametrize(
    "load",
    [
        load_by_function,
        partial(load_by_function, retries=1),
        partial(LoadElsewhere, **WEBHOOK),
        partial(LoadToWebhookOperator, default_args=WEBHOOK),
        LoadToWebhookOperator,
    ],
)
def test_a_load_whose_parameters_alone_do_not_say_how_is_left_to_its_operator(load: object) -> None:
    assert read(load) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("{{ ds }}/people", "2026-11-23/people"),
        ("crm.sql", "crm.sql"),
        ("{{ ds }}.sql", "2026-11-23.sql"),
        ({"account_id": "{{ ds }}"}, {"account_id": "2026-11-23"}),
        (["{{ ds }}"], ["2026-11-23"]),
        (None, None),
    ],
)
def test_templates_in_the_parameters_are_rendered_and_never_read_as_files(value: object, expected: object) -> None:
    operator = PropagateWithdrawalsOperator(
        task_id="withdraw", model="m", conn_id="c", sql="", primary_key="id", policy={}, consent={}, loads={}
    )

    assert rendered(value, operator, Context(ds="2026-11-23")) == expected
    assert rendered(value, operator, Context()) == value
