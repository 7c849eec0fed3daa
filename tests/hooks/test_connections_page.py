"""The commands of README and of the page on connections, typed into Airflow's own command line."""

from __future__ import annotations

import re
import shlex
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow.models.connection import Connection
from airflow.utils.session import create_session

from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.get_provider_info import get_provider_info

with warnings.catch_warnings():
    # Libraries of Airflow 3.1's command line warn of each other when they are imported.
    warnings.simplefilter("ignore")
    from airflow.cli.cli_parser import get_parser

REPO = Path(__file__).resolve().parents[2]
ADD = "airflow connections add "
PAGES = ("README.md", "docs/connections.md")


@pytest.fixture
def _no_connections(airflow_db: Path) -> Iterator[None]:
    yield
    with create_session() as session:
        session.query(Connection).delete()


def commands(page: str) -> list[str]:
    blocks: list[str] = re.findall(r"```bash\n(.*?)```", (REPO / page).read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith(ADD)]


@pytest.mark.usefixtures("_no_connections")
@pytest.mark.parametrize("page", PAGES)
def test_each_command_makes_the_connection_that_it_names(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = [shlex.split(line) for line in commands(page)]
    for words in typed:
        monkeypatch.setattr(sys, "argv", words)
        with warnings.catch_warnings():
            # Airflow's command uses what Airflow itself calls deprecated.
            warnings.simplefilter("ignore")
            arguments = get_parser().parse_args(words[1:])
            arguments.func(arguments)

    with create_session() as session:
        stored = {one.conn_id: one.conn_type for one in session.query(Connection)}
        policies = [one.extra_dejson["policy"] for one in session.query(Connection) if one.conn_type == "consentpolicy"]
    # Airflow saves a type that it does not know as `generic`.
    assert stored == {words[3]: words[words.index("--conn-type") + 1] for words in typed}
    assert all(parse_policy(policy).categories for policy in policies)


def test_each_connection_type_of_ours_has_a_command_on_the_page() -> None:
    shown = " ".join(commands("docs/connections.md"))

    for form in get_provider_info()["connection-types"]:
        assert f"--conn-type {form['connection-type']} " in shown
