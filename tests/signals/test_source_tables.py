"""The tables of a model's SQL: names by OpenLineage's rules, columns as far as they are known, no literal."""

from __future__ import annotations

import json

import pytest

from airflow_consent_retl.contract.dataset_name import DatasetName, at_uri
from airflow_consent_retl.databases.table_names import table_names
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.signals.source_tables import SourceTables, query_tables

DUCKDB = "duckdb:///srv/shop.duckdb"
CONNECTIONS = {
    "shop": {"conn_type": "duckdb", "host": "/srv/shop.duckdb"},
    "lite": {"conn_type": "sqlite", "host": "/srv/crm.db"},
    "pg": {"conn_type": "postgres", "host": "db.example.com", "schema": "crm"},
    "pg_path": {
        "conn_type": "postgres",
        "host": "db.example.com",
        "port": 6543,
        "schema": "crm",
        "extra": {"options": "-c search_path=sales,public"},
    },
    "snow": {
        "conn_type": "snowflake",
        "login": "u",
        "password": "p",
        "schema": "crm",
        "extra": {"account": "org-acct", "database": "shop", "warehouse": "w"},
    },
}


@pytest.fixture(autouse=True)
def _connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, connection in CONNECTIONS.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


def read(sql: str, conn_id: str = "shop") -> SourceTables:
    return query_tables(sql_hook(conn_id), sql, name="people")


@pytest.mark.parametrize(
    ("conn_id", "named"),
    [
        ("shop", DatasetName(DUCKDB, "shop.main.people")),
        ("lite", DatasetName("sqlite:///srv/crm.db", "main.people")),
        ("pg", DatasetName("postgres://db.example.com:5432", "crm.public.people")),
        ("pg_path", DatasetName("postgres://db.example.com:6543", "crm.sales.people")),
        ("snow", DatasetName("snowflake://org-acct", "SHOP.CRM.PEOPLE")),
    ],
)
def test_a_table_has_the_name_of_openlineages_rules(conn_id: str, named: DatasetName) -> None:
    assert table_names(sql_hook(conn_id)).of("people") == named
    assert read("SELECT user_id FROM people", conn_id).tables == [named]


def test_a_join_names_each_table_and_the_columns_that_it_takes() -> None:
    found = read(
        "SELECT p.user_id, upper(p.name) AS n, o.total FROM people p JOIN sales.orders o ON o.person = p.user_id"
    )

    people, orders = DatasetName(DUCKDB, "shop.main.people"), DatasetName(DUCKDB, "shop.sales.orders")
    assert found.tables == [people, orders]
    assert found.columns == {"user_id": [(people, "user_id")], "n": [(people, "name")], "total": [(orders, "total")]}
    assert found.whole is None


@pytest.mark.parametrize(
    ("sql", "is_whole"),
    [
        ("SELECT * FROM people ORDER BY user_id", True),
        ("SELECT * FROM people, orders", False),
        ("SELECT *, 1 AS one FROM people", False),
        ("SELECT * FROM people WHERE user_id IN (SELECT person FROM orders)", False),
        ("SELECT * FROM people UNION ALL SELECT * FROM people", False),
    ],
)
def test_a_star_of_one_table_is_the_whole_table(sql: str, is_whole: bool) -> None:
    assert (read(sql).whole is not None) == is_whole


@pytest.mark.parametrize("sql", ["SELEC * FRO people", "", "SELECT 1", "SELECT * FROM read_parquet('/srv/x.parquet')"])
def test_a_query_without_known_tables_is_itself_a_dataset(sql: str) -> None:
    assert read(sql).tables == [DatasetName(DUCKDB, "query people")]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM people WHERE email = 'bob@example.com' AND code IN ('bob', 'x''bob') AND zip <> 'bob'",
        "SELECT 'bob' AS n FROM people -- not bob\n WHERE name LIKE 'bob%' /* bob */",
        "SET memory_limit = 'bob'; SELECT * FROM people WHERE born > DATE 'bob' AND name = e'bob'",
        "SELECT $$bob$$ AS n FROM people",
        "SELECT * FROM people WHERE 'bob' = name; garbage 'bob' (",
    ],
)
def test_no_literal_and_no_comment_of_the_query_is_told(sql: str) -> None:
    assert "bob" not in read(sql).sql


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("file:///srv/exports/lake", DatasetName("file", "/srv/exports/lake")),
        ("s3://aws_default@bucket/a/b", DatasetName("s3://bucket", "a/b")),
        ("gs://bucket", DatasetName("gs://bucket", "/")),
    ],
)
def test_a_folder_has_the_name_of_its_storage(uri: str, name: DatasetName) -> None:
    assert at_uri(uri) == name
