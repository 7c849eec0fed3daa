"""Tests of the cluster policy: what a DAG shows when it is parsed is held against the deployment's policy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.exceptions import AirflowClusterPolicyViolation
from airflow.sdk import DAG, task
from airflow.sdk.bases.operator import BaseOperator

from airflow_consent_retl import cluster_policy
from airflow_consent_retl.consent import ConsentSource, Literals
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToFilesOperator,
    LoadToWebhookOperator,
    PropagateWithdrawalsOperator,
)
from airflow_consent_retl.sync import consent_sync

OFFICER: dict[str, Any] = {
    "unmapped_destinations": "error",
    "categories": [{"id": "C0004", "name": "Advertising", "destinations": ["webhook"]}],
    "officer": {
        "models": {"customers": {"connection": "warehouse", "consent": {"C0004": "ads_ok"}}},
        "undeclared_models": "error",
        "unmapped_names": "error",
        "destinations": {
            "webhook": {
                "operator": "LoadToWebhookOperator",
                "connection": "crm_http",
                "parameters": {"endpoint": "/v1/people"},
                "fields": ["user_id", "email"],
            }
        },
    },
}
LOOSE: dict[str, Any] = {"categories": [{"id": "X", "name": "X", "destinations": ["nobody"]}]}
WEBHOOK: dict[str, Any] = {"conn_id": "crm_http", "endpoint": "/v1/people", "fields": {"id": "user_id"}}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set the deployment's policy, in a local file."""
    (tmp_path / "policy.json").write_text(json.dumps(OFFICER))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", f"file:{tmp_path}/policy.json")
    return f"file:{tmp_path}/policy.json"


def checked(dag: DAG) -> None:
    """Check each task, as Airflow does when it has parsed a DAG."""
    for one in dag.tasks:
        cluster_policy.task_policy(one)  # type: ignore[arg-type]


def synced(*, load: Any = None, destination: str = "webhook", **more: Any) -> DAG:
    with DAG("d") as dag:
        consent_sync(
            "customers",
            **{
                "conn_id": "warehouse",
                "sql": "SELECT * FROM customers",
                "primary_key": "user_id",
                "loads": {destination: load or partial(LoadToWebhookOperator, **WEBHOOK)},
                **more,
            },
        )
    return dag


def withdrawing(**more: Any) -> DAG:
    with DAG("d") as dag:
        PropagateWithdrawalsOperator(
            **{
                "task_id": "withdraw",
                "model": "customers",
                "conn_id": "warehouse",
                "sql": "SELECT * FROM customers",
                "primary_key": "user_id",
                "loads": {"webhook": partial(LoadToWebhookOperator, **WEBHOOK)},
                **more,
            }
        )
    return dag


def mapped() -> DAG:
    with DAG("d") as dag:
        snapshot = ExtractModelOperator(
            task_id="extract", model="customers", conn_id="warehouse", sql="SELECT 1", primary_key="user_id"
        )
        ConsentFilterOperator.partial(task_id="consent", snapshot=snapshot.output, policy="variable:mine").expand(
            destinations=[["webhook"]]
        )
    return dag


