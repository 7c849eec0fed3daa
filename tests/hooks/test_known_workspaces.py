"""The list of workspaces in the settings, and the name of the one that a task uses."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.known_workspaces import KnownWorkspace, known_workspaces, name_of
from airflow_consent_retl.operators.links import RunReportLink, SyncPageLink

EMEA = {"workspace": "s3://data/emea/", "ledger_conn_id": "ledger_emea"}
OPTION = "AIRFLOW__CONSENT_RETL__PAGE_WORKSPACES"


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", "s3://data/all")
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__LEDGER_CONN_ID", "ledger")
    monkeypatch.setenv(OPTION, json.dumps({"emea": EMEA, "trials": {"workspace": "s3://data/trials"}}))


def test_without_a_list_there_is_the_default() -> None:
    assert known_workspaces() == {"": KnownWorkspace()}


@pytest.mark.usefixtures("listed")
def test_the_default_comes_first() -> None:
    assert list(known_workspaces().values()) == [
        KnownWorkspace(),
        KnownWorkspace("emea", **EMEA),
        KnownWorkspace("trials", "s3://data/trials"),
    ]


@pytest.mark.usefixtures("listed")
@pytest.mark.parametrize(
    ("workspace", "ledger", "name"),
    [
        (None, None, ""),
        ("s3://data/all", "ledger", ""),
        ("s3://data/emea", "ledger_emea", "emea"),
        ("s3://data/emea", None, ""),
        ("s3://data/trials/", None, "trials"),
        ("s3://data/trials", "ledger", "trials"),
        ("s3://data/unknown", None, ""),
    ],
)
def test_a_task_uses_the_one_with_its_workspace_and_its_ledger(
    workspace: str | None, ledger: str | None, name: str
) -> None:
    assert name_of(workspace, ledger) == name


@pytest.mark.usefixtures("listed")
def test_the_links_of_a_task_lead_to_its_workspace() -> None:
    task = SimpleNamespace(
        destination="webhook", model_name="customers", workspace=EMEA["workspace"], ledger_conn_id="ledger_emea"
    )
    key = SimpleNamespace(dag_id="d", run_id="r", task_id="t", map_index=-1)

    for link in (SyncPageLink(), RunReportLink()):
        assert link.get_link(task, ti_key=key).endswith("&workspace=emea")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "option",
    ["[]", "{", '{"emea": {}}', '{"emea": {"other": "x"}}', '{"emea": {"workspace": ""}}', '{"": {}}', '{"a": 1}'],
)
def test_another_form_is_refused(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.setenv(OPTION, option)

    with pytest.raises(ConfigurationError, match=r"`\[consent_retl\] page_workspaces`: expected"):
        known_workspaces()
