"""Tests of the deployment's one policy: which policy a task gets, and the refusal of every other one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.log_lines import task_fails
from support.permitting import CONSENT, POLICY, customers, snapshot_of, warehouse_with

from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.hooks.policies import policy_in_force, read_policy
from airflow_consent_retl.operators import ConsentFilterOperator, permitted_batches
from airflow_consent_retl.storage.folder import Folder

CENTRAL = "variable:consent_policy"
LOOSE: dict[str, Any] = {"categories": [{"id": "X", "name": "X", "destinations": ["nobody"]}]}
OTHERS = [
    (LOOSE, "a document of its own"),
    (POLICY, "a document of its own"),
    ("variable:mine", "`variable:mine`"),
    ("connection:mine", "`connection:mine`"),
    ("file:/srv/mine.json", "`file:/srv/mine.json`"),
    ("variable:Consent_policy", "`variable:Consent_policy`"),
    ("{{ var.value.mine }}", "`{{ var.value.mine }}`"),
    ("inline", "a document of its own"),
]


@pytest.fixture
def central(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", CENTRAL)
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(POLICY))


def filtered(tmp_path: Path, policy: Any) -> Any:
    _, ref = snapshot_of(Folder.local(tmp_path / "snapshot"), customers())
    return ConsentFilterOperator(
        task_id="consent",
        snapshot=ref.to_xcom(),
        policy=policy,
        consent=CONSENT,
        destinations=["lake"],
        workspace=f"file://{tmp_path}/workspace",
    ).execute({})


@pytest.mark.usefixtures("central")
@pytest.mark.parametrize("declared", [None, CENTRAL])
def test_a_task_that_names_no_policy_or_the_deployments_gets_the_deployments(declared: str | None) -> None:
    loaded = policy_in_force(declared)

    assert (loaded.policy.digest, loaded.source) == (parse_policy(POLICY).digest, CENTRAL)


@pytest.mark.usefixtures("central")
@pytest.mark.parametrize(("declared", "shown"), OTHERS)
def test_every_other_policy_is_refused_before_it_is_read(declared: Any, shown: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        policy_in_force(declared)

    assert str(refusal.value) == (
        f"policy: `[consent_retl] policy` is `{CENTRAL}` for every DAG of this deployment, and this task has {shown}: "
        "leave `policy` out"
    )


@pytest.mark.usefixtures("central")
def test_a_deployment_may_allow_other_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__ALLOW_DAG_POLICIES", "True")

    assert policy_in_force(LOOSE).policy.digest == parse_policy(LOOSE).digest
    assert policy_in_force(None).source == CENTRAL


@pytest.mark.parametrize("blank", [None, "", "  "])
def test_without_a_central_policy_each_task_names_its_own(monkeypatch: pytest.MonkeyPatch, blank: str | None) -> None:
    if blank is not None:
        monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", blank)
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__ALLOW_DAG_POLICIES", "False")

    assert policy_in_force(LOOSE).source == "inline"
    with pytest.raises(ConfigurationError, match=r"policy: name one, or set `\[consent_retl\] policy`"):
        policy_in_force(None)


@pytest.mark.usefixtures("central")
def test_reports_read_any_policy() -> None:
    assert read_policy(LOOSE).source == "inline"


@pytest.mark.usefixtures("central")
def test_a_filter_without_a_policy_decides_under_the_deployments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse_with(tmp_path, monkeypatch)

    output = filtered(tmp_path, None)

    assert [rows.to_pylist() for rows in permitted_batches(output, destination="lake", fields={"id": "id"})] == [
        [{"id": 1}, {"id": 3}]
    ]


def test_a_permitted_set_of_another_policy_is_refused_once_the_deployment_has_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = filtered(tmp_path, POLICY)
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", CENTRAL)
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(POLICY))

    with task_fails(kind=RefusedError) as refusal:
        permitted_batches(output, destination="lake")

    assert str(refusal.value) == (
        "consent was decided under a document of its own, and `[consent_retl] policy` is `variable:consent_policy`: "
        "run the filter again"
    )


@pytest.mark.usefixtures("central")
def test_rows_for_code_of_ones_own_are_under_the_deployments_policy_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse_with(tmp_path, monkeypatch)
    output = filtered(tmp_path, CENTRAL)

    with task_fails(kind=ConfigurationError, match="this task has a document of its own: leave `policy` out"):
        permitted_batches(output, destination="lake", policy=LOOSE)
