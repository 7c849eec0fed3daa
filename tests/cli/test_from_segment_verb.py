"""`consent-retl from-segment`: its forms, its exit codes, and what it refuses. Other tests are about its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Run

WORKSPACE: dict[str, Any] = {"data": {"models": [], "sources": [], "destinations": [], "subscriptions": []}}
NOTES: dict[str, Any] = {
    "categories": [{"name": "Advertising", "id": "C0004", "destinations": ["Webhooks"]}],
    "models": {},
    "connections": {},
    "destinations": {"Webhooks": "webhook"},
    "loads": {},
}


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    """Write an empty workspace and its notes, and return the arguments that name them."""
    (tmp_path / "workspace.json").write_text(json.dumps(WORKSPACE))
    (tmp_path / "notes.json").write_text(json.dumps(NOTES))
    return (str(tmp_path / "workspace.json"), "--notes", str(tmp_path / "notes.json"))


def test_an_empty_workspace_becomes_a_policy_and_no_dag(run: Run, files: tuple[str, ...], tmp_path: Path) -> None:
    ran = run("from-segment", *files, "--to", str(tmp_path / "migrated"), "--json")

    assert ran.code == 0, ran.err
    assert set(ran.document) == {"policy", "dags", "differences"}
    assert json.loads((tmp_path / "migrated" / "policy.json").read_text()) == ran.document["policy"]
    assert list((tmp_path / "migrated" / "dags").iterdir()) == []


def test_a_model_that_is_left_out_ends_with_1(run: Run, files: tuple[str, ...]) -> None:
    model = {
        "id": "m",
        "sourceId": "s",
        "name": "People",
        "enabled": True,
        "query": "SELECT 1",
        "queryIdentifierColumn": "a",
    }
    Path(files[0]).write_text(json.dumps({"data": {**WORKSPACE["data"], "models": [model]}}))

    ran = run("from-segment", *files, "--markdown")

    assert ran.code == 1
    assert "| model `People`" in ran.out


def test_nothing_is_overwritten_and_what_cannot_be_read_is_named(
    run: Run, files: tuple[str, ...], tmp_path: Path
) -> None:
    taken = run("from-segment", *files, "--to", str(tmp_path))
    missing = run("from-segment", "nowhere.json", *files[1:])

    assert (taken.code, missing.code) == (2, 2)
    assert "exists: name a new folder" in taken.err
    assert "nowhere.json cannot be read" in missing.err
