"""The command run in this process, and a deployment with one sync for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.crm_sync import POLICY, CrmSync
from support.log_lines import unwrapped

from airflow_consent_retl.cli.app import main


@dataclass(frozen=True, slots=True)
class Ran:
    """An exit code, and what was printed."""

    code: int
    out: str
    err: str
    """Without the line ends that make its lines fit."""
    shown_err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that types a command."""

    def typed(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        out, err = capsys.readouterr()
        return Ran(code, out, unwrapped(err), err)

    return typed


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    """Set up a deployment: its settings, its policy in a file, and one model with three people, one of whom said no."""
    deployed = CrmSync(tmp_path, monkeypatch)
    deployed.people(1, 2, no=(3,))
    (tmp_path / "policy.json").write_text(json.dumps(POLICY))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", deployed.workspace)
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", f"file:{tmp_path}/policy.json")
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__ALLOW_DAG_POLICIES", "True")
    return deployed
