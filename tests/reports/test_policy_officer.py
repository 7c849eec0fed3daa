"""Tests of the officer's reports: the review of a policy on a snapshot, and what DAGs use and override."""

from __future__ import annotations

import inspect
import json
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from airflow.sdk import DAG
from support.permitting import CONSENT, POLICY, customers, snapshot_of

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.consent import SuppressionList
from airflow_consent_retl.dag_overrides import USED, WATCHED, uses_of
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    ForgetOperator,
    LoadOperator,
    LoadToBrazeOperator,
    LoadToSqlTableOperator,
    PropagateWithdrawalsOperator,
)
from airflow_consent_retl.reports import lint
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.sync import consent_sync

OFFICER = {**POLICY, "officer": {"connections": {"warehouse": {"consent": CONSENT}}}}


def yes_only(tmp_path: Path) -> Any:
    """Return a snapshot in which every row says yes to advertising, and not to analytics."""
    rows = customers().drop_columns(["ads_ok"]).append_column("ads_ok", pa.array([True] * 5))
    _, ref = snapshot_of(Folder.local(tmp_path / "snapshot"), rows)
    return ref.to_xcom()


@pytest.mark.parametrize(("policy", "consent"), [(POLICY, CONSENT), (OFFICER, None)])
def test_a_consent_column_that_holds_nothing_but_yes_is_found(tmp_path: Path, policy: Any, consent: Any) -> None:
    findings = lint(policy, snapshots=[yes_only(tmp_path)], consent=consent)

    assert [(one.sentence, one.place) for one in findings if one.rule == "always_yes"] == [
        ("category `C0004`: all 5 rows say yes", "model customers")
    ]


def test_a_column_with_other_answers_is_left_alone(tmp_path: Path) -> None:
    _, ref = snapshot_of(Folder.local(tmp_path / "snapshot"), customers())

    assert lint(POLICY, snapshots=[ref.to_xcom()], consent=CONSENT) == []


def test_an_empty_snapshot_says_nothing(tmp_path: Path) -> None:
    _, ref = snapshot_of(Folder.local(tmp_path / "snapshot"), customers().slice(0, 0))

    assert lint(POLICY, snapshots=[ref.to_xcom()], consent=CONSENT) == []


def test_a_snapshot_whose_consent_nobody_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not say where consent of model `customers` is kept"):
        lint(POLICY, snapshots=[yes_only(tmp_path)])


def test_the_command_prints_the_findings_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", "variable:consent_policy")
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(OFFICER))

    code = main(["lint", "--snapshot", json.dumps(yes_only(tmp_path)), "--json"])

    assert code == 1
    assert {one["rule"] for one in json.loads(capsys.readouterr().out)} == {"always_yes", "written_by_the_dag"}
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(POLICY))
    assert main(["lint", "--json"]) == 0


def dag() -> DAG:
    with DAG("people") as made:
        snapshot = ExtractModelOperator(
            task_id="extract",
            model="people",
            conn_id="warehouse",
            sql="SELECT * FROM people",
            primary_key="id",
            consent_sources=[SuppressionList("SELECT 1 AS id", subject="id")],
            current_consent_sql="SELECT id FROM people WHERE name = 'Eve'",
        )
        permitted = ConsentFilterOperator(
            task_id="consent", snapshot=snapshot.output, destinations=["lake", "nowhere"], max_released_ratio=None
        )
        LoadToSqlTableOperator(
            task_id="load",
            permitted=permitted.output,
            destination="lake",
            conn_id="crm",
            table="people",
            fields={"id": "id"},
            policy="variable:mine",
            recheck_interval_s=None,
            mode="insert",
            on_remove="mark",
            mark_column="gone",
            dry_run=True,
        )
        PropagateWithdrawalsOperator(
            task_id="withdraw",
            model="people",
            conn_id="warehouse",
            sql="SELECT * FROM people",
            primary_key="id",
            consent=CONSENT,
            loads={
                "lake": partial(
                    LoadToSqlTableOperator,
                    conn_id="crm",
                    table="people",
                    fields={"id": "id"},
                    on_remove="mark",
                    mark_column="gone",
                )
            },
        )
    return made


