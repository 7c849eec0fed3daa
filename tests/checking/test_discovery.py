"""The finder on real tables: each shape of consent record is found, read by the law, and doubted where it deceives."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.discovered import CANARY, CASES, POLICY, ROWS, column_types, duckdb_table, postgres_table, sqlite_table
from support.postgres import Postgres

from airflow_consent_retl.checking.discovery.finder import Discovery, discover
from airflow_consent_retl.checking.discovery.proposals import Proposal
from airflow_consent_retl.checking.discovery.recognisers import NEVER_PROPOSED, RECOGNISERS
from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.consent.formats.format_registry import _FORMATS
from airflow_consent_retl.errors import ConfigurationError, ModelError
from airflow_consent_retl.operators.model_source import model_source

Discover = Callable[..., Discovery]


def source(sql: str = "SELECT * FROM people", **given: Any) -> Any:
    parameters: dict[str, Any] = {"hook_params": None, "session_time_zone": None, "column_types": None, **given}
    return model_source(conn_id="warehouse", sql=sql, consent_sources=(), **parameters)


@pytest.fixture(params=["sqlite", "duckdb", "postgres"])
def found(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> Discovery:
    """Look at the table of all shapes in one database."""
    makers: dict[str, Callable[[], str]] = {
        "sqlite": lambda: sqlite_table(tmp_path / "people.db"),
        "duckdb": lambda: duckdb_table(tmp_path / "people.duckdb"),
        "postgres": lambda: postgres_table(postgres),
    }
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", makers[request.param]())
    declared = column_types() if request.param == "sqlite" else None
    return discover(source("SELECT * FROM people;", column_types=declared), policy=parse_policy(POLICY))


def named(found: Discovery, column: str) -> list[Proposal]:
    return [one for one in found.proposals if one.column == column]


def test_each_shape_is_found_and_read_by_the_law(found: Discovery) -> None:
    assert [problem for case in CASES for problem in differences(case, named(found, case["column"]))] == []


def differences(case: dict[str, Any], proposals: list[Proposal]) -> list[str]:
    """Return what differs between a case and the proposals for its column."""
    if case["code"] is None:
        return [f"{one.column}: {one.code or one.format}" for one in proposals]
    if len(proposals) != 1:
        return [f"{case['column']}: {len(proposals)} proposals: {[one.code or one.format for one in proposals]}"]
    one = proposals[0]
    seen = {"code": one.code, "category": one.category, "confidence": one.confidence, "in_draft": one.is_in_draft}
    seen |= {"use": one.use, "reading": one.reading, "doubt": next(iter(_doubts(one, case)), f"only {one.doubts}")}
    return [f"{one.column}: {name} is {seen[name]!r}" for name in seen.keys() & case.keys() if seen[name] != case[name]]


def _doubts(one: Proposal, case: dict[str, Any]) -> list[str]:
    return [case["doubt"] for doubt in one.doubts if case.get("doubt", "") in doubt and "doubt" in case]


def test_what_identifies_people_is_counted_and_not_read(found: Discovery) -> None:
    assert found.primary_key == "user_id"
    assert found.not_read == ("user_id", "email")
    assert (found.rows, found.columns) == (ROWS, len(CASES) + 2)


def test_nothing_of_a_value_is_shown(found: Discovery, caplog: pytest.LogCaptureFixture) -> None:
    shown = repr(found) + json.dumps([one.shapes for one in found.proposals]) + caplog.text
    assert found.draft is not None

    assert CANARY not in shown + found.draft.code


def test_the_canary_is_in_the_rows_that_were_read() -> None:
    """The test above would see it."""
    assert sum(CANARY in str(value) for case in CASES for value in case["values"]) > 5


def test_every_format_has_a_recogniser_or_a_reason() -> None:
    recognised = {name for one in RECOGNISERS for name in one.formats}

    assert recognised | NEVER_PROPOSED.keys() == _FORMATS.keys()
    assert not recognised & NEVER_PROPOSED.keys()


def test_the_sample_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", duckdb_table(tmp_path / "people.duckdb"))
    sql = "SELECT people.*, extra.* FROM people, (SELECT range AS extra_id FROM range(1000)) AS extra"

    with caplog.at_level(logging.DEBUG):
        found = discover(source(sql), rows=50)

    assert found.rows == 50
    assert found.draft is None
    # 24,000 rows have 24 people, so the person's id repeats, and the other id may too.
    assert found.primary_key != "user_id"


@pytest.mark.parametrize("rows", [0, 100_001])
def test_a_sample_of_no_row_or_of_too_many_is_refused(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", duckdb_table(tmp_path / "people.duckdb"))

    with pytest.raises(ConfigurationError, match=r"rows: expected 1 to 100,000"):
        discover(source(), rows=rows)


def test_an_error_of_the_database_quotes_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", duckdb_table(tmp_path / "people.duckdb"))

    with pytest.raises(ModelError) as caught:
        discover(source("SELECT user_id, CAST(ads_consent_notes AS BIGINT) AS ads_ok FROM people"))

    assert CANARY not in str(caught.value)
    assert CANARY not in repr(caught.value.__cause__)


def test_without_a_policy_the_ids_of_platforms_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", duckdb_table(tmp_path / "people.duckdb"))

    found = discover(source("SELECT user_id, ads_ok, cookie FROM people"))

    assert [(one.column, one.category) for one in found.proposals] == [("ads_ok", "C0004"), ("cookie", "")]
    assert found.draft is None
