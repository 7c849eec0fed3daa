"""HTML reports of runs, as the page opens them: with the rights of their syncs, and no other file."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from support.airflow_server import AirflowServer
from support.browser import NARROW_DARK, WIDE_LIGHT, Chromium, Screen
from support.served_page import CANARY, RUN, World

from airflow_consent_retl.sight.addresses import report_page, run_page
from airflow_consent_retl.sight.report_file import report
from airflow_consent_retl.storage.location import report_file

ADDRESS = report_page("customers", RUN, "load")


@pytest.fixture
def server(world: World) -> AirflowServer:
    return world.server


@pytest.fixture
def file(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write the report of a run, and remove it at the end."""
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", world.workspace.as_uri())
    written = Path(report(dag="customers", run=RUN).report)
    yield written
    written.unlink()


def other_run(world: World) -> str:
    """Return a run of the DAG `leads`."""
    with closing(sqlite3.connect(world.workspace / "ledger.db")) as ledger:
        (table,) = ledger.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '%runs'"
        ).fetchone()
        return str(ledger.execute(f"SELECT run FROM {table} WHERE dag = 'leads' LIMIT 1").fetchone()[0])


def test_a_report_is_shown_as_it_was_written_and_may_run_no_script(server: AirflowServer, file: Path) -> None:
    answer = server.get(ADDRESS, user="officer")

    assert (answer.status, answer.text) == (200, file.read_text())
    assert CANARY not in answer.text
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:; ")
    assert "script-src" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert "the report of the run" in server.get(run_page("customers", RUN, "load"), user="officer").text


def test_without_a_report_the_link_leads_to_the_page_about_the_task(server: AirflowServer) -> None:
    answer = server.get(ADDRESS, user="officer")

    assert (answer.status, answer.headers["location"]) == (303, run_page("customers", RUN, "load"))
    assert "the report of the run" not in server.get(run_page("customers", RUN, "load"), user="officer").text


def test_who_may_not_see_a_sync_of_the_run_does_not_get_its_report(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", world.workspace.as_uri())
    run, get = other_run(world), world.server.get
    report(dag="leads", run=run)
    address = report_page("leads", run, "load")

    assert get(address, user="officer").status == 200
    refused = get(address, user="analyst")
    assert refused.status == 303
    assert get(refused.headers["location"], user="analyst").status == 404
    assert get(address, user="nobody").status == 403
    assert get(address, user=None).headers["location"].startswith("/auth/login?")


@pytest.mark.parametrize("dag", ["../policy_archive", "..", "/etc", "customers/.."])
def test_no_name_leads_out_of_the_folder_of_reports(world: World, monkeypatch: pytest.MonkeyPatch, dag: str) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", world.workspace.as_uri())
    folder, name = report_file(None, dag, "../../etc/passwd")

    assert (Path(folder.path) / name).resolve().is_relative_to(world.workspace / "reports")
    address = f"/consent-retl/report?dag_id={quote(dag)}&run_id={quote(RUN)}&task_id=load"
    assert world.server.get(address, user="admin").status == 303


def test_a_link_to_another_file_is_not_followed(server: AirflowServer, file: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.html"
    secret.write_text(CANARY)
    file.unlink()
    file.symlink_to(secret)

    answer = server.get(ADDRESS, user="admin")

    assert answer.status == 303
    assert CANARY not in answer.text


@pytest.mark.parametrize("screen", [WIDE_LIGHT, pytest.param(NARROW_DARK, marks=pytest.mark.long)], ids=str)
def test_a_report_is_opened_from_the_page_by_keyboard(
    chromium: Chromium, world: World, file: Path, screen: Screen
) -> None:
    address = f"{world.server.url}{run_page('customers', RUN, 'load')}"
    with chromium.open(address, screen=screen, cookies={"_token": world.server.token("officer")}) as page:
        page.page.get_by_role("link", name="the report of the run").focus()
        page.page.keyboard.press("Enter")
        page.page.wait_for_url("**/report?**")

        page.assert_sound("page-report-of-a-run")


def test_a_script_that_someone_wrote_into_a_report_does_not_run(chromium: Chromium, world: World, file: Path) -> None:
    changed = re.sub("</body>", "<script>document.title = 'changed'</script></body>", file.read_text())
    file.write_text(changed)

    with chromium.open(f"{world.server.url}{ADDRESS}", cookies={"_token": world.server.token("officer")}) as page:
        assert page.page.title() != "changed"
        assert any("Content Security Policy" in error for error in page.errors)
