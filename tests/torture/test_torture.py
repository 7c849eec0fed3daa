"""A short torture: real workers, killed, stopped and overlapped, against a vendor that misbehaves. See `run`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.long
@pytest.mark.timeout(180)
def test_whatever_happens_everybody_ends_where_they_belong(repo: Path) -> None:
    found = tortured(repo, "--seconds", "8")

    # There was something to survive, and something to send.
    assert sum(found["kills"].values()) >= 1
    assert sum(found["faults"].values()) >= 5
    assert found["additions"] >= 100
    assert found["removals"] >= 10


@pytest.mark.long
@pytest.mark.timeout(180)
def test_with_a_workspace_in_object_storage_a_killed_load_is_resumed(repo: Path) -> None:
    steps = ["changes_published", "answered", "folded"]

    found = tortured(repo, "--workspace", "gs", "--kill-at", *steps)

    assert found["kills"] == dict.fromkeys(steps, 1)
    assert found["additions"] >= 100
    assert found["removals"] >= 10


def tortured(repo: Path, *options: str) -> dict[str, Any]:
    ended = subprocess.run(
        [sys.executable, "-m", "torture.run", "--seeds", "1", "--json", *options],
        check=False,
        cwd=repo / "tests",
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert ended.stdout, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert found["violations"] == [], ended.stderr
    assert ended.returncode == 0, ended.stderr
    return found
