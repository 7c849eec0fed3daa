"""The command's help, its forms and its exit codes are the same for all verbs."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from support.crm_sync import CrmSync

from airflow_consent_retl.cli.app import GROUPS
from airflow_consent_retl.cli.verb import VerbGroup
from airflow_consent_retl.progress import LINE

from .conftest import Run

# The interface of the command: verbs, arguments, options. A name that goes away breaks somebody's script.
VERBS = {
    "adopt": "syncs gone unsigned workspace ledger_conn_id",
    "approve": "digest by place note",
    "check": "paths policy_file no_connect strict",
    "dbt-exposures": "file output manifest owner owner_email check",
    "dbt-extract": "output manifest check",
    "dbt-tests": "project policy_file max_null_share check",
    "diff": "before after",
    "discover": "file task conn_id sql policy_file rows draft",
    "doctor": "workspace ledger_conn_id",
    "evidence": "id to model reference workspace ledger_conn_id",
    "explain": "id file snapshot task destinations",
    "forget": "ids file sql conn_id id_column loads models objection exempt lift workspace ledger_conn_id",
    "from-segment": "answers notes to",
    "hand-over": "sync dag to workspace ledger_conn_id",
    "history": "id model workspace ledger_conn_id",
    "lint": "place policy_file snapshot",
    "overrides": "folder",
    "plan": "file task permitted extract show_ids",
    "policy-history": "place",
    "preview": "file task permitted extract rows show_values",
    "proposal": "place",
    "report": "to sync days since until dag run workspace ledger_conn_id",
    "prune": "dry_run conn_id schema exports workspace ledger_conn_id",
    "rejected": "sync ids delivery limit workspace",
    "reset-times": "workspace ledger_conn_id",
    "retire": "sync loads yes workspace ledger_conn_id",
    "send-test": "file record task permitted extract remove",
    "syncs": "workspace ledger_conn_id",
    "verify": "manifest sync since signatures_only workspace",
}


def groups() -> list[VerbGroup]:
    return [import_module(f"airflow_consent_retl.cli.{name}").VERBS for name in GROUPS]


def test_the_verbs_and_their_parameters_are_those_that_scripts_use() -> None:
    declared = {
        name: " ".join(inspect.signature(command).parameters) for group in groups() for name, command, _ in group.verbs
    }

    assert declared == {name: f"{parameters} as_json markdown" for name, parameters in VERBS.items()}


def test_the_help_lists_each_verb_under_its_group(run: Run) -> None:
    shown = run("--help")

    assert shown.code == 0
    assert all(group.title in shown.out for group in groups())
    assert all(f" {name} " in shown.out for name in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_has_an_example_and_the_exit_codes(run: Run, verb: str) -> None:
    shown = run(verb, "--help")

    assert shown.code == 0
    assert f"Example: consent-retl {verb}" in shown.out
    assert "Exit codes: 0 fine, " in shown.out
    assert "--json" in shown.out
    assert "--markdown" in shown.out


def test_every_file_of_verbs_is_in_the_list() -> None:
    folder = Path(inspect.getfile(import_module("airflow_consent_retl.cli"))).parent

    assert {file.stem for file in folder.glob("*.py") if "VERBS = VerbGroup(" in file.read_text()} == set(GROUPS)


def test_wrong_use_ends_with_2_and_one_message(run: Run, crm: CrmSync) -> None:
    unknown, missing = run("synks"), run("hand-over")
    refused = run("hand-over", "people/crm", "--dag", "after")

    assert (unknown.code, missing.code, refused.code) == (2, 2, 2)
    assert "Did you mean" in unknown.err
    assert refused.err.startswith("ConfigurationError: the ledger does not know the sync `people/crm`")
    assert "Traceback" not in refused.err
    assert refused.out == ""


def test_a_policy_that_no_place_of_this_process_has_is_told_with_the_places(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite:////nowhere/airflow.db")

    refused = run("lint", "variable:not_there")

    assert refused.code == 2
    assert "not_there" in refused.err
    assert "AIRFLOW_VAR_NOT_THERE" in refused.err
    assert "--policy-file" in refused.err
    assert "Traceback" not in refused.err
    shown = refused.shown_err.splitlines()
    assert len(shown) > 1
    assert max(map(len, shown)) <= LINE


def test_the_help_loads_neither_airflow_nor_an_engine_nor_rich(repo: Path) -> None:
    script = (
        "import sys\nfrom airflow_consent_retl.cli.app import main\nmain(['--help'])\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, cwd=repo)

    assert not {"airflow", "pyarrow", "duckdb", "sqlalchemy", "pydantic", "rich", "tabulate"} & set(
        loaded.stderr.split()
    )


def test_the_module_runs_as_the_script_does(repo: Path) -> None:
    command = [sys.executable, "-m", "airflow_consent_retl", "hand-over"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=repo, check=False)

    assert ended.returncode == 2
    assert "consent-retl hand-over" in ended.stderr
    module, _, name = tomllib.loads((repo / "pyproject.toml").read_text())["project"]["scripts"][
        "consent-retl"
    ].partition(":")
    assert callable(getattr(import_module(module), name))
