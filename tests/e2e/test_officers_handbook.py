"""The privacy officer's handbook does what it says: its commands run in order, and print what it shows."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.crm_sync import TYPES, CrmSync

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator

PAGE = "docs/officers-handbook.md"
PLACE = "variable:consent_policy"
# Person 3 said no to analytics.
SQL = "SELECT id, email, ads_ok, id <> 3 AS stats_ok FROM people"
CONSENT = {"C0002": "stats_ok", "C0004": "ads_ok"}
DAG = """
from airflow.sdk import DAG
from airflow_consent_retl.operators import ConsentFilterOperator

with DAG("people"):
    ConsentFilterOperator(
        task_id="consent",
        snapshot="{{ ti.xcom_pull('extract') }}",
        consent={"C0002": "stats_ok", "C0004": "ads_ok"},
        destinations=["crm"],
        max_released_ratio=None,
    )
"""
LOADS = """
from functools import partial
from airflow_consent_retl.operators import LoadToSqlTableOperator

FIELDS = {"id": "id", "email": "email"}
LOADS = {"crm": partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields=FIELDS, settle_s=0)}
"""
# A line with nothing but this stands for any number of lines.
ANYTHING = "…"
_PARTS = re.compile(r"<!-- (?P<event>[^>]+) -->|^```console\n(?P<console>.*?)^```", re.DOTALL | re.MULTILINE)
_VARIABLE = (
    (re.compile(r"\b(sha256:)?[0-9a-f]{16,}\b"), "…"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(\+00:00| UTC)?"), "…"),
    (re.compile(r"/\S+(?=/person-2.zip)"), "…"),
    (re.compile(r"(?<=unknown: )[^\"]+"), "…"),
    (re.compile(r"(sqlite|file):/\S+?(?=[\",])"), "…"),
)


@dataclass
class Command:
    """A command of the page, with the lines that it prints there."""

    typed: str
    printed: list[str]


def parts(page: str) -> list[str | Command]:
    """Return the events and commands of a page, in order."""
    found: list[str | Command] = []
    for match in _PARTS.finditer(page):
        if match["event"] is not None:
            found.append(match["event"])
            continue
        for line in match["console"].splitlines():
            if line.startswith("$ "):
                found.append(Command(line.removeprefix("$ "), []))
            else:
                last = found[-1]
                assert isinstance(last, Command)
                last.printed.append(line)
    return found


def without_what_varies(line: str) -> str:
    for pattern, shown in _VARIABLE:
        line = pattern.sub(shown, line)
    return line.rstrip()


def matches(printed: list[str], shown: list[str]) -> bool:
    """Return whether the lines are those that the page shows; `ANYTHING` may stand for some."""
    if not shown:
        return not printed
    if shown[0].strip() == ANYTHING:
        return any(matches(printed[start:], shown[1:]) for start in range(len(printed) + 1))
    return bool(printed) and printed[0] == shown[0] and matches(printed[1:], shown[1:])


class World:
    """The deployment of the page: one model, one table, and a policy in a Variable."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch, policies: list[str]) -> None:
        self.crm = CrmSync(path, monkeypatch)
        self.path = path
        self._monkeypatch = monkeypatch
        self._policies = iter(policies)
        monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", self.crm.workspace)
        monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", PLACE)
        monkeypatch.setenv("AIRFLOW__CONSENT_RETL__APPROVAL_REQUIRED", "True")
        self.crm.people(1, 2, 3, no=(4,))
        (path / "crm_loads.py").write_text(LOADS)
        monkeypatch.syspath_prepend(str(path))
        (path / "dags").mkdir()
        (path / "dags" / "people.py").write_text(DAG)

    def publish(self) -> None:
        """Put the next policy of the page into the Variable."""
        self._monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", next(self._policies))

    def run_dag(self) -> None:
        snapshot = ExtractModelOperator(
            task_id="extract",
            model="people",
            conn_id="source",
            sql=SQL,
            primary_key="id",
            column_types={**TYPES, "stats_ok": "bool"},
        ).execute({})
        permitted = ConsentFilterOperator(
            task_id="consent", snapshot=snapshot, consent=CONSENT, destinations=["crm"], max_released_ratio=None
        ).execute({})
        self.crm.load_of()(task_id="load", permitted=permitted, destination="crm", max_removed_ratio=None).execute({})

    def withdraw(self) -> None:
        """Person 2 says no."""
        self.crm.people(1, 3, no=(2, 4))

    @property
    def events(self) -> dict[str, Callable[[], None]]:
        return {
            "the policy is published": self.publish,
            "the DAG runs": self.run_dag,
            "person 2 withdraws": self.withdraw,
        }


@pytest.fixture
def page(repo: Path) -> str:
    return (repo / PAGE).read_text()


def test_the_handbooks_commands_print_what_it_shows(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path, monkeypatch, re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    monkeypatch.chdir(tmp_path)
    digest, ran = "", 0
    for part in parts(page):
        if isinstance(part, str):
            world.events[part]()
            capsys.readouterr()
            continue
        command, *arguments = shlex.split(part.typed.replace("sha256:…", digest))
        assert command == "consent-retl"
        main(arguments)
        output = capsys.readouterr()
        printed = [without_what_varies(line) for line in output.out.splitlines()]
        assert matches(printed, part.printed), (part.typed, "\n".join(printed))
        digest = _digest_in(output.out) or digest
        ran += 1
    assert ran >= 10


def _digest_in(printed: str) -> str | None:
    try:
        document: Any = json.loads(printed)
    except ValueError:
        return None
    return document.get("digest") if isinstance(document, dict) else None
