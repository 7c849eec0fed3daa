"""The cost of a page: its statements do not become more with syncs, runs and entries of the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.sync_figures import PLACE, Sized, write_policies, write_runs

from airflow_consent_retl.hooks.known_workspaces import KnownWorkspace
from airflow_consent_retl.sight.page import pages
from airflow_consent_retl.sight.page.access import Rights
from airflow_consent_retl.storage.location import policy_archive

pytestmark = pytest.mark.usefixtures("airflow_db")
OFFICER = Rights(name="officer", dags=frozenset(), reads_all_dags=True, may_look_up=True)


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the statements that any database is asked."""
    asked: list[str] = []

    def note(*given: object) -> None:
        asked.append(str(given[2]))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


def asked_by_each_page(workspace: Path, size: Sized, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the number of statements of each page, of a deployment of some size."""
    workspace.mkdir()
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", workspace.as_uri())
    write_runs(workspace / "ledger.db", size, at=datetime.now(UTC))
    found = []
    for days in (30, 365):
        with statements() as asked:
            assert pages.overview(OFFICER, KnownWorkspace(), days=days, find="")["all"].people > 0
        found.append(len(asked))
    with statements() as asked:
        assert pages.sync(OFFICER, KnownWorkspace(), "customers/webhook", days=365, page=1) is not None
    return [*found, len(asked)]


def test_more_syncs_and_more_runs_take_no_more_statements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = asked_by_each_page(tmp_path / "few", Sized(9, 2), monkeypatch)
    many = asked_by_each_page(tmp_path / "many", Sized(60, 9), monkeypatch)

    assert few == many
    assert max(many) < 25


def test_the_policy_in_force_is_shown_again_without_another_look_at_the_audit_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", tmp_path.as_uri())
    write_policies(policy_archive(), at=datetime.now(UTC))

    with statements() as first:
        pages.policy(OFFICER, PLACE)
    with statements() as again:
        pages.policy(OFFICER, PLACE)

    assert len([one for one in first if "FROM log" in one]) == 2
    assert [one for one in again if "FROM log" in one] == []
