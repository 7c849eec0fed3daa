"""Who changed a Variable or a connection, by the audit records that Airflow's command line and API write."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import pytest
from airflow.models.log import Log
from airflow.utils.session import create_session

from airflow_consent_retl.hooks.audit_log import changes_of

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


def _by_api(event: str, user: str, **details: object) -> None:
    """Write what the API's own decorator writes for an endpoint: its name, the user and the masked request."""
    with create_session() as session:
        session.add(Log(event=event, owner=user, extra=json.dumps({**details, "method": "PATCH"})))


def test_the_command_line_and_the_api_name_the_person(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "ole")
    _type(monkeypatch, "variables", "set", "audited_policy", "{}")
    _type(monkeypatch, "variables", "get", "audited_policy")
    _type(monkeypatch, "variables", "set", "audited_policy_2", "{}")
    _by_api("patch_variable", "ida", key="audited_policy", value="***")
    _by_api("patch_variable", "ada", key="another", value="audited_policy is not the key here")
    _by_api("bulk_variables", "eva", actions=[{"action": "create", "entities": [{"key": "audited_policy"}]}])

    found = changes_of("variable:audited_policy")

    assert found is not None
    assert [(one.event, one.user) for one in found][1:] == [("patch_variable", "ida"), ("bulk_variables", "eva")]
    assert (found[0].event, len(found)) == ("cli_variables_set", 3)
    assert [one.at for one in found] == sorted(one.at for one in found)


def test_connections_have_records_of_their_own() -> None:
    _by_api("patch_connection", "ida", connection_id="audited_conn", extra={"policy": "***"})
    _by_api("test_connection", "ole", connection_id="audited_conn")
    _by_api("patch_variable", "ada", key="audited_conn", value="***")

    found = changes_of("connection:audited_conn")

    assert found is not None
    assert [(one.event, one.user) for one in found] == [("patch_connection", "ida")]


def test_a_file_has_no_audit_records(tmp_path: Path) -> None:
    assert changes_of(f"file:{tmp_path}/policy.json") == []
