"""The draft of the finder: `check` accepts it, it runs, and it never permits more than each record that it found."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.discovered import CANARY

from airflow_consent_retl.checking.dag_check import check_dags
from airflow_consent_retl.checking.discovery.finder import Discovery, discover
from airflow_consent_retl.checking.findings import TaskFindings
from airflow_consent_retl.checking.rendering import rendered
from airflow_consent_retl.cli.dag_files import tasks_of
from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator
from airflow_consent_retl.operators.model_source import model_source
from airflow_consent_retl.storage.opening import open_permitted

COOKIE = "isGpcEnabled=0&groups=C0001%3A1%2CC0004%3A{}%2CC0002%3A1"


class Warehouse:
    """A SQLite file with one table, a policy, and what the finder makes of them."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": f"{path}/w.db"}))
        monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", f"file://{path}/workspace")
        monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", f"file:{path}/policy.json")
        self.policy: dict[str, Any] = {
            "unmapped_destinations": "deny",
            "categories": [
                {"id": "C0004", "name": "Advertising", "destinations": ["ads"]},
                {"id": "C0002", "name": "Analytics", "destinations": ["lake"]},
            ],
        }

    def table(self, columns: str, *rows: tuple[object, ...]) -> None:
        with closing(sqlite3.connect(self.path / "w.db")) as connection:
            connection.execute(f"CREATE TABLE people (user_id INTEGER, email TEXT, {columns})")
            for number, row in enumerate(rows, start=1):
                values = (number, f"{CANARY}{number}@x.example", *row)
                connection.execute(f"INSERT INTO people VALUES ({', '.join('?' * len(values))})", values)
            connection.commit()

    def found(self, sql: str = "SELECT * FROM people") -> Discovery:
        (self.path / "policy.json").write_text(json.dumps(self.policy))
        given: dict[str, Any] = {"hook_params": None, "session_time_zone": None, "column_types": None}
        source = model_source(conn_id="warehouse", sql=sql, consent_sources=(), **given)
        return discover(source, model="people", policy=parse_policy(self.policy))

    def drafted(self, sql: str = "SELECT * FROM people") -> str:
        """Return the file of the draft, which `check` accepts."""
        found = self.found(sql)
        assert found.draft is not None
        file = self.path / "draft.py"
        file.write_text(found.draft.code)
        report = check_dags([str(file)])
        assert [f"{one.path}: {one.message}" for one in report.problems] == [], found.draft.code
        assert report.tasks == 2
        return str(file)

    def permitted(self, file: str) -> dict[str, int]:
        """Run the draft's tasks, and return how many rows each destination may receive."""
        (extract,) = tasks_of(file, None, ExtractModelOperator, "extraction")
        (consent,) = tasks_of(file, None, ConsentFilterOperator, "filter")
        consent.snapshot = extract.run({})
        consent.max_denied_ratio = 1.0
        manifest = open_permitted(consent.run({})).manifest
        return {name: counts.permitted for name, counts in manifest.destinations.items()}


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    return Warehouse(tmp_path, monkeypatch)


def test_the_draft_of_two_columns_runs_and_leaves_out_what_it_cannot_decide(warehouse: Warehouse) -> None:
    warehouse.policy["categories"].append({"id": "sale", "name": "Sale", "destinations": ["broker"]})
    warehouse.table("ads_consent TEXT, analytics_consent TEXT", ("yes", "yes"), ("no", "yes"), (None, "no"))

    file = warehouse.drafted()

    assert "# `broker` is left out: no column was found for sale" in Path(file).read_text()
    assert warehouse.permitted(file) == {"ads": 1, "lake": 2}


def test_of_several_records_each_has_to_grant(warehouse: Warehouse) -> None:
    rows = [("yes", COOKIE.format(1)), ("yes", COOKIE.format(0)), ("no", COOKIE.format(1)), (None, COOKIE.format(1))]
    warehouse.table("ads_consent TEXT, cookie TEXT", *rows)

    file = warehouse.drafted()

    assert "`C0004` has several records" in " ".join(Path(file).read_text().replace("#", "").split())
    assert warehouse.permitted(file) == {"ads": 1, "lake": 4}


