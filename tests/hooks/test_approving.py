"""Policies that need an approval, and the history of a policy's place."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.log_lines import unwrapped

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.hooks.approving import approve, proposal, unrecorded
from airflow_consent_retl.hooks.policies import policy_in_force
from airflow_consent_retl.reports.policy_record import UNKNOWN, policy_record, to_markdown
from airflow_consent_retl.storage.location import policy_archive, signer
from airflow_consent_retl.storage.signing import signed

PLACE = "variable:consent_policy"
ADS: dict[str, Any] = {"id": "C0004", "name": "Advertising", "destinations": ["webhook"]}
ANALYTICS: dict[str, Any] = {"id": "C0002", "name": "Analytics", "destinations": ["webhook"]}


def _document(*categories: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"unmapped_destinations": "deny", "categories": list(categories), **more}


BOTH, ONE, NONE = _document(ADS, ANALYTICS), _document(ADS), _document({**ADS, "enabled": False})
NAMED = {key: parse_policy(document).digest for key, document in {"both": BOTH, "one": ONE, "none": NONE}.items()}
Publish = Callable[[dict[str, Any]], str]


@pytest.fixture(autouse=True)
def _deployment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__APPROVAL_REQUIRED", "True")


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Puts a policy into the Variable, and returns the digest of the one in force after a run read it."""

    def put(document: dict[str, Any]) -> str:
        monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(document))
        return policy_in_force(PLACE).policy.digest

    return put


def _approve(document: dict[str, Any], *, by: str = "Ida Officer") -> None:
    approve(PLACE, digest=parse_policy(document).digest, by=by)


def _approve_as_read(document: dict[str, Any], publish: Publish) -> None:
    with pytest.raises(ConfigurationError):
        publish(document)
    _approve(document)


@pytest.fixture
def begun(publish: Publish) -> Publish:
    """A place whose first policy, with both categories, was approved and is in force."""
    _approve_as_read(BOTH, publish)
    assert publish(BOTH) == NAMED["both"]
    return publish


def test_the_first_policy_needs_an_approval(publish: Publish) -> None:
    with pytest.raises(ConfigurationError, match=f"{NAMED['both']} at `{PLACE}` was never approved.*--by NAME"):
        publish(BOTH)


def test_people_find_the_place_of_a_first_policy_until_one_is_in_force(publish: Publish) -> None:
    assert policy_archive().new_places() == []
    for document in (BOTH, ONE):
        with pytest.raises(ConfigurationError):
            publish(document)
    waiting = (policy_archive().new_places(), policy_archive().places())

    _approve(ONE)
    approved = policy_archive().new_places()
    publish(ONE)

    assert waiting == ([PLACE], [])
    assert approved == [PLACE]
    assert (policy_archive().new_places(), policy_archive().places()) == ([], [PLACE])


def test_a_dry_run_and_a_document_in_a_dag_leave_no_place_to_approve(publish: Publish) -> None:
    with unrecorded(), pytest.raises(ConfigurationError, match="was never approved"):
        publish(BOTH)
    with pytest.raises(ConfigurationError, match="has no place that can be approved"):
        policy_in_force(BOTH)

    assert policy_archive().new_places() == []


