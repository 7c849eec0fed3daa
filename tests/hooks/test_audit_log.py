"""Who changed a Variable or a connection, by the audit records that Airflow's command line and API write."""

from __future__ import annotations

import json
import sys
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from airflow.models.log import Log
from airflow.utils.session import create_session

from airflow_consent_retl.hooks.audit_log import AuditRecord, NoRecord, last_change

with warnings.catch_warnings():
    # Libraries of Airflow 3.1's command line warn of each other when they are imported.
    warnings.simplefilter("ignore")
    from airflow.cli.cli_parser import get_parser

pytestmark = pytest.mark.usefixtures("airflow_db")


def _type(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Run a command of Airflow's command line here, as its own main function does."""
    monkeypatch.setattr(sys, "argv", ["airflow", *arguments])
    typed = get_parser().parse_args(list(arguments))
    typed.func(typed)


def _by_api(event: str, user: str, *, at: datetime | None = None, **details: object) -> None:
    """Write what the API's own decorator writes for an endpoint: its name, the user and the masked request."""
    with create_session() as session:
        record = Log(event=event, owner=user, extra=json.dumps({**details, "method": "PATCH"}))
        record.dttm = at or record.dttm
        session.add(record)


def _changes(place: str) -> list[tuple[str, str]]:
    """Return the events and the users of all changes, the last one first."""
    found, until = [], datetime.now(UTC)
    while isinstance(record := last_change(place, after=None, until=until), AuditRecord):
        found.append((record.event, record.user))
        until = record.at - timedelta(microseconds=1)
    assert record is NoRecord.NOT_FOUND
    return found


def test_the_command_line_and_the_api_name_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ole")
    _type(monkeypatch, "variables", "set", "audited_policy", "{}")
    _type(monkeypatch, "variables", "get", "audited_policy")
    _type(monkeypatch, "variables", "set", "audited_policy_2", "{}")
    _by_api("patch_variable", "ida", key="audited_policy", value="***")
    _by_api("patch_variable", "ada", key="another", value="audited_policy is not the key here")
    _by_api("bulk_variables", "eva", actions=[{"action": "create", "entities": [{"key": "audited_policy"}]}])

    last, before, first = _changes("variable:audited_policy")

    assert (last, before) == (("bulk_variables", "eva"), ("patch_variable", "ida"))
    assert first[0] == "cli_variables_set"


def test_connections_have_records_of_their_own() -> None:
    _by_api("patch_connection", "ida", connection_id="audited_conn", extra={"policy": "***"})
    _by_api("test_connection", "ole", connection_id="audited_conn")
    _by_api("patch_variable", "ada", key="audited_conn", value="***")

    assert _changes("connection:audited_conn") == [("patch_connection", "ida")]


def test_a_file_has_no_audit_records(tmp_path: Path) -> None:
    now = datetime.now(UTC)

    assert last_change(f"file:{tmp_path}/policy.json", after=None, until=now) is NoRecord.NOT_FOUND


def test_only_the_ninety_days_before_a_run_and_what_came_after_the_last_policy_count() -> None:
    seen = datetime(2026, 6, 1, tzinfo=UTC)
    for days, user in ((100, "too early"), (50, "eva"), (-1, "later")):
        _by_api("patch_variable", user, at=seen - timedelta(days=days), key="aged_policy")

    found = last_change("variable:aged_policy", after=None, until=seen)
    nothing = last_change("variable:aged_policy", after=seen - timedelta(days=40), until=seen)
    early = last_change("variable:aged_policy", after=None, until=seen - timedelta(days=60))

    assert isinstance(found, AuditRecord)
    assert (found.user, found.at) == ("eva", seen - timedelta(days=50))
    assert nothing is NoRecord.NOT_FOUND
    assert isinstance(early, AuditRecord)
    assert early.user == "too early"


def test_the_log_is_read_once_for_each_policy() -> None:
    seen = datetime.now(UTC)
    asked: list[str] = []

    def note(*given: object) -> None:
        asked.append(str(given[2]))

    with create_session() as session:
        engine = session.get_bind()
    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        for _ in range(3):
            last_change("variable:often_asked", after=None, until=seen)
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)

    assert len([one for one in asked if "FROM log" in one]) == 2