TRUE = ConsentSource("SELECT user_id, TRUE AS ads_ok FROM customers", subject="user_id", columns=["ads_ok"])
REFUSED: list[tuple[Callable[[], DAG], str]] = [
    (lambda: synced(policy=LOOSE), "this task has a document of its own: leave `policy` out"),
    (lambda: synced(policy="variable:mine"), "this task has `variable:mine`"),
    (lambda: synced(policy="{{ var.value.mine }}"), "this task has `{{ var.value.mine }}`"),
    (lambda: withdrawing(policy="file:mine.json"), "this task has `file:mine.json`"),
    (mapped, "this task has `variable:mine`"),
    (lambda: synced(conn_id="mine"), "the policy declares connection `warehouse` for model `customers`"),
    (lambda: synced(model="people"), "the policy declares neither model `people`"),
    (lambda: synced(hook_params={"schema": "mine"}), 'this DAG has {"schema": "mine"}'),
    (lambda: synced(consent_sources=[TRUE]), "the policy keeps consent of model `customers` in column `ads_ok`"),
    (
        lambda: synced(consent={"C0004": Literals("country", granted=("DE",))}),
        "the policy keeps `C0004` of model `customers` in BooleanColumn column `ads_ok`",
    ),
    (lambda: synced(destination="my_own_vendor"), "the policy does not name `my_own_vendor`"),
    (
        lambda: synced(load=partial(LoadToWebhookOperator, **{**WEBHOOK, "conn_id": "mine"})),
        "the policy declares connection `crm_http` for `webhook`, and this DAG has `mine`",
    ),
    (
        lambda: synced(load=partial(LoadToWebhookOperator, **{**WEBHOOK, "endpoint": "/mine"})),
        "the policy declares endpoint `/v1/people` for `webhook`, and this DAG has `/mine`",
    ),
    (
        lambda: synced(load=partial(LoadToWebhookOperator, **{**WEBHOOK, "fields": {"id": "ssn"}})),
        "the policy lets column `email`, `user_id` go to `webhook`, and this DAG sends `ssn` as `id`",
    ),
    (
        lambda: synced(load=partial(LoadToFilesOperator, path="file:///mine", fields={"id": "user_id"})),
        "the policy declares that `webhook` is loaded by LoadToWebhookOperator, and here it is LoadToFilesOperator",
    ),
    (
        lambda: withdrawing(loads={"webhook": partial(LoadToWebhookOperator, **{**WEBHOOK, "endpoint": "/mine"})}),
        "the policy declares endpoint `/v1/people` for `webhook`, and this DAG has `/mine`",
    ),
    (
        lambda: withdrawing(consent={"C0004": "yes"}),
        "the policy keeps `C0004` of model `customers` in BooleanColumn column `ads_ok`",
    ),
]


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(("dag", "sentence"), REFUSED)
def test_a_dag_that_gets_around_the_policy_fails_when_it_is_parsed(dag: Callable[[], DAG], sentence: str) -> None:
    with pytest.raises(AirflowClusterPolicyViolation) as refusal:
        checked(dag())

    assert sentence in str(refusal.value)
    assert str(refusal.value).startswith("DAG `d`, task `")


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    "dag",
    [
        synced,
        withdrawing,
        lambda: synced(consent={"C0004": "ads_ok"}),
        # What is not known yet is checked when the task runs.
        lambda: synced(conn_id="{{ var.value.warehouse }}"),
        lambda: synced(load=partial(LoadToWebhookOperator, **{**WEBHOOK, "endpoint": "/{{ ds }}"})),
        lambda: synced(load=partial(LoadToWebhookOperator, **{**WEBHOOK, "conn_id": "{{ var.value.crm }}"})),
        lambda: withdrawing(loads={"webhook": partial(LoadToWebhookOperator, **{**WEBHOOK, "conn_id": "{{ x }}"})}),
    ],
)
def test_a_dag_that_leaves_everything_to_the_policy_passes(dag: Callable[[], DAG]) -> None:
    checked(dag())


def test_a_dag_may_name_the_deployments_policy(place: str) -> None:
    checked(synced(policy=place))


def test_tasks_of_other_kinds_are_left_alone(place: str) -> None:
    with DAG("d") as dag:
        BaseOperator(task_id="plain")
        task(task_id="code")(lambda: None)()

    checked(dag)


def test_a_policy_in_a_variable_is_not_read_when_a_dag_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", "variable:never_read")
    monkeypatch.setenv("AIRFLOW_VAR_NEVER_READ", json.dumps(OFFICER))

    checked(synced(destination="my_own_vendor"))
    with pytest.raises(AirflowClusterPolicyViolation, match="this task has a document of its own"):
        checked(synced(policy=LOOSE))


def test_a_changed_file_is_read_again(place: str) -> None:
    checked(synced())
    document = json.loads(json.dumps(OFFICER))
    document["officer"]["destinations"]["webhook"]["connection"] = "another"
    Path(place.removeprefix("file:")).write_text(json.dumps(document))

    with pytest.raises(AirflowClusterPolicyViolation, match="the policy declares connection `another`"):
        checked(synced())


@pytest.mark.parametrize("content", [None, "{", '{"categories": []}'])
def test_a_policy_that_cannot_be_read_is_left_to_the_tasks(place: str, content: str | None) -> None:
    file = Path(place.removeprefix("file:"))
    file.unlink() if content is None else file.write_text(content)

    checked(synced(conn_id="mine"))


