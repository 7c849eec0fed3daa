"""Whom a destination rejected: counts by run and code for everyone, ids for those who may read the permitted set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.crm_sync import CrmSync
from support.log_lines import task_fails
from support.servers import Receiver, receiver, says

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.operators import LoadToWebhookOperator
from airflow_consent_retl.reports import RejectedRow, rejected, rejected_runs

FIELDS = {"id": "id", "email": "email"}
SYNC = "people/webhook"


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Receiver) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.connect("hook", conn_type="http", host=server.url, extra={"allow_private": True})
    made.people(1, 2, 3, 4)
    return made


def _load(crm: CrmSync, **options: Any) -> dict[str, Any]:
    load = partial(
        LoadToWebhookOperator,
        conn_id="hook",
        endpoint="/people",
        fields=FIELDS,
        max_rejected_ratio=0.9,
        max_removed_ratio=None,
    )
    return crm.sync(partial(load, **options), destination="webhook")


def _refusing(**codes: str) -> Any:
    return says({"errors": [{"id": int(key[1:]), "code": code} for key, code in codes.items()]})


def test_each_run_says_how_many_were_rejected_and_the_last_ones_ids_are_found(crm: CrmSync, server: Receiver) -> None:
    server.answers = [_refusing(p2="invalid_email", p4="blocked"), _refusing(p4="blocked")]
    _load(crm)
    first = rejected(SYNC, workspace=crm.workspace)
    _load(crm)

    runs = rejected_runs(SYNC, workspace=crm.workspace)

    assert [(run.people, run.rejected, run.not_removed) for run in runs] == [
        (4, {"invalid_email": 1, "blocked": 1}, {}),
        (2, {"blocked": 1}, {}),
    ]
    assert sorted(first.rows, key=lambda row: row.id) == [RejectedRow(2, "invalid_email"), RejectedRow(4, "blocked")]
    assert first.not_found == 0
    assert rejected(SYNC, workspace=crm.workspace).rows == (RejectedRow(4, "blocked"),)
    again = rejected(SYNC, workspace=crm.workspace, delivery=runs[0].delivery, limit=1)
    assert len(again.rows) == 1
    assert again.run == runs[0]


def test_a_run_without_a_rejection_has_none(crm: CrmSync) -> None:
    _load(crm)

    assert rejected(SYNC, workspace=crm.workspace).rows == ()
    assert [run.rejected for run in rejected_runs(SYNC, workspace=crm.workspace)] == [{}]


def test_without_the_permitted_set_only_the_counts_are_left(crm: CrmSync, server: Receiver) -> None:
    server.answers = [_refusing(p2="invalid_email")]
    _load(crm)
    for manifest in crm.folder.glob("permitted/**/manifest.json"):
        manifest.unlink()

    with pytest.raises(RefusedError, match="is not in the workspace any more"):
        rejected(SYNC, workspace=crm.workspace)
    assert rejected_runs(SYNC, workspace=crm.workspace)[0].rejected == {"invalid_email": 1}


def test_a_sync_without_records_is_refused_with_a_near_match(crm: CrmSync) -> None:
    _load(crm)

    with pytest.raises(ConfigurationError, match=r"of sync `people/webhok`, did you mean `people/webhook`\?"):
        rejected_runs("people/webhok", workspace=crm.workspace)
    with pytest.raises(ConfigurationError, match="no records of delivery 77"):
        rejected(SYNC, workspace=crm.workspace, delivery=77)


def test_the_verb_prints_ids_only_if_it_is_asked_for_them(
    crm: CrmSync, server: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    crm.people(4711, 4712)
    server.answers = [says({"errors": [{"id": 4711, "code": "blocked"}]})]
    _load(crm)
    capsys.readouterr()

    assert main(["rejected", SYNC, "--workspace", crm.workspace, "--json"]) == 0
    counts = capsys.readouterr().out
    assert main(["rejected", SYNC, "--workspace", crm.workspace, "--ids", "--json"]) == 0
    ids = json.loads(capsys.readouterr().out)

    assert "4711" not in counts
    assert json.loads(counts)[0]["rejected"] == {"blocked": 1}
    assert ids["rows"] == [{"id": 4711, "code": "blocked", "field": ""}]


def test_a_field_is_shown_only_if_the_load_has_it(crm: CrmSync, server: Receiver) -> None:
    errors = [
        {"id": 1, "code": "invalid", "pointer": "/email"},
        {"id": 2, "code": "invalid", "field": "email"},
        {"id": 3, "code": "invalid", "field": "u3@x.example"},
    ]
    server.answers = [says({"errors": errors})]
    _load(crm)

    found = rejected(SYNC, workspace=crm.workspace)

    assert sorted((row.id, row.field) for row in found.rows) == [(1, "email"), (2, "email"), (3, "")]
    assert found.run.fields == {"email": 2}
    assert found.run.rejected == {"invalid": 3}


def test_a_retry_sends_only_those_rejected_last_time_who_are_still_permitted(crm: CrmSync, server: Receiver) -> None:
    refused = _refusing(p2="blocked", p3="blocked", p4="blocked")
    server.answers = [refused, says({"errors": []}), _refusing(p4="blocked")]
    _load(crm)
    # 1 left the model, 3 withdrew, 5 is new.
    crm.people(2, 4, 5, no=(3,))

    counts = _load(crm, mode="retry_rejected")
    again = _load(crm, mode="retry_rejected")

    assert (counts["added"], counts["accepted"], counts["rejected"]) == (2, 1, 1)
    assert (counts["skipped"], counts["removed"], counts["unchanged"]) == (1, 1, 0)
    assert counts["permitted"] == 3
    assert (again["added"], again["accepted"], again["unchanged"], again["skipped"]) == (1, 1, 1, 1)
    assert rejected(SYNC, workspace=crm.workspace).rows == ()
    assert _load(crm)["added"] == 1


def test_a_retry_without_a_load_before_is_refused(crm: CrmSync) -> None:
    with task_fails(match=r"needs the record of an earlier load, and there is none"):
        _load(crm, mode="retry_rejected")
