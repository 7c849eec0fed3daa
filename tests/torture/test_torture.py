"""A short torture: real workers, killed, stopped and overlapped, against a vendor that misbehaves. See `run`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(180)
def test_whatever_happens_everybody_ends_where_they_belong(repo: Path) -> None:
    short = ["--seeds", "1", "--seconds", "8", "--json"]

    ended = subprocess.run(
        [sys.executable, "-m", "torture.run", *short],
        check=False,
        cwd=repo / "tests",
        capture_output=True,
        text=True,
        timeout=170,
    )

    assert ended.stdout, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["violations"] == [], ended.stderr
    assert ended.returncode == 0, ended.stderr
    # There was something to survive, and something to send.
    assert sum(found["kills"].values()) >= 1
    assert sum(found["faults"].values()) >= 5
    assert found["additions"] >= 100
    assert found["removals"] >= 10
