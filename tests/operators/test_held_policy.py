"""A policy that waits for an approval: filter, loads and reading of permitted rows all keep to the one in force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.permitting import CONSENT, DESTINATIONS, POLICY, warehouse_with

from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.hooks.approving import approve
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, permitted_batches
from airflow_consent_retl.reports.policy_record import policy_record
from airflow_consent_retl.storage.location import policy_archive

PLACE = "variable:consent_policy"
ANALYTICS, ADS = POLICY["categories"]
LOOSER: dict[str, Any] = {"categories": [{**ANALYTICS, "destinations": ["lake"]}, ADS]}


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__APPROVAL_REQUIRED", "True")
    warehouse_with(tmp_path, monkeypatch)
    extract = ExtractModelOperator(
        task_id="extract", model="customers", conn_id="warehouse", sql="SELECT * FROM customers", primary_key="id"
    )
    made: dict[str, Any] = extract.execute({})
    return made


def _filter(snapshot: dict[str, Any]) -> dict[str, Any]:
    operator = ConsentFilterOperator(
        task_id="consent",
        snapshot=snapshot,
        policy=PLACE,
        consent=CONSENT,
        destinations=DESTINATIONS,
        max_released_ratio=None,
    )
    permitted: dict[str, Any] = operator.execute({})
    return permitted


def test_filter_and_reader_keep_to_the_policy_in_force_until_the_new_one_is_approved(
    snapshot: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(POLICY))
    approve(PLACE, digest=parse_policy(POLICY).digest, by="Ida Officer")
    first = _filter(snapshot)
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(LOOSER))

    held = _filter(snapshot)

    # One of five granted both categories, and two granted advertising.
    assert first["permitted"]["webhook"] == held["permitted"]["webhook"] == 1
    batches = permitted_batches(held, destination="webhook", fields={"id": "id"})
    assert sum(batch.num_rows for batch in batches) == 1

    (expected,) = policy_archive().expected(parse_policy(LOOSER).digest)
    assert (expected.model, expected.replaced) == ("customers", parse_policy(POLICY).digest)
    assert expected.people == {"ads": (0, 0), "lake": (0, 0), "webhook": (1, 0)}

    approve(PLACE, digest=parse_policy(LOOSER).digest, by="Ole Officer")
    with pytest.raises(Exception, match="the policy changed since"):
        list(permitted_batches(held, destination="webhook", fields={"id": "id"}))
    assert _filter(snapshot)["permitted"]["webhook"] == 2
    (people,) = policy_record(PLACE)[-1].people.values()
    assert people == {"ads": (0, 0), "lake": (0, 0), "webhook": (1, 0)}


def test_a_waiting_policy_that_cannot_be_compared_does_not_stop_the_run(
    snapshot: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(POLICY))
    approve(PLACE, digest=parse_policy(POLICY).digest, by="Ida Officer")
    _filter(snapshot)
    other = {"categories": [{"id": "C0009", "name": "Profiling", "destinations": ["lake", "webhook", "ads"]}]}
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(other))

    held = _filter(snapshot)

    assert held["permitted"]["webhook"] == 1
    assert policy_archive().expected(parse_policy(other).digest) == []
    assert "the effect of the policy that waits for an approval cannot be computed" in capfd.readouterr().out
