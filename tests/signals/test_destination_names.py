"""The names of destinations in lineage."""

from __future__ import annotations

import json

import pytest

from airflow_consent_retl.contract.dataset_name import DatasetName
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.destinations.files.options import FilesOptions
from airflow_consent_retl.destinations.sql_table.options import SqlTableSpec
from airflow_consent_retl.destinations.webhook.options import WebhookSpec

CONNECTIONS = {
    "crm": {"conn_type": "sqlite", "host": "/srv/crm.db"},
    "hook": {"conn_type": "consentwebhook", "host": "https://CRM.example.com", "extra": {"token": "secret-token"}},
}


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        (FilesOptions(path="file:///srv/exports/lake"), DatasetName("file", "/srv/exports/lake")),
        (SqlTableSpec(conn_id="crm", table="people"), DatasetName("sqlite:///srv/crm.db", "main.people")),
        (
            WebhookSpec(conn_id="hook", endpoint="/v1/people?list=secret-list"),
            DatasetName("https://crm.example.com:443", "/v1/people"),
        ),
    ],
)
def test_a_destination_is_named_by_its_place_without_a_secret(
    spec: DestinationSpec, name: DatasetName, monkeypatch: pytest.MonkeyPatch
) -> None:
    for conn_id, connection in CONNECTIONS.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))

    assert spec.build().dataset_name == name
