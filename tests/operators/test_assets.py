"""Assets of destinations and syncs: other DAGs are scheduled on them by name, and every task that changes one tells."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from airflow.sdk import DAG, Asset
from airflow.sdk.execution_time.context import OutletEventAccessors
from support.permitting import CONSENT, POLICY, warehouse_with

from airflow_consent_retl.compat import dag_bag
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToSqlTableOperator,
    PropagateWithdrawalsOperator,
    destination_asset,
    sync_asset,
)
from airflow_consent_retl.sync import consent_sync

LOAD = partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields={"id": "id"})
MODEL: dict[str, Any] = {"conn_id": "warehouse", "sql": "SELECT * FROM customers", "primary_key": "id"}
SCHEDULED = """
from airflow.sdk import DAG, Asset
from airflow_consent_retl.operators import destination_asset, sync_asset

for number, schedule in enumerate(
    [[Asset("consent_retl/webhook")], [destination_asset("webhook")], [sync_asset("customers", "webhook")]]
):
    with DAG(f"after_{number}", schedule=schedule):
        pass
"""


def names(outlets: Any) -> list[str]:
    return [asset.name for asset in outlets]


def test_a_dag_is_scheduled_on_the_asset_by_the_documented_name_and_by_the_functions(tmp_path: Path) -> None:
    (tmp_path / "after.py").write_text(SCHEDULED)

    bag = dag_bag(str(tmp_path))

    assert bag.import_errors == {}
    found: list[Any] = [bag.dags[f"after_{number}"].timetable.asset_condition for number in range(3)]
    uris = [[asset.uri for asset in condition.objects] for condition in found]
    assert uris == [["consent_retl/webhook"], ["consent_retl/webhook"], ["consent_retl/customers/webhook"]]


def test_a_load_has_an_asset_of_the_destination_and_one_of_the_sync() -> None:
    with DAG("d") as dag:
        consent_sync("customers", **MODEL, policy=POLICY, consent=CONSENT, loads={"webhook": LOAD})

    assert dag.get_task("customers.load_webhook").outlets == [
        destination_asset("webhook"),
        sync_asset("customers", "webhook"),
    ]


def test_a_name_that_only_a_template_knows_has_no_asset() -> None:
    fast = PropagateWithdrawalsOperator(
        task_id="fast", **MODEL, model="{{ params.model }}", policy=POLICY, consent=CONSENT, loads={"webhook": LOAD}
    )

    assert names(fast.outlets) == ["consent_retl/webhook"]


def test_the_fast_lane_tells_what_it_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "crm.db")}))
    warehouse_with(tmp_path, monkeypatch)
    fast = PropagateWithdrawalsOperator(
        task_id="fast",
        **MODEL,
        model="customers",
        policy=POLICY,
        consent=CONSENT,
        loads={"webhook": LOAD},
        allow_unknown=True,
    )
    events = OutletEventAccessors()

    counts = fast.execute(cast("Any", {"outlet_events": events}))["webhook"]

    assert names(fast.outlets) == ["consent_retl/webhook", "consent_retl/customers/webhook"]
    for asset in cast("list[Asset]", fast.outlets):
        assert events[asset].extra == {"destination": "webhook", "model": "customers", **counts}


class _Mapped:
    """What a mapped task knows of itself."""

    dag_id, run_id, task_id, map_index, try_number = "d", "r", "extract", 3, 1


def test_a_mapped_task_is_shown_by_its_models_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    warehouse_with(tmp_path, monkeypatch)
    context: dict[str, Any] = {"ti": _Mapped()}
    own: dict[str, Any] = {"ti": _Mapped(), "map_index_template": "{{ mine }}"}

    snapshot = ExtractModelOperator(task_id="extract", **MODEL, model="customers").execute(cast("Any", context))
    consent = ConsentFilterOperator(
        task_id="consent", snapshot=snapshot, policy=POLICY, consent=CONSENT, destinations=["webhook"]
    )
    consent.execute(cast("Any", own))

    shown = DAG("d").get_template_env().from_string(context["map_index_template"]).render(context)
    assert shown == "customers"
    assert own["map_index_template"] == "{{ mine }}"
    assert {"consent", "policy_digest"} <= set(consent.template_fields)
    assert consent.overwrite_rtif_after_execution
    assert (consent.policy_digest or "").startswith("sha256:")
    assert consent.consent == CONSENT
