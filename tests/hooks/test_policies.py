"""Tests of reading a policy: from the source that the DAG names, and never an empty policy for a missing one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.permitting import POLICY

from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.errors import ConfigurationError, PolicyError
from airflow_consent_retl.hooks.policies import ConsentPolicyHook, read_policy

DIGEST = parse_policy(POLICY).digest
TEXT = json.dumps(POLICY)
TWICE = TEXT.replace('"id": "C0002"', '"id": "C0001", "id": "C0002"')
SCHEMES = "policy: expected `variable:<key>`, `connection:<conn_id>`, `file:<path>` or the document itself"


def connection(
    monkeypatch: pytest.MonkeyPatch, extra: Any, *, conn_id: str = "crm_policy", conn_type: str = "consentpolicy"
) -> None:
    document = json.dumps({"conn_type": conn_type, "extra": extra})
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", document)


# The DAG itself


def test_a_document_in_the_dag_is_the_policy() -> None:
    loaded = read_policy(POLICY)

    assert (loaded.policy.digest, loaded.source) == (DIGEST, "inline")


def test_an_empty_document_in_the_dag_is_refused() -> None:
    with pytest.raises(PolicyError):
        read_policy({})


@pytest.mark.parametrize("source", [None, 1, b"variable:x", ["variable:x"]])
def test_what_is_neither_a_place_nor_a_document_is_refused(source: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"policy: expected a text or a document, got {type(source).__name__}"):
        read_policy(source)


@pytest.mark.parametrize(
    "source", ["", "consent_policy", "variable:", "var:x", "Variable:x", ":x", "https://x/y", TEXT]
)
def test_a_place_of_an_unknown_kind_is_refused(source: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read_policy(source)

    assert str(refusal.value) == SCHEMES


# Variables


def test_a_variable_holds_the_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", TEXT)

    loaded = read_policy("variable:consent_policy")

    assert (loaded.policy.digest, loaded.source) == (DIGEST, "variable:consent_policy")


@pytest.mark.usefixtures("airflow_db")
def test_a_variable_that_is_not_there_is_an_error_and_not_an_empty_policy() -> None:
    with pytest.raises(ConfigurationError, match='no Variable `no_such_policy`, which `policy="variable:no_such'):
        read_policy("variable:no_such_policy")


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_an_empty_variable_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", text)

    with pytest.raises(ConfigurationError, match="Variable `consent_policy` is empty, expected a policy document"):
        read_policy("variable:consent_policy")


@pytest.mark.parametrize("text", ["{", "[]", "null", '"x"', "{}", TEXT[:-1], TWICE, TEXT + "x"])
def test_a_variable_that_holds_no_policy_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", text)

    with pytest.raises(PolicyError, match="the consent policy cannot be applied"):
        read_policy("variable:consent_policy")


# Connections


@pytest.mark.parametrize("conn_type", ["consentpolicy", "consent_policy"])
def test_a_connection_holds_the_policy_as_text(monkeypatch: pytest.MonkeyPatch, conn_type: str) -> None:
    connection(monkeypatch, {"policy": TEXT}, conn_type=conn_type)

    loaded = read_policy("connection:crm_policy")

    assert (loaded.policy.digest, loaded.source) == (DIGEST, "connection:crm_policy")


@pytest.mark.parametrize(
    "extra", [{"policy": POLICY}, json.dumps({"policy": POLICY}), '{"policy": {"categories": [], "categories": []}}']
)
def test_an_object_in_a_connection_is_refused_since_it_hides_repeated_keys(
    monkeypatch: pytest.MonkeyPatch, extra: Any
) -> None:
    connection(monkeypatch, extra)

    with pytest.raises(ConfigurationError, match=r"as an object, which hides repeated keys: put the document as text"):
        read_policy("connection:crm_policy")


def test_a_key_that_the_text_in_a_connection_repeats_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    connection(monkeypatch, {"policy": TWICE})

    with pytest.raises(PolicyError, match=r"@ \$\.categories\[0\]"):
        read_policy("connection:crm_policy")


@pytest.mark.parametrize(
    "extra", [{}, {"policy": ""}, {"policy": {}}, {"policy": None}, {"policy": [POLICY]}, {"Policy": TEXT}]
)
def test_a_connection_without_a_policy_is_refused(monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]) -> None:
    connection(monkeypatch, extra)

    with pytest.raises(ConfigurationError) as refusal:
        read_policy("connection:crm_policy")

    assert str(refusal.value) == ("connection `crm_policy` has no policy: put it in the field `policy` of the extra")


def test_the_button_of_the_form_shows_what_the_policy_contains(monkeypatch: pytest.MonkeyPatch) -> None:
    connection(monkeypatch, {"policy": TEXT}, conn_id="consent_policy_default")

    assert ConsentPolicyHook().test_connection() == (True, f"2 categories, 3 destinations, {DIGEST}")


@pytest.mark.parametrize("extra", [{}, {"policy": "{"}, {"policy": '{"categories": []}'}])
def test_the_button_of_the_form_shows_what_is_wrong(monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]) -> None:
    connection(monkeypatch, extra)

    passed, message = ConsentPolicyHook("crm_policy").test_connection()

    assert not passed
    assert "policy" in message


def test_the_button_of_the_form_names_every_problem_of_a_broken_document(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"unmaped_destinations": "deny", "categories": [{"id": 2, "name": "Analytics", "destinations": ["crm"]}]}
    connection(monkeypatch, {"policy": json.dumps(broken)})

    passed, message = ConsentPolicyHook("crm_policy").test_connection()

    assert not passed
    assert "@ $.categories[0].id" in message
    assert "did you mean `unmapped_destinations`" in message


# Files


@pytest.mark.parametrize("spelling", ["file:{path}", "file:file://{path}", "file://{path}"])
def test_a_file_holds_the_policy_by_path_and_by_uri(tmp_path: Path, spelling: str) -> None:
    path = tmp_path / "consent policy é.json"
    path.write_text(TEXT)

    loaded = read_policy(spelling.format(path=path))

    assert (loaded.policy.digest, loaded.source) == (DIGEST, spelling.format(path=path))


def test_a_relative_file_is_found_from_where_the_task_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "policy.json").write_text(TEXT)
    monkeypatch.chdir(tmp_path)

    assert read_policy("file:policy.json").policy.digest == DIGEST


@pytest.mark.parametrize("name", ["nothing.json", "folder", "nothing/at/all.json"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(ConfigurationError, match=f"policy file `{tmp_path}/{name}` does not exist"):
        read_policy(f"file:{tmp_path}/{name}")


def test_a_file_in_storage_that_no_package_serves_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="policy file `gopher://x/y` cannot be opened: "):
        read_policy("file:gopher://x/y")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"\xef\xbb\xbf{}", b"policy: yaml", TWICE.encode()])
def test_a_file_that_holds_no_policy_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "policy.json"
    path.write_bytes(content)

    with pytest.raises(PolicyError, match="the consent policy cannot be applied"):
        read_policy(f"file:{path}")