def test_the_report_says_what_each_task_uses_and_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", "variable:consent_policy")
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps({**POLICY, "officer": {"unmapped_names": "error"}}))

    found = {use.task: use for use in uses_of([dag()])}

    assert list(found) == ["consent", "extract", "load", "withdraw"]
    assert found["extract"].uses == ("model `people`", "conn_id `warehouse`")
    assert found["extract"].overrides == (
        "consent_sources: SuppressionList on `the model`",
        "current_consent_sql=text of 40 characters (default None)",
    )
    assert found["consent"].policy == "`variable:consent_policy`"
    assert found["consent"].overrides == (
        "destinations: `nowhere` is not in the policy",
        "max_released_ratio=None (default 'default')",
    )
    assert found["consent"].refused is not None
    assert "the policy does not name `nowhere`" in found["consent"].refused
    assert found["load"].policy == "`variable:mine`"
    assert found["load"].overrides == (
        "policy: `variable:mine`",
        "dry_run=True (default False)",
        "mode='insert' (default 'mirror')",
        "on_remove='mark' (default 'delete')",
        "recheck_interval_s=None (default 300)",
    )
    assert found["load"].refused is not None
    assert "this task has `variable:mine`" in found["load"].refused
    assert found["withdraw"].overrides == (
        "consent: a mapping of its own for `C0002`, `C0004`",
        "loads of `lake`: on_remove='mark' (default 'delete')",
    )
    assert found["withdraw"].refused is None
    assert "Eve" not in json.dumps([use.overrides for use in found.values()])


def test_what_a_withdrawal_does_at_a_vendor_is_part_of_a_tasks_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__CONSENT_RETL__POLICY", raising=False)
    with DAG("people") as made:
        LoadToBrazeOperator(
            task_id="load",
            permitted={},
            destination="braze",
            conn_id="braze",
            workspace_name="eu",
            fields={"external_id": "id", "news": "news"},
            on_withdrawal="clear_attribute",
            withdrawn_attributes={"news": False},
        )

    (found,) = uses_of([made])

    assert "on_withdrawal `clear_attribute`" in found.uses


# What these decide is part of a task's use, is checked against the policy, or is about cost and time only.
NOT_WATCHED = {
    "answers",
    "batch_rows",
    "confirm_interval_s",
    "confirm_timeout_s",
    "consent",
    "consent_sources",
    "deferrable",
    "field_nulls",
    "file",
    "id_column",
    "identities",
    "ids",
    "lease_ttl_s",
    "lease_wait_s",
    "part_bytes",
    "policy",
    "poll_interval_s",
    "query_timeout_s",
    "sql",
    "withdrawn_at",
}


@pytest.mark.parametrize(
    "operator",
    [ExtractModelOperator, ConsentFilterOperator, LoadOperator, PropagateWithdrawalsOperator, ForgetOperator],
)
def test_every_parameter_that_decides_about_people_is_in_the_report(operator: type) -> None:
    known = {"kwargs", *WATCHED, *USED}
    own = inspect.signature(operator.__init__).parameters  # type: ignore[misc]
    optional = {name for name, parameter in own.items() if parameter.default is not inspect.Parameter.empty}

    assert optional - known == optional & NOT_WATCHED


def test_a_dag_that_leaves_everything_to_the_policy_overrides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", "variable:consent_policy")
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(OFFICER))
    with DAG("people") as made:
        consent_sync(
            "people",
            conn_id="warehouse",
            sql="SELECT * FROM people",
            primary_key="id",
            loads={"lake": partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields={"id": "id"})},
        )

    assert [(use.overrides, use.refused) for use in uses_of([made])] == [((), None)] * 4


def test_the_command_parses_a_folder_of_dags(
    tmp_path: Path, airflow_db: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dags.py").write_text(
        "from airflow.sdk import DAG\n"
        "from airflow_consent_retl.operators import ExtractModelOperator\n"
        "with DAG('people'):\n"
        "    ExtractModelOperator(task_id='extract', model='people', conn_id='w', sql='SELECT 1', primary_key='id')\n"
    )
    (tmp_path / "broken.py").write_text("from airflow.sdk import DAG\nraise ValueError('no DAG')\n")

    assert main(["overrides", str(tmp_path), "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert [(use["dag"], use["task"], use["overrides"]) for use in found["tasks"]] == [("people", "extract", [])]
    ((file, error),) = found["not_parsed"]
    assert file.endswith("broken.py")
    assert error == "ValueError: no DAG"
