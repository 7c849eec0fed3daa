"""The page is prepared while Airflow's API server starts, so that no one waits for its imports."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.airflow_server import airflow_server, copy_database
from support.forks import forks
from support.sync_figures import Sized, write_policies, write_runs

from airflow_consent_retl.storage.location import policy_archive

# What a process of the API server does at its start, and then every page but an answer about a person.
STARTED = """
import asyncio, sys, threading
from airflow_consent_retl.sight.plugin import ConsentRetlPlugin

def end_of_threads():
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join()

async def start(app):
    async with app.router.lifespan_context(app):
        pass

(mounted,) = ConsentRetlPlugin().fastapi_apps
asyncio.run(start(mounted["app"]))
end_of_threads()
"""
PAGES = """
from airflow_consent_retl.hooks.known_workspaces import KnownWorkspace
from airflow_consent_retl.sight.page import pages
from airflow_consent_retl.sight.page.access import Rights
from airflow_consent_retl.sight.page.page_links import Links
from airflow_consent_retl.sight.page.page_rendering import rendered

reader = Rights(name="officer", dags=frozenset(), reads_all_dags=True, may_look_up=True)
within = KnownWorkspace()

def show(template, contents):
    assert rendered(template, links=Links.of(""), reader=reader, workspaces=[""], **contents)

show("overview", pages.overview(reader, within, days=365, find=""))
show("sync", pages.sync(reader, within, "customers/google_ads:emea", days=365, page=1))
show("policy", pages.policy(reader, None))
"""
HISTORY = "airflow_consent_retl.reports.history_of_person"
Run = Callable[..., Any]
OURS = "{name for name in sys.modules if name.startswith('airflow_consent_retl')}"


@pytest.fixture(scope="module")
def server() -> Iterator[Run]:
    """Run scripts in new processes that have loaded what Airflow's API server loads."""
    with forks("import airflow.api_fastapi.app, airflow.models.dag, airflow.models.variable") as run:
        yield run


@pytest.fixture
def printed(server: Run, tmp_path: Path, airflow_db: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a script in the API server's process of a deployment, and return what it printed after `late:`, by line."""
    settings = {
        "AIRFLOW__CONSENT_RETL__WORKSPACE": tmp_path.as_uri(),
        # Its own: a process that ends with the database of this one would take the file's log of writes away.
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
    }
    copy_database(airflow_db, tmp_path / "airflow.db")
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", tmp_path.as_uri())
    write_runs(tmp_path / "ledger.db", Sized(3, 2), at=datetime.now(UTC))
    write_policies(policy_archive(), at=datetime.now(UTC))

    def lines(script: str, **more: str) -> list[str]:
        ours = {f"AIRFLOW__CONSENT_RETL__{name}": value for name, value in more.items()}
        shown = server(script, settings=settings | ours)
        return [line.removeprefix("late:").strip() for line in shown.splitlines() if line.startswith("late:")]

    return lines


def test_once_the_server_has_started_pages_import_nothing_of_this_package(printed: Run) -> None:
    late = printed(f"{STARTED}known = {OURS}\n{PAGES}\nprint('late:', *{OURS} - known)")

    assert late == [""]


def test_the_modules_about_a_person_are_imported_when_the_form_is_shown_to_someone_who_may_ask(printed: Run) -> None:
    others = "reader = Rights(name='analyst', dags=frozenset(), reads_all_dags=True, may_look_up=False)"
    form = "show('person', pages.person_form(reader)); end_of_threads()"
    late = f"print('late:', *{{'{HISTORY}'}} & set(sys.modules))"

    after = printed(
        "\n".join([STARTED, PAGES, late, f"officer = reader; {others}", form, late, "reader = officer", form, late])
    )

    assert after == ["", "", HISTORY]


@pytest.mark.parametrize(
    ("setting", "value", "driver"),
    [
        ("LEDGER_CONN_ID", "ledger", "psycopg"),
        ("PAGE_WORKSPACES", '{"emea": {"ledger_conn_id": "ledger"}}', "psycopg"),
        ("PAGE_WORKSPACES", "no list", ""),
    ],
)
def test_the_driver_of_a_ledger_in_postgresql_is_imported_too(
    printed: Run, setting: str, value: str, driver: str
) -> None:
    loaded = printed(f"{STARTED}print('late:', *{{'psycopg'}} & set(sys.modules))", **{setting: value})

    assert loaded == [driver]


def test_airflows_server_prepares_the_page_before_anyone_asks(tmp_path: Path, airflow_db: Path) -> None:
    with airflow_server(tmp_path / "home", database=airflow_db) as server:
        deadline, memory = time.monotonic() + 60, Path(f"/proc/{server.process}/maps")
        while time.monotonic() < deadline and "libarrow" not in memory.read_text():
            time.sleep(0.1)

        assert "libarrow" in memory.read_text()
        assert "consent-retl" not in server.log