def test_a_policy_that_may_wait_for_its_approval_is_left_to_the_tasks(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__APPROVAL_REQUIRED", "True")

    checked(synced(conn_id="mine"))
    with pytest.raises(AirflowClusterPolicyViolation, match="this task has a document of its own"):
        checked(synced(policy=LOOSE))


@pytest.mark.usefixtures("place")
def test_without_a_binding_policy_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__ALLOW_DAG_POLICIES", "True")

    checked(synced(policy=LOOSE, conn_id="mine"))


DAG_FILE = """
from airflow.sdk import DAG
from airflow_consent_retl.operators import ExtractModelOperator, PropagateWithdrawalsOperator
with DAG("around"):
    PropagateWithdrawalsOperator(
        task_id="withdraw", model="customers", conn_id="w", sql="SELECT 1", primary_key="id", policy={}, loads={}
    )
with DAG("honest"):
    ExtractModelOperator(task_id="extract", model="customers", conn_id="warehouse", sql="SELECT 1", primary_key="id")
"""
PARSE = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import airflow
from airflow import settings
heavy = sorted({name.partition(".")[0] for name in sys.modules} & {"duckdb", "ibis", "pyarrow", "pandas", "numpy"})
from airflow_consent_retl.compat import dag_bag
# Airflow 3.1 has no function for it.
manager = getattr(settings, "get_policy_plugin_manager", lambda: settings.POLICY_PLUGIN_MANAGER)()
plugins = [name for name, _ in manager.list_name_plugin()]
bag = dag_bag(sys.argv[1])
errors = list(bag.import_errors.values())
changed = []
from airflow_consent_retl.hooks.central_policy import source_in_force
changes = ({"AIRFLOW__CONSENT_RETL__POLICY": "variable:mine"}, {"AIRFLOW__CONSENT_RETL__POLICY": ""},
           {"AIRFLOW_VAR_CONSENT_POLICY": "{}"}, {"AIRFLOW__CONSENT_RETL__ALLOW_DAG_POLICIES": "True"}, {})
for change in changes:
    before = dict(os.environ)
    os.environ.update(change)
    try:
        changed.append(source_in_force({} if "ALLOW" in "".join(change) else None))
    except Exception as error:
        changed.append(str(error))
    os.environ.clear()
    os.environ.update(before)
print(json.dumps({"changed": changed, "heavy": heavy, "plugins": plugins, "dags": sorted(bag.dags), "errors": errors}))
"""


def test_airflow_loads_the_cluster_policy_and_shows_its_refusal_as_an_import_error(
    tmp_path: Path, repo: Path, airflow_db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = tomllib.loads((repo / "pyproject.toml").read_text())["project"]["entry-points"]["airflow.policy"]
    # An installation has this file; here the package may be installed from another state of the repository.
    installed = tmp_path / "installed" / "airflow_consent_retl_policy-0.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: airflow-consent-retl-policy\nVersion: 0.0\n")
    lines = [f"{name} = {value}" for name, value in entry.items()]
    (installed / "entry_points.txt").write_text("\n".join(["[airflow.policy]", *lines]))
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "dags.py").write_text(DAG_FILE)
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", "variable:consent_policy")
    paths = [str(installed.parent), str(repo), os.environ.get("PYTHONPATH", "")]

    ended = subprocess.run(
        [sys.executable, "-c", PARSE, str(tmp_path / "dags")],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )

    found = json.loads(ended.stdout.splitlines()[-1])
    assert "consent_retl" in found["plugins"]
    (error,) = found["errors"]
    assert "DAG `around`, task `withdraw`: policy: `[consent_retl] policy` is `variable:consent_policy`" in error
    assert found["dags"] == ["honest"]
    assert found["heavy"] == []
    # What a DAG's code changes in its own process is noticed.
    assert [message.partition(" was changed")[0].partition(": leave")[0] for message in found["changed"]] == [
        "policy: `[consent_retl] policy`",
        "policy: `[consent_retl] policy`",
        "policy: AIRFLOW_VAR_CONSENT_POLICY",
        "policy: `[consent_retl] policy` is `variable:consent_policy` for every DAG of this deployment, and this task "
        "has a document of its own",
        "variable:consent_policy",
    ]
