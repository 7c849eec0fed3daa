"""A destination over HTTP keeps the vendor's limit on its account together with the other workers of the ledger."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from destinations.http.acme_crm import AcmeCrmDestination, AcmeCrmSpec
from support.loading import load_of
from support.log_lines import unwrapped
from support.syncing import SyncBench, consenting, verified
from support.vendor_server import Asked, Reply, vendor_server

from airflow_consent_retl.contract import AccountRate, DestinationSpec
from airflow_consent_retl.contract.account_rate import LocalReserve, RateBlock
from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.account_rates import LedgerReserve
from airflow_consent_retl.destinations.braze.options import BrazeSpec
from airflow_consent_retl.destinations.customerio.options import CustomerioSpec
from airflow_consent_retl.destinations.http.account_pace import AccountPace
from airflow_consent_retl.destinations.http.address import http_address
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.pace import Pace
from airflow_consent_retl.destinations.hubspot.options import HubSpotSpec
from airflow_consent_retl.destinations.iterable.options import IterableSpec
from airflow_consent_retl.destinations.klaviyo.options import KlaviyoSpec
from airflow_consent_retl.errors import DestinationUnavailableError
from airflow_consent_retl.hooks.lookups import connection_named

RATE = AccountRate(account="token-5c0e", requests=4, period_s=1.5, vendor="Acme")


class LimitedCrm(AcmeCrmDestination):
    requests_per_s = None

    def account_rates(self) -> tuple[AccountRate, ...]:
        return (RATE,)


def test_a_load_waits_for_the_requests_that_another_worker_reserved_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    times: list[float] = []

    def crm(asked: Asked) -> Reply:
        times.append(time.monotonic())
        return Reply(200, {"results": [{"status": "ok"} for _ in asked.document["rows"]]})

    bench = SyncBench(tmp_path)
    permitted = verified(bench.filtered(consenting(3)), fields={"id": "id"})
    with vendor_server(crm) as server:
        connection = {"conn_type": "http", "host": server.url, "extra": {"allow_private": True}}
        monkeypatch.setenv("AIRFLOW_CONN_ACME", json.dumps(connection))
        address = http_address(connection_named("acme"), endpoint="/contacts")
        destination = LimitedCrm(address, AcmeCrmSpec(conn_id="acme", batch_rows=1, timeout_s=10))
        assert destination.limits.account_rates == (RATE,)
        with Ledger.sqlite(tmp_path / "ledger.db") as ledger:
            other = AccountPace(Pace(), [RATE], LedgerReserve(ledger._database), requests=4)
            reserved_at = time.monotonic()
            for _ in range(4):
                other.wait(at_most_s=10)
            report = bench.load(permitted, destination)

    assert report.sent.accepted == 3
    assert min(times) - reserved_at > RATE.period_s
    (news,) = [unwrapped(one.getMessage()) for one in caplog.records if "bounds the load" in one.getMessage()]
    assert news.startswith("Acme takes 4 requests in 1.5 s from an account, all its workers together")
    assert "token-5c0e" not in caplog.text


def test_a_limit_a_second_is_the_accounts_too_and_the_account_is_known_by_its_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = SyncBench(tmp_path)
    permitted = verified(bench.filtered(consenting(3)), fields={"id": "id"})
    with vendor_server(lambda asked: Reply(200, {"results": [{"status": "ok"}] * 3})) as server:
        extra = {"allow_private": True, "token": "token-5c0e"}
        monkeypatch.setenv("AIRFLOW_CONN_ACME", json.dumps({"conn_type": "http", "host": server.url, "extra": extra}))
        bench.load(permitted, AcmeCrmSpec(conn_id="acme").build())
        same, other = AcmeCrmSpec(conn_id="acme"), {**extra, "token": "token-77aa"}
        address = http_address(connection_named("acme"), endpoint="/elsewhere")
        monkeypatch.setenv("AIRFLOW_CONN_ACME", json.dumps({"conn_type": "http", "host": server.url, "extra": other}))

        assert same.build()._address.account != address.account
        assert address.account == address.at("/contacts").account
    with sqlite3.connect(tmp_path / "ledger.db") as ledger:
        ((stored,),) = ledger.execute("SELECT used FROM consent_retl_account_rates").fetchall()
    ledger.close()
    assert list(json.loads(stored).values()) == [1]


def test_a_purpose_has_limits_of_its_own_in_place_of_the_destinations() -> None:
    everything = AccountRate(account="a", requests=1, period_s=900, vendor="Acme")
    exports = AccountRate(account="a", requests=2, period_s=900, vendor="Acme's export")
    pace = AccountPace(Pace(), [everything], LocalReserve(), requests=9)

    kinds: list[list[AccountRate] | None] = [None, [exports], [exports], []]
    for rates in kinds:
        pace.wait(at_most_s=1, rates=rates)
    for rates in kinds[:2]:
        with pytest.raises(AttemptError, match="over_account_rate"):
            pace.wait(at_most_s=1, rates=rates)


@pytest.mark.parametrize(
    ("spec", "key", "limit", "left"),
    [
        (HubSpotSpec(hub_id="1", on_withdrawal="archive"), "email", "HubSpot takes 100 requests in 10 s", "3 min"),
        (
            KlaviyoSpec(account_id="1", on_withdrawal="suppress"),
            "external_id",
            "Klaviyo takes 10 requests in 1 s",
            "2 s",
        ),
        (
            BrazeSpec(workspace_name="w", on_withdrawal="delete"),
            "external_id",
            "Braze takes 3,000 requests in 3 s of its clock",
            "3 s",
        ),
        (
            IterableSpec(project_id=7, on_withdrawal="delete", known_by="email"),
            "email",
            "Iterable takes 5 requests in 1 s",
            "40 s",
        ),
        (
            CustomerioSpec(workspace_id=7, on_withdrawal="delete"),
            "id",
            "Customer.io takes 100 requests in 1 s",
            "2 s",
        ),
    ],
    ids=["hubspot", "klaviyo", "braze", "iterable", "customerio"],
)
def test_each_vendor_with_a_limit_says_how_long_the_requests_that_are_left_take(
    spec: DestinationSpec, key: str, limit: str, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"host": "http://127.0.0.1:9", "login": "site", "password": "key", "extra": {"allow_private": True}}
    for vendor in ("hubspot", "klaviyo", "braze", "iterable", "customerio"):
        named = json.dumps({"conn_type": f"consent{vendor}", **connection})
        monkeypatch.setenv(f"AIRFLOW_CONN_CONSENT{vendor.upper()}_DEFAULT", named)
    rows = pa.table({key: ["a@x.example"]})
    load = replace(
        load_of(rows, key_field=key, rows_sent=200_000), reserve=lambda rate, wanted: RateBlock(0, wait_s=7200)
    )
    destination = spec.build()
    destination.open(load)
    (batch,) = rows.to_batches()

    with pytest.raises(DestinationUnavailableError) as refused:
        destination.send(Batch(key="0" * 64, rows=batch))
    destination.abort()

    assert f"{limit} from an account, all its workers together, and this bounds the load" in str(refused.value)
    assert f"requests that are left take at least {left}" in str(refused.value)
    assert refused.value.retry_after_s == 7200
