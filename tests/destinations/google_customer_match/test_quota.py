"""Google's quota is of the Cloud project: all loads that share a ledger keep it together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.customer_match import destination_of, people_of
from support.data_manager_server import DataManager, data_manager
from support.loading import batches_of, load_of

from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.account_rates import LedgerReserve
from airflow_consent_retl.errors import DestinationUnavailableError
from airflow_consent_retl.hooks.cloud_project import cloud_project


@pytest.fixture
def google() -> Iterator[DataManager]:
    with data_manager() as server:
        yield server


def test_a_load_keeps_the_quota_with_the_other_loads_of_its_project_and_says_how_long_it_takes(
    google: DataManager, tmp_path: Path
) -> None:
    people = people_of(4)
    with Ledger.sqlite(tmp_path / "ledger.db") as ledger:
        load = replace(load_of(people, key_field=None), reserve=LedgerReserve(ledger._database))
        first, second = (destination_of(google, requests_per_minute=1, batch_rows=2) for _ in range(2))
        batch, other = batches_of(people, batch_rows=2)
        first.open(load)
        second.open(load)

        assert [one.code for one in first.send(batch)] == ["req-0001"] * 2
        with pytest.raises(DestinationUnavailableError) as refused:
            second.send(other)
        for one in (first, second):
            one.commit()

    assert "Google's Data Manager API takes 1 requests in 60 s from an account, all its workers" in str(refused.value)
    assert "so the 2 requests that are left take at least 2 min" in str(refused.value)
    assert len(google.taken) == 1


@pytest.mark.parametrize(
    ("extra", "chain", "project"),
    [
        ({}, None, "account_google"),
        ({"project": "acme-ads"}, None, "acme-ads"),
        ({"keyfile_dict": json.dumps({"project_id": "acme-key"}), "project": "acme-ads"}, None, "acme-key"),
        ({"keyfile_dict": "no JSON", "project": "acme-ads"}, None, "acme-ads"),
        ({"project": "acme-ads"}, "retl@acme-run.iam.gserviceaccount.com", "acme-run"),
        ({}, ["a@acme-a.iam.gserviceaccount.com", "b@acme-b.iam.gserviceaccount.com"], "acme-b"),
        ({"impersonation_chain": "a@acme-a.iam.gserviceaccount.com"}, None, "acme-a"),
        ({"project": "acme-ads"}, "1234@developer.example", "acme-ads"),
    ],
)
def test_the_quota_is_of_the_project_whose_credentials_call(
    extra: dict[str, Any], chain: Any, project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "google_cloud_platform", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ACCOUNT_GOOGLE", json.dumps(connection))

    assert cloud_project("account_google", chain) == project