def test_a_place_that_someone_else_wrote_into_the_archive_is_refused(publish: Publish, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        publish(BOTH)
    (file,) = (tmp_path / "workspace" / "policy_archive" / "new_places").iterdir()
    file.write_text(file.read_text().replace(PLACE, "variable:another"))

    with pytest.raises(RefusedError, match="is not what this deployment wrote"):
        policy_archive().new_places()


def test_a_policy_that_may_permit_more_waits_and_the_last_one_holds(
    begun: Publish, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert begun(ONE) == NAMED["both"]

    assert f"policy {NAMED['one']} at `{PLACE}` waits for an approval, so {NAMED['both']} holds" in unwrapped(
        caplog.text
    )
    assert "`webhook` needs C0002 and C0004 before, needs C0004 now" in unwrapped(caplog.text)


def test_an_approved_policy_takes_effect(begun: Publish) -> None:
    begun(ONE)
    assert proposal(PLACE).needs_approval

    _approve(ONE)

    assert not proposal(PLACE).needs_approval
    assert begun(ONE) == NAMED["one"]


def test_a_policy_that_only_takes_away_holds_at_once(begun: Publish) -> None:
    assert begun(NONE) == NAMED["none"]


def test_going_back_to_an_approved_policy_that_was_replaced_since_needs_another_approval(begun: Publish) -> None:
    begun(NONE)

    assert begun(BOTH) == NAMED["none"]
    _approve(BOTH)
    assert begun(BOTH) == NAMED["both"]


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=400)])
def test_a_clock_that_was_ahead_neither_blocks_an_approval_nor_replaces_one(publish: Publish, ahead: timedelta) -> None:
    _approve_as_read(BOTH, publish)
    at = datetime.now(UTC) + ahead
    policy_archive().note_in_force(PLACE, parse_policy(BOTH), at=at, change_of=lambda place: None)

    assert publish(ONE) == NAMED["both"]
    _approve(ONE)
    assert publish(ONE) == NAMED["one"]
    # It only takes away.
    assert publish(BOTH) == NAMED["both"]
    assert publish(ONE) == NAMED["both"]
    _approve(ONE)
    assert publish(ONE) == NAMED["one"]


def test_an_approval_of_an_earlier_release_counts_by_its_time(begun: Publish, tmp_path: Path) -> None:
    assert begun(ONE) == NAMED["both"]
    _approve(ONE)
    archive = policy_archive()
    (file,) = (tmp_path / "workspace" / "policy_archive" / "approvals").glob(f"{NAMED['one'][7:39]}/*-*.json")
    document = json.loads(file.read_bytes())
    del document["signature"], document["follows"]
    file.write_bytes(signed(json.dumps(document, indent=2).encode(), signer(), purpose="policy archive"))

    assert archive.is_approved(NAMED["one"], PLACE)
    assert begun(ONE) == NAMED["one"]
    assert begun(BOTH) == NAMED["both"]
    assert begun(ONE) == NAMED["both"]


