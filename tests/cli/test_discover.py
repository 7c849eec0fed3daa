"""`consent-retl discover` prints proposals and writes a draft; nothing of a value is in its output or in its logs."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from support.discovered import CANARY, CASES, POLICY, duckdb_table

from .conftest import Run

MODEL = ("--conn-id", "warehouse", "--sql", "SELECT * FROM people")


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Write the warehouse and the policy, and return the option that names it."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", duckdb_table(tmp_path / "people.duckdb"))
    (tmp_path / "policy.json").write_text(json.dumps(POLICY))
    return ("--policy-file", str(tmp_path / "policy.json"))


@pytest.mark.parametrize("form", [(), ("--json",), ("--markdown",)], ids=["plain", "json", "markdown"])
def test_no_form_of_the_output_shows_a_value(
    run: Run, policy: tuple[str, str], form: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    draft = tmp_path / "draft.py"

    with caplog.at_level(logging.DEBUG):
        ran = run("discover", *MODEL, *policy, "--draft", str(draft), *form)

    # Columns that look like consent are not in the draft.
    assert ran.code == 1, ran.err
    assert CANARY not in ran.out + ran.err + caplog.text + draft.read_text()
    assert "ads_ok" in ran.out


def test_the_document_has_the_keys_that_programs_read(run: Run, policy: tuple[str, str]) -> None:
    document = run("discover", *MODEL, *policy, "--json").document

    assert set(document) == {"rows", "columns", "not_read", "primary_key", "proposals", "draft"}
    assert set(document["proposals"][0]) == {
        *("column", "use", "format", "category", "code", "confidence", "reading", "shapes", "doubts")
    }
    assert set(document["draft"]) == {"code", "destinations", "left_out"}
    assert document["columns"] == len(CASES) + 2


def test_a_model_whose_consent_is_clear_ends_with_0_and_its_draft_passes_the_check(
    run: Run, policy: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", f"file:{policy[1]}")
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", f"file://{tmp_path}/workspace")
    draft, sql = str(tmp_path / "draft.py"), "SELECT user_id, email, ads_ok FROM people"

    ran = run("discover", "--conn-id", "warehouse", "--sql", sql, "--draft", draft)

    assert ran.code == 0, ran.out + ran.err
    assert "The draft decides for ads, crm." in ran.out
    assert run("check", draft).code == 0
    # The draft is a DAG file, so it can be looked at itself.
    assert run("discover", draft, "--json").document["primary_key"] == "user_id"


def test_a_model_without_consent_ends_with_1(run: Run, policy: tuple[str, str]) -> None:
    ran = run("discover", "--conn-id", "warehouse", "--sql", "SELECT user_id, is_active FROM people", *policy)

    assert ran.code == 1
    assert "Nothing looks like consent." in ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a model: a DAG file, or --conn-id and --sql"),
        (("nowhere.py",), "nowhere.py does not exist"),
        (("nowhere.py", "--sql", "SELECT 1"), "name the model once"),
        (("--conn-id", "nowhere", "--sql", "SELECT 1 AS id"), "there is no connection `nowhere`"),
        ((*MODEL, "--rows", "0"), "rows: expected 1 to 100,000, found 0"),
        ((*MODEL, "--draft", "draft.py"), "--draft needs a policy"),
        ((*MODEL, "--policy-file", "nowhere.json"), "nowhere.json"),
    ],
)
def test_wrong_use_ends_with_2_and_says_what_to_do(
    run: Run, policy: tuple[str, str], arguments: tuple[str, ...], message: str
) -> None:
    ran = run("discover", *arguments)

    assert ran.code == 2
    assert message in ran.err
    assert ran.out == ""


def test_a_draft_never_replaces_a_file(run: Run, policy: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "draft.py").write_text("mine")

    ran = run("discover", *MODEL, *policy, "--draft", str(tmp_path / "draft.py"))

    assert ran.code == 2
    assert "exists: name a new file" in ran.err
    assert (tmp_path / "draft.py").read_text() == "mine"