def test_an_objection_comes_before_a_yes(warehouse: Warehouse) -> None:
    rows = [("yes", "true"), ("yes", "false"), ("yes", None), ("no", "false")]
    warehouse.table("ads_consent TEXT, ads_opt_out TEXT, analytics_consent TEXT", *((*row, "yes") for row in rows))

    file = warehouse.drafted()

    assert "FirstOf(\n" in Path(file).read_text()
    assert warehouse.permitted(file) == {"ads": 2, "lake": 4}


def test_an_objection_among_several_records_still_denies(warehouse: Warehouse) -> None:
    rows = [("yes", "false", 1), ("yes", "true", 1), ("yes", "false", 0)]
    warehouse.table("ads_consent TEXT, ads_opt_out TEXT, cookie TEXT", *((a, b, COOKIE.format(c)) for a, b, c in rows))

    file = warehouse.drafted()

    assert warehouse.permitted(file)["ads"] == 1


def test_the_columns_that_the_policy_asks_for_are_in_the_draft(warehouse: Warehouse) -> None:
    warehouse.policy["categories"] = [
        {
            "id": "C0004",
            "name": "Advertising",
            "destinations": ["ads"],
            "max_age": "13 months",
            "regions": {"US": "opt_out"},
        }
    ]
    time = "2026-11-01T10:00:00Z"
    warehouse.table("ads_consent TEXT, consent_at TEXT, country TEXT", ("yes", time, "DE"), ("no", time, "US"))

    text = Path(warehouse.drafted()).read_text()

    assert 'time="consent_at",' in text
    assert 'region="country",' in text


def test_one_format_of_all_categories_stands_alone(warehouse: Warehouse) -> None:
    warehouse.table("cookie TEXT", (COOKIE.format(1),), (COOKIE.format(0),))

    file = warehouse.drafted()

    assert 'consent=OptanonConsent("cookie"),' in Path(file).read_text()
    assert warehouse.permitted(file) == {"ads": 1, "lake": 2}


def test_templates_in_the_query_stay_text(warehouse: Warehouse) -> None:
    warehouse.table("ads_consent TEXT, analytics_consent TEXT", ("yes", "yes"))
    sql = "SELECT *, '{{ ds }}' AS note FROM people"

    (extract,) = tasks_of(warehouse.drafted(sql), None, ExtractModelOperator, "extraction")

    assert rendered(extract, TaskFindings("discovered", "extract")).sql == sql


def test_rows_of_one_category_each_are_a_source_and_no_model(warehouse: Warehouse) -> None:
    events = [(1, "C0004", "ACTIVE"), (1, "C0004", "WITHDRAWN"), (2, "C0004", "PENDING")]
    with closing(sqlite3.connect(warehouse.path / "w.db")) as connection:
        connection.execute(
            "CREATE TABLE consent_updated (user_id INTEGER, purpose_id TEXT, status TEXT, timestamp TEXT)"
        )
        rows = [(*event, f"2026-11-01T10:00:0{second}Z") for second, event in enumerate(events)]
        connection.executemany("INSERT INTO consent_updated VALUES (?, ?, ?, ?)", rows)
        connection.commit()

    found = warehouse.found("SELECT * FROM consent_updated")

    (source,) = [one for one in found.proposals if one.use == "consent source"]
    assert source.code == (
        'ConsentSource("SELECT * FROM consent_updated", subject="user_id", time="timestamp", category="purpose_id", '
        'value="status", columns={"C0002": "c0002", "C0004": "c0004"})'
    )
    assert "2 different values in 3 rows" in source.doubts[0]
    assert found.needs_a_person
    assert found.primary_key == ""


def test_segments_preference_events_are_a_source(warehouse: Warehouse) -> None:
    column = "context_consent_category_preferences_c0004"
    with closing(sqlite3.connect(warehouse.path / "w.db")) as connection:
        connection.execute(f"CREATE TABLE events (id TEXT, user_id TEXT, timestamp TEXT, {column} INTEGER)")
        rows = [(f"e{n}", f"u{n % 2}", f"2026-11-01T10:00:0{n}Z", n % 2) for n in range(4)]
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", rows)
        connection.commit()

    found = warehouse.found("SELECT * FROM events")

    (source,) = [one for one in found.proposals if one.use == "consent source"]
    assert source.code == (
        'segment_preference_events("SELECT * FROM events", categories={"C0004": "c0004"}, subject="user_id")'
    )
