"""A real PostgreSQL with a model of customers, and a staging schema beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.postgres import Postgres, postgres
from support.warehouse_sync import WORKSPACES, Sync

__all__ = ["postgres"]

CUSTOMERS = """
DROP SCHEMA IF EXISTS staging CASCADE;
CREATE SCHEMA staging;
DROP TABLE IF EXISTS customers;
CREATE TABLE customers (
    id text, email text, ok boolean, ads char(4), level int, doc jsonb, prefs text, spent numeric, seen timestamptz
);
INSERT INTO customers
SELECT 'c' || n, 'canary-' || n || '@example.com',
    CASE n % 5 WHEN 0 THEN NULL ELSE n % 5 < 3 END,
    CASE n % 7 WHEN 0 THEN NULL WHEN 1 THEN 'no' WHEN 2 THEN 'Yes' ELSE 'yes' END,
    n % 4,
    CASE n % 9
        WHEN 0 THEN NULL WHEN 1 THEN 'null' WHEN 2 THEN '[]' WHEN 3 THEN '{}' WHEN 4 THEN '{"p": {"C4": "true"}}'
        WHEN 5 THEN '{"p": {"C4": false}}' WHEN 6 THEN '{"p": null}' WHEN 7 THEN '{"p": 1}'
        ELSE '{"p": {"C4": true, "at": "2026"}}'
    END::jsonb,
    CASE n % 6
        WHEN 0 THEN '{"C5": true, "C5": true}' WHEN 1 THEN '{"C5": true,}' WHEN 2 THEN NULL
        WHEN 3 THEN '{"C5": 1}' ELSE '{"C5": true}'
    END,
    n / 100.0, timestamptz '2026-01-01 00:00:00+02' + n * interval '1 microsecond'
FROM generate_series(1, 2000) n;
"""


@pytest.fixture
def customers(postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Postgres:
    """Connection `pg` with a fresh model, and a workspace of the test's own."""
    with postgres.connect() as connection:
        connection.execute(CUSTOMERS)
    monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    return postgres


@pytest.fixture
def syncs(customers: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Sync]:
    return [Sync(kind, tmp_path, monkeypatch) for kind in WORKSPACES]


@pytest.fixture
def change(customers: Postgres) -> Callable[[str], None]:
    def run(statements: str) -> None:
        with customers.connect() as connection:
            connection.execute(statements)

    return run
