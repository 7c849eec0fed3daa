"""The written tests and the macro by the real dbt on a real PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.airflow_run import DAGS
from support.dbt_project import DbtProject
from support.people import people
from support.postgres import Postgres, postgres

from airflow_consent_retl.cli.app import main

__all__ = ["postgres"]

# Every type that the macro tells apart, in the types of PostgreSQL; a problem of each kind.
BY_HAND = """  - name: answers
    data_tests:
      - consent_retl:
          name: fits
          arguments:
            columns:
              YES_NO: {types: [boolean]}
              small: {types: [integer], values: [0, 1]}
              big: {types: [integer]}
              word: {types: [text], values: ["it's a yes", "no"], max_null_share: 0.5}
              fixed: {types: [text]}
              document: {types: [json]}
              plain_document: {types: [json]}
      - consent_retl:
          name: unfit
          arguments:
            columns:
              gone: {types: [text]}
              yes_no: {types: [text]}
              at: {types: [text, integer, boolean, json]}
              word: {types: [text], values: ["no"], max_null_share: 0.1}
"""
ANSWERS = """
select true as yes_no, 1::smallint as small, 1::bigint as big, 'it''s a yes'::varchar(20) as word,
    'x'::char(3) as fixed, '{}'::jsonb as document, '{}'::json as plain_document, now() as at
union all select false, 0::smallint, 2::bigint, null, 'y'::char(3), null, null, now()
"""


@pytest.fixture
def shop(tmp_path: Path, postgres: Postgres) -> DbtProject:
    """Return a project with the people of the end-to-end tests in PostgreSQL, not built yet."""
    project = DbtProject.copied(tmp_path, postgres)
    with postgres.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA raw")
        cursor.execute(
            "CREATE TABLE raw.people (user_id TEXT, email TEXT, name TEXT, analytics_ok BOOLEAN, ads TEXT, "
            "preferences TEXT)"
        )
        cursor.executemany("INSERT INTO raw.people VALUES (%s, %s, %s, %s, %s, %s)", [one.row for one in people()])
    (project.folder / "models" / "answers.sql").write_text(ANSWERS)
    return project


@pytest.mark.long
def test_the_tests_find_on_postgresql_what_they_find_on_duckdb(shop: DbtProject, postgres: Postgres) -> None:
    (built,) = shop.dbt(["run"])
    assert built.success, built
    assert main(["dbt-tests", "--project", str(shop.folder), "--policy-file", str(DAGS / "policy.json")]) == 0
    described = shop.folder / "models" / "shop.yml"
    described.write_text(described.read_text().replace("  - name: orders\n", f"{BY_HAND}\n  - name: orders\n"))

    written, by_hand = shop.dbt(["test", "--select", "test_type:singular"], ["test", "--select", "fits", "unfit"])

    # As on DuckDB: see `e2e/test_dbt.py`.
    assert {name: tuple(result)[:2] for name, result in written.results.items()} == {
        "consent_retl_accounts_v1": ("pass", 0),
        "consent_retl_accounts_v2": ("pass", 0),
        "consent_retl_customers": ("fail", 1),
    }
    # A column that is gone, two of other types, a value that no mapping knows, and too many without a value.
    assert {name: tuple(result)[:2] for name, result in by_hand.results.items()} == {
        "fits": ("pass", 0),
        "unfit": ("fail", 5),
    }

    with postgres.connect() as connection:
        connection.execute("DELETE FROM raw.people WHERE ads NOT IN ('yes', 'no')")
    _, passed = shop.dbt(["run"], ["test", "--select", "test_type:singular"])
    assert passed.success, passed
