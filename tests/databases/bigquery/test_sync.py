"""Consent decided inside BigQuery ends as it does in files: the same people, counts and changes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.bigquery_server import BigQuery

from airflow_consent_retl.consent import ConsentObjectKey
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    DropStagingTablesOperator,
    ExtractModelOperator,
    LoadToSqlTableOperator,
)

POLICY = {
    "categories": [
        {"id": "C1", "name": "Boolean", "destinations": ["crm"]},
        {"id": "C4", "name": "Native", "destinations": ["other"]},
    ]
}
CONSENT: dict[str, Any] = {"C1": "ok", "C4": ConsentObjectKey("doc", path=("p", "C4"))}
FIELDS = {"id": "id", "email": "email", "spent": "spent", "seen": "seen"}
CUSTOMERS = """
CREATE TABLE shop.customers AS
SELECT n AS id, CONCAT('p', n, '@example.com') AS email,
    CAST(n AS NUMERIC) / 4 AS spent, TIMESTAMP_ADD(TIMESTAMP '2026-01-01 00:00:00+00', INTERVAL n SECOND) AS seen,
    CASE MOD(n, 5) WHEN 0 THEN NULL WHEN 1 THEN FALSE ELSE TRUE END AS ok,
    PARSE_JSON(CASE MOD(n, 4) WHEN 0 THEN '{"p": {"C4": true}}' WHEN 1 THEN '{"p": {"C4": "true"}}'
        WHEN 2 THEN '{"p": {}}' ELSE '[true]' END) AS doc
FROM UNNEST(GENERATE_ARRAY(1, 200)) AS n
"""
WORKSPACES = ("lake", "warehouse")


class Sync:
    """The same model, kept up at one table of SQLite by way of files, or of BigQuery."""

    def __init__(self, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kind = kind
        self.file = folder / f"{kind}.db"
        self.workspace = (folder / kind).as_uri()
        self.monkeypatch = monkeypatch
        self.snapshot: Any = None
        self.permitted: Any = None
        monkeypatch.setenv(f"AIRFLOW_CONN_{kind.upper()}", json.dumps({"conn_type": "sqlite", "host": str(self.file)}))

    def run(self) -> dict[str, Any]:
        self.monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", self.workspace)
        self.snapshot = ExtractModelOperator(
            task_id="extract",
            model="customers",
            conn_id="bq",
            sql="SELECT * FROM shop.customers -- everybody",
            primary_key="id",
            workspace="warehouse:staging" if self.kind == "warehouse" else None,
        ).execute({})
        self.permitted = ConsentFilterOperator(
            task_id="consent",
            snapshot=self.snapshot,
            policy=POLICY,
            consent=CONSENT,
            destinations=["crm", "other"],
        ).execute({})
        counts: dict[str, Any] = LoadToSqlTableOperator(
            task_id="load",
            permitted=self.permitted,
            destination="crm",
            conn_id=self.kind,
            table="people",
            policy=POLICY,
            fields=FIELDS,
            max_removed_ratio=None,
        ).execute({})
        # The moment is of the filter's run.
        return {name: value for name, value in counts.items() if name not in {"decided_at", "data_time"}}

    def people(self) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.file)) as connection:
            return connection.execute("SELECT * FROM people ORDER BY id").fetchall()


@pytest.fixture
def syncs(bigquery: BigQuery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sync]:
    bigquery.run("CREATE SCHEMA shop", "CREATE SCHEMA staging", CUSTOMERS)
    return [Sync(kind, tmp_path, monkeypatch) for kind in WORKSPACES]


@pytest.mark.long
def test_both_workspaces_permit_deliver_and_change_the_same(syncs: list[Sync], bigquery: BigQuery) -> None:
    lake, staged = syncs

    first = [sync.run() for sync in syncs]
    bigquery.run(
        "UPDATE shop.customers SET spent = spent + 1 WHERE MOD(id, 10) = 2",
        "UPDATE shop.customers SET ok = FALSE WHERE MOD(id, 10) = 3",
        "DELETE FROM shop.customers WHERE MOD(id, 10) = 4",
    )
    second = [sync.run() for sync in syncs]
    third = [sync.run() for sync in syncs]

    assert first[0] == first[1]
    assert (first[0]["added"], second[0]["updated"], second[0]["removed"]) == (120, 20, 40)
    assert second[0] == second[1]
    assert third[0] == third[1]
    assert lake.people() == staged.people()
    assert len(lake.people()) == 80


def test_a_teardown_leaves_only_who_was_delivered(syncs: list[Sync], bigquery: BigQuery) -> None:
    staged = syncs[1]
    staged.run()

    dropped = DropStagingTablesOperator(
        task_id="drop", conn_id="bq", schema="staging", snapshot=staged.snapshot, permitted=staged.permitted
    ).execute({})

    assert dropped["dropped"] == 5
    left = [row["table_name"] for row in bigquery.run("SELECT table_name FROM staging.INFORMATION_SCHEMA.TABLES")]
    assert sorted(name.split("_")[3] for name in left) == ["delivered", "recorded"]