def test_an_approval_of_one_place_is_none_for_another(
    begun: Publish, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "policy.json"
    file.write_text(json.dumps(BOTH))

    with pytest.raises(ConfigurationError, match="was never approved"):
        policy_in_force(f"file:{file}")
    approve(f"file:{file}", digest=NAMED["both"], by="Ida Officer")
    assert policy_in_force(f"file:{file}").policy.digest == NAMED["both"]


def test_a_document_in_a_dag_cannot_be_approved() -> None:
    with pytest.raises(ConfigurationError, match="a document in a DAG has no place that can be approved"):
        policy_in_force(BOTH)


@pytest.mark.parametrize(
    ("digest", "by", "words"),
    [
        (NAMED["one"], "Ida Officer", "digest: the policy at `variable:consent_policy` has the digest"),
        (NAMED["both"][:18], "Ida Officer", "digest: "),
        ("", "Ida Officer", "digest: "),
        (NAMED["both"], " ", "by: name the person"),
    ],
)
def test_an_approval_names_what_was_read_and_who_read_it(publish: Publish, digest: str, by: str, words: str) -> None:
    with pytest.raises(ConfigurationError):
        publish(BOTH)

    with pytest.raises(ConfigurationError, match=words):
        approve(PLACE, digest=digest, by=by)


@pytest.mark.parametrize("folder", ["approvals", "places", "documents"])
def test_an_archive_that_somebody_else_wrote_is_refused(begun: Publish, tmp_path: Path, folder: str) -> None:
    begun(ONE)
    for file in (tmp_path / "workspace" / "policy_archive" / folder).rglob("*.json"):
        file.write_text(file.read_text().replace(NAMED["both"], NAMED["one"]))

    with pytest.raises(RefusedError, match=r"is not what this deployment wrote \(false\)"):
        begun(BOTH if folder == "approvals" else ONE)


def test_a_policy_that_was_kept_under_a_lost_key_is_kept_again(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__APPROVAL_REQUIRED", "False")
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", "the first secret of this deployment")
    policy_in_force(BOTH)
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", "another secret of this deployment")
    with pytest.raises(RefusedError, match=r"\(unknown_key\)"):
        policy_archive().policy(NAMED["both"])

    policy_in_force(BOTH)

    assert policy_archive().policy(NAMED["both"]).digest == NAMED["both"]


def test_without_the_setting_every_policy_holds_and_is_recorded(
    publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__APPROVAL_REQUIRED", "False")

    assert [publish(document) for document in (ONE, BOTH, BOTH, ONE)] == [
        NAMED[key] for key in ("one", "both", "both", "one")
    ]

    periods = policy_archive().periods(PLACE)
    assert [period.digest for period in periods] == [NAMED[key] for key in ("one", "both", "one")]
    assert [before.until for before in periods] == [*(period.since for period in periods[1:]), None]
    assert policy_archive().places() == [PLACE]


def test_the_record_tells_differences_people_and_approvals(begun: Publish) -> None:
    begun(ONE)
    _approve(ONE, by="Ole Officer")
    begun(ONE)

    first, second = policy_record(PLACE)

    assert (first.digest, first.until, second.digest, second.until) == (
        NAMED["both"],
        second.since,
        NAMED["one"],
        None,
    )
    assert second.differences == ["category `C0002` is gone"]
    assert second.opens == ["`webhook` needs C0002 and C0004 before, needs C0004 now"]
    assert [approval.partition(",")[0] for approval in second.approvals] == ["Ole Officer"]
    assert second.changed_by.startswith(UNKNOWN)
    page = to_markdown(PLACE, [first, second])
    assert "- may permit more: `webhook` needs" in page


def test_a_file_in_a_repository_is_recorded_with_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__APPROVAL_REQUIRED", "False")
    git = shutil.which("git")
    assert git is not None
    repository = tmp_path / "policies"
    repository.mkdir()
    file = repository / "policy.json"
    place = f"file:{file}"

    def run(*arguments: str) -> None:
        identity = ["-c", "user.name=Ida Officer", "-c", "user.email=ida@example.com"]
        subprocess.run([git, "-C", str(repository), *identity, *arguments], check=True, capture_output=True)

    run("init")
    file.write_text(json.dumps(BOTH))
    run("add", ".")
    run("commit", "-m", "The first policy")
    policy_in_force(place)
    file.write_text(json.dumps(ONE))
    policy_in_force(place)
    file.with_name("other.json").write_text(json.dumps(ONE))
    policy_in_force(f"file:{file.with_name('other.json')}")

    first, second = policy_record(place)
    (alone,) = policy_record(f"file:{file.with_name('other.json')}")

    assert " by Ida Officer, 20" in first.changed_by
    assert first.changed_by.startswith("commit ")
    assert second.changed_by == f"{first.changed_by}, and changes after it"
    assert alone.changed_by.startswith(UNKNOWN)


def test_the_verbs_compare_approve_and_list(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigurationError):
        publish(BOTH)

    def verb(*arguments: str) -> Any:
        assert main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert verb("proposal", PLACE)["needs_approval"] is True
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", PLACE)
    approved = verb("approve", "--digest", NAMED["both"], "--by", "Ida Officer", "--note", "meeting of May")
    assert (approved["place"], approved["approved_by"]) == (PLACE, "Ida Officer")
    assert publish(BOTH) == NAMED["both"]
    (entry,) = verb("policy-history")
    assert entry["approvals"][0].startswith("Ida Officer, ")
    assert entry["approvals"][0].endswith("meeting of May")


def test_the_verbs_need_a_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["proposal"]) == 2
    assert "place: name one, or set `[consent_retl] policy`" in capsys.readouterr().err
