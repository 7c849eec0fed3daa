"""Whom Google rejected, or the load itself for Google: the records have code and field, and no value."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from google.rpc import code_pb2
from support.crm_sync import CrmSync
from support.customer_match import CONN_ID, connection_to
from support.data_manager_server import DataManager, Fault, data_manager

from airflow_consent_retl.operators import LoadToGoogleCustomerMatchOperator
from airflow_consent_retl.reports import RejectedRow, rejected

# 1 and 4 have a value that is no e-mail or no phone number; Google refuses one identifier of 2, of 3 and of 5.
SQL = (
    "SELECT id, ads_ok, CASE id WHEN 1 THEN 'canary one' ELSE 'canary' || id || '@x.example' END AS email, "
    "'+4917100000' || id AS phone, CASE id WHEN 4 THEN 'canary four' ELSE '+4917200000' || id END AS mobile, "
    "'Canary' AS given_name, 'Canaryson' AS family_name, 'DE' AS region_code, '10115' AS postal_code FROM people"
)
FIELDS = {
    "email": "email",
    "phone": "phone",
    "phone_2": "mobile",
    **{name: name for name in ("given_name", "family_name", "region_code", "postal_code")},
}


@pytest.fixture
def google() -> Iterator[DataManager]:
    with data_manager() as server:
        connection_to(server)
        yield server


def _refused(member: int, path: str, reason: str) -> tuple[str, str]:
    return f"audience_members.audience_members[{member}].user_data.user_identifiers[0].{path}", reason


def test_a_rejected_member_is_recorded_with_its_code_and_its_field(
    google: DataManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    crm = CrmSync(tmp_path, monkeypatch)
    crm.people(1, 2, 3, 4, 5, 6)
    violations = [
        _refused(0, "email_address", "INVALID_SHA256_FORMAT"),
        _refused(1, "address.postal_code", "INVALID_POSTAL_CODE"),
        # There are two phone numbers, so it is unknown which one.
        _refused(2, "phone_number", "INVALID_FORMAT"),
    ]
    google.script = [
        Fault(code_pb2.INVALID_ARGUMENT, "INVALID_ARGUMENT", "canary2@x.example is wrong", violations=violations)
    ]
    load: Any = partial(
        LoadToGoogleCustomerMatchOperator,
        fields=FIELDS,
        gcp_conn_id=CONN_ID,
        audience_id="42",
        operating_account="123-456-7890",
        consent_signals={"ad_user_data": "C0004", "ad_personalization": "C0004"},
        terms_of_service_accepted=True,
        max_rejected_ratio=0.9,
        settle_s=0,
    )

    counts = crm.sync(load, destination="webhook", sql=SQL)

    found = rejected("people/webhook", workspace=crm.workspace)
    assert sorted(found.rows, key=lambda row: row.id) == [
        RejectedRow(1, "invalid_email", "email"),
        RejectedRow(2, "invalid_sha256_format", "email"),
        RejectedRow(3, "invalid_postal_code", "postal_code"),
        RejectedRow(4, "invalid_phone", "phone_2"),
        RejectedRow(5, "invalid_format", ""),
    ]
    assert found.run.fields == {"email": 2, "postal_code": 1, "phone_2": 1}
    assert counts["accepted"] == 1
    assert "canary" not in f"{counts} {found} {caplog.text}".lower()
