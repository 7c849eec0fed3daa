"""A small model whose phone numbers are guarded by a category, its loads, and the fast lane of its withdrawals."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.servers import Receiver, receiver

from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToWebhookOperator,
    PropagateWithdrawalsOperator,
)

POLICY: dict[str, Any] = {
    "unmapped_destinations": "deny",
    "categories": [
        {"id": "C0004", "name": "Advertising", "destinations": ["ads"]},
        {"id": "C0005", "name": "Telephone", "fields": {"ads": ["phone"]}},
    ],
}
_PHONE = {"class": "phone", "aliases": ["phone_e164", "tel"]}
ALIASES = POLICY | {
    "categories": [POLICY["categories"][0], {"id": "C0005", "name": "Telephone", "fields": {"ads": [_PHONE]}}]
}
FIELDS = {"id": "id", "phone": "phone_e164"}


class World:
    """Three people, whose phone may be sent or not, and their loads.

    Args:
        path: a folder of the test's own.
        monkeypatch: sets the connections.
    """

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.workspace = f"file://{path}/workspace"
        # By destination, the categories whose answers a load tells.
        self.told: dict[str, list[str]] = {}
        source = {"conn_type": "sqlite", "host": str(path / "source.db")}
        monkeypatch.setenv("AIRFLOW_CONN_SOURCE", json.dumps(source))
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "file"}))

    def answers(self, *calls_ok: bool | None) -> None:
        """Have the model hold one person for each answer about the phone; everyone permits advertising."""
        with closing(sqlite3.connect(self.path / "source.db")) as connection:
            connection.execute("DROP TABLE IF EXISTS people")
            connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, phone_e164 TEXT, ads_ok, calls_ok)")
            rows = [(number, f"+49{number}", True, answer) for number, answer in enumerate(calls_ok)]
            connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?)", rows)
            connection.commit()

    def permitted(self, *, policy: dict[str, Any] = POLICY, sql: str = "SELECT * FROM people") -> Any:
        """Extract and filter."""
        snapshot = ExtractModelOperator(
            task_id="extract",
            model="people",
            conn_id="source",
            sql=sql,
            primary_key="id",
            column_types={"ads_ok": "bool", "calls_ok": "bool"},
            workspace=self.workspace,
        ).execute({})
        return ConsentFilterOperator(
            task_id="consent",
            snapshot=snapshot,
            policy=policy,
            consent={"C0004": "ads_ok", "C0005": "calls_ok"},
            destinations=["ads"],
            answers=self.told,
            workspace=self.workspace,
        ).execute({})

    def withdraw(self, load: Any, *, policy: dict[str, Any] = POLICY, **more: Any) -> dict[str, Any]:
        """Run the fast lane, and return its counts."""
        served: dict[str, Any] = PropagateWithdrawalsOperator(
            task_id="withdraw",
            model="people",
            conn_id="source",
            sql="SELECT id, ads_ok, calls_ok FROM people",
            primary_key="id",
            policy=policy,
            consent={"C0004": "ads_ok", "C0005": "calls_ok"},
            column_types={"ads_ok": "bool", "calls_ok": "bool"},
            loads={"ads": load},
            **{"settle_s": 0, "lease_wait_s": 0, "workspace": self.workspace, **more},
        ).execute({})
        counts: dict[str, Any] = served["ads"]
        return counts

    def load(
        self, load: Any, *, policy: dict[str, Any] = POLICY, sql: str = "SELECT * FROM people", **more: Any
    ) -> Any:
        """Extract, filter and load."""
        return load(
            task_id="load",
            permitted=self.permitted(policy=policy, sql=sql),
            destination="ads",
            policy=policy,
            settle_s=0,
            workspace=self.workspace,
            **more,
        ).execute({})


@contextmanager
def receiving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """Run a receiver behind the connection `hook`."""
    with receiver() as server:
        extra = {"allow_private": True}
        connection = {"conn_type": "http", "host": "127.0.0.1", "port": server.port, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps(connection))
        yield server


def webhook(**options: Any) -> Any:
    return partial(LoadToWebhookOperator, conn_id="hook", endpoint="/people", **options)
