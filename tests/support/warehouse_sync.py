"""Syncs of one model to a table of SQLite, through files and through a warehouse."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.postgres import Postgres

from airflow_consent_retl.consent import ConsentObjectKey
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToSqlTableOperator,
    PropagateWithdrawalsOperator,
    RetireSyncOperator,
)

POLICY = {
    "categories": [
        {"id": "C1", "name": "Boolean", "destinations": ["crm"]},
        {"id": "C4", "name": "Native", "destinations": ["other"]},
    ]
}
CONSENT: dict[str, Any] = {"C1": "ok", "C4": ConsentObjectKey("doc", path=("p", "C4"))}
FIELDS = {"id": "id", "email": "email", "spent": "spent", "seen": "seen"}
WORKSPACES = ("lake", "warehouse")


class Sync:
    """A sync of the model to one table of SQLite, through files or through a warehouse."""

    def __init__(self, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kind = kind
        self.file = folder / f"{kind}.db"
        self.workspace = (folder / kind).as_uri()
        self.monkeypatch = monkeypatch
        self.consent = CONSENT
        self.told: dict[str, list[str]] = {}
        monkeypatch.setenv(f"AIRFLOW_CONN_{kind.upper()}", json.dumps({"conn_type": "sqlite", "host": str(self.file)}))

    def permit(
        self,
        policy: Any = POLICY,
        *,
        sql: str = "SELECT * FROM customers -- everybody",
        max_released_ratio: Any = "default",
    ) -> Any:
        self.monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", self.workspace)
        snapshot = ExtractModelOperator(
            task_id="extract",
            model="customers",
            conn_id="pg",
            sql=sql,
            primary_key="id",
            workspace="warehouse:staging" if self.kind == "warehouse" else None,
        ).execute({})
        return ConsentFilterOperator(
            task_id="consent",
            snapshot=snapshot,
            policy=policy,
            consent=self.consent,
            destinations=["crm", "other"],
            answers=self.told,
            max_released_ratio=max_released_ratio,
        ).execute({})

    def load(self, permitted: Any, policy: Any = POLICY, **parameters: Any) -> dict[str, Any]:
        self.monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", self.workspace)
        settings: dict[str, Any] = {"fields": FIELDS, "max_removed_ratio": None, **parameters}
        counts: dict[str, Any] = LoadToSqlTableOperator(
            task_id="load",
            permitted=permitted,
            destination="crm",
            conn_id=self.kind,
            table="people",
            policy=policy,
            **settings,
        ).execute({})
        # The times of the filter's run and of the extraction differ between the two.
        return {name: value for name, value in counts.items() if name not in {"decided_at", "data_time"}}

    def run(
        self, policy: Any = POLICY, *, sql: str = "SELECT * FROM customers -- everybody", **parameters: Any
    ) -> dict[str, Any]:
        return self.load(self.permit(policy, sql=sql, max_released_ratio=None), policy, **parameters)

    def withdraw(self, **parameters: Any) -> dict[str, Any]:
        self.monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", self.workspace)
        served: dict[str, Any] = PropagateWithdrawalsOperator(
            task_id="withdraw",
            **{
                "model": "customers",
                "conn_id": "pg",
                "sql": "SELECT * FROM customers",
                "primary_key": "id",
                "policy": POLICY,
                "consent": self.consent,
                "loads": {"crm": partial(LoadToSqlTableOperator, conn_id=self.kind, table="people", fields=FIELDS)},
                "withdrawn_at": "seen",
                **parameters,
            },
        ).execute({})
        counts: dict[str, Any] = served["crm"]
        return counts

    def retire(self) -> dict[str, Any]:
        self.monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", self.workspace)
        counts: dict[str, Any] = RetireSyncOperator(
            task_id="retire",
            model="customers",
            destination="crm",
            load=partial(LoadToSqlTableOperator, conn_id=self.kind, table="people", fields=FIELDS),
            settle_s=0,
        ).execute({})
        return counts

    def people(self) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.file)) as connection:
            return connection.execute("SELECT * FROM people ORDER BY id").fetchall()


def in_staging(customers: Postgres) -> list[str]:
    with customers.connect() as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'staging'").fetchall()
    return sorted(str(name).split("_")[3] for (name,) in found)
