"""A guard of the policy applies to a field of the load, or the load says that the field is not sent."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.log_lines import task_fails
from support.permitting import snapshot_of

from airflow_consent_retl.consent import parse_policy, policy_document
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.operators import ConsentFilterOperator, permitted_batches, permitted_dataframes
from airflow_consent_retl.storage.folder import Folder

CLASS = {"class": "phone", "aliases": ["phone_e164", "tel"]}


def policy(*guarded: object, at: str = "webhook") -> dict[str, Any]:
    return {
        "categories": [
            {"id": "C0004", "name": "Advertising", "destinations": ["webhook", "webhook:emea"]},
            {"id": "C0005", "name": "Telephone", "fields": {at: list(guarded)}},
        ]
    }


def filtered(tmp_path: Path, rules: dict[str, Any]) -> dict[str, Any]:
    rows = pa.table({"id": [1, 2], "phone_e164": ["+49 1", "+49 2"], "ads": [True, True], "calls": [True, False]})
    _, ref = snapshot_of(Folder.local(tmp_path / "snapshot"), rows)
    output: dict[str, Any] = ConsentFilterOperator(
        task_id="consent",
        snapshot=ref.to_xcom(),
        policy=rules,
        consent={"C0004": "ads", "C0005": "calls"},
        destinations=["webhook", "webhook:emea"],
        workspace=f"file://{tmp_path}/workspace",
    ).execute({})
    return output


def rows_of(tmp_path: Path, rules: dict[str, Any], destination: str = "webhook", **more: Any) -> list[dict[str, Any]]:
    batches = permitted_batches(filtered(tmp_path, rules), destination=destination, policy=rules, **more)
    return [row for rows in batches for row in rows.to_pylist()]


@pytest.mark.parametrize("field", ["tel", "phone_number", "contact", "x"])
@pytest.mark.parametrize("destination", ["webhook", "webhook:emea"])
def test_a_guard_that_applies_to_no_field_is_refused(tmp_path: Path, field: str, destination: str) -> None:
    with task_fails(kind=RefusedError, match=r"the guard would withhold nothing.*fields_not_sent=\[.phone.\]"):
        rows_of(tmp_path, policy("phone"), destination, fields={"id": "id", field: "phone_e164"})


def test_frames_are_refused_as_batches_are(tmp_path: Path) -> None:
    with task_fails(kind=RefusedError, match="the guard would withhold nothing"):
        permitted_dataframes(filtered(tmp_path, policy("phone")), destination="webhook", policy=policy("phone"))


def test_a_dag_that_does_not_send_the_field_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        rows = rows_of(tmp_path, policy("phone"), fields={"id": "id"}, fields_not_sent=["phone"])

    assert rows == [{"id": 1}, {"id": 2}]
    assert "`webhook`: the policy guards `phone`: not sent" in caplog.text


def test_a_field_that_is_declared_as_not_sent_but_is_sent_is_refused(tmp_path: Path) -> None:
    with task_fails(kind=RefusedError, match="fields_not_sent names `phone`, but `webhook` is sent it as `tel`"):
        rows_of(tmp_path, policy(CLASS), fields={"id": "id", "tel": "phone_e164"}, fields_not_sent=["phone"])


def test_a_declaration_does_not_cover_a_name_that_differs_only_in_case(tmp_path: Path) -> None:
    with task_fails(kind=RefusedError, match="did you mean `Phone`"):
        rows_of(tmp_path, policy("phone"), fields={"id": "id", "Phone": "phone_e164"}, fields_not_sent=["phone"])


@pytest.mark.parametrize("fields", [{"x": "phone_e164"}, {"tel": "phone_e164"}, {"phone": "phone_e164"}])
@pytest.mark.parametrize("guarded", ["webhook", "webhook:emea"])
def test_a_guarded_data_class_withholds_every_one_of_its_names(
    tmp_path: Path, fields: dict[str, str], guarded: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        rows = rows_of(tmp_path, policy(CLASS, at=guarded), "webhook:emea", fields={"id": "id", **fields})

    (name,) = fields
    assert rows == [{"id": 1, name: "+49 1"}, {"id": 2, name: None}]
    assert f"the policy guards `phone`: applied to `{name}`" in caplog.text


def test_a_data_class_survives_being_stored_with_a_run() -> None:
    rules = parse_policy(policy("mail", CLASS))

    again = parse_policy(policy_document(rules))

    assert again.digest == rules.digest
    assert again.guards("webhook") == {"mail": ("mail",), "phone": ("phone", "phone_e164", "tel")}


def test_a_guard_of_a_disabled_category_applies_to_nothing() -> None:
    rules = policy("phone")
    rules["categories"][1]["enabled"] = False

    assert parse_policy(rules).guards("webhook") == {}
