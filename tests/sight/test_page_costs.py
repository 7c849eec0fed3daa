"""The cost of a page: its statements do not become more with syncs, runs and entries of the audit log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.sync_figures import PLACE, Sized, write_policies, write_runs

from airflow_consent_retl.delivery.ledger import Ledger
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


def test_sums_are_made_again_only_after_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", tmp_path.as_uri())
    write_runs(tmp_path / "ledger.db", Sized(5, 3), at=datetime.now(UTC))

    def shown(find: str = "") -> tuple[int, int, int]:
        with statements() as asked:
            found = pages.overview(OFFICER, KnownWorkspace(), days=30, find=find)["all"]
        return found.days[-1].sent, found.counts.accepted, len([one for one in asked if "GROUP BY" in one])

    first, again, part = shown(), shown(), shown(find="customers")
    with Ledger.sqlite(tmp_path / "ledger.db") as ledger:
        with ledger.history() as history:
            last = history.runs(limit=1)[0]
        counts = replace(last.counts, accepted=777)
        ledger.note_run(replace(last, ended_at=datetime.now(UTC), counts=counts, delivery=None, id=0))
    later = shown()

    assert first[2] > 0
    assert again == (*first[:2], 0)
    assert part[1] < first[1]
    assert (later[0] - first[0], later[1] - first[1], later[2]) == (777, 777, first[2])


def test_the_policy_in_force_is_shown_again_without_another_look_at_the_audit_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", tmp_path.as_uri())
    write_policies(policy_archive(), at=datetime.now(UTC))

    with statements() as first:
        pages.policy(OFFICER, PLACE)
    with statements() as again:
        pages.policy(OFFICER, PLACE)

    # For each of two policies: the names of events, by their index, and the records of those that change a Variable.
    assert len([one for one in first if "FROM log" in one]) == 4
    assert [one for one in again if "FROM log" in one] == []
