"""The history of one person is complete, over all syncs, and by command; it never contains the id or a value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.crm_sync import CrmSync
from support.permitting import changed_by_hand, unsigned_by_hand

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.operators.forget import forget, lift
from airflow_consent_retl.reports import PersonHistory, evidence, person_history, verify


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(1, 2, 3)
    return made


def told(found: PersonHistory) -> list[tuple[str, str, str, str]]:
    return [(one.sync, one.event, one.status, one.cause) for one in found.deliveries]


def test_a_person_is_followed_over_all_syncs_and_the_fast_lane(crm: CrmSync) -> None:
    crm.sync()
    crm.sync(model="leads", table="leads")
    crm.people(2, 3, no=(1,))
    crm.withdraw()

    found = person_history(1, workspace=crm.workspace)

    assert told(found) == [
        ("people/crm", "sent", "accepted", ""),
        ("leads/crm", "sent", "accepted", ""),
        ("people/crm", "removed", "accepted", "consent_withdrawn"),
    ]
    assert all(one.policy_digest.startswith("sha256:") for one in found.deliveries)
    assert all(one.batch_key and one.target for one in found.deliveries)
    assert told(person_history(4, workspace=crm.workspace)) == []
    assert told(person_history(1, workspace=crm.workspace, model="leads")) == [("leads/crm", "sent", "accepted", "")]


def decided(found: PersonHistory) -> list[tuple[str, str, str, tuple[str, ...]]]:
    return [(one.destination, one.before, one.decision, one.reasons) for one in found.decisions]


def test_each_change_of_a_decision_is_told_with_its_reasons_and_policy(crm: CrmSync) -> None:
    crm.people(1, 2, no=(3,))
    crm.permitted()
    crm.permitted()
    crm.people(2, 3, no=(1,))
    crm.permitted()
    crm.people(1, 3)
    crm.permitted()

    first, second, third = (person_history(id_, workspace=crm.workspace) for id_ in (1, 2, 3))

    assert decided(first) == [
        ("crm", "not_in_model", "permitted", ()),
        ("crm", "permitted", "denied", ("C0004:denied",)),
        ("crm", "denied", "permitted", ()),
    ]
    assert [one.run for one in first.decisions] == [1, 3, 4]
    assert decided(second) == [("crm", "not_in_model", "permitted", ()), ("crm", "permitted", "not_in_model", ())]
    assert decided(third) == [
        ("crm", "not_in_model", "denied", ("C0004:denied",)),
        ("crm", "denied", "permitted", ()),
    ]
    assert all(one.policy_digest.startswith("sha256:") for one in first.decisions)


def test_who_was_permitted_is_told_from_who_was_never_seen(crm: CrmSync) -> None:
    crm.permitted()

    seen, never = person_history(1, workspace=crm.workspace), person_history(9, workspace=crm.workspace)

    assert decided(seen) == [("crm", "not_in_model", "permitted", ())]
    assert (decided(never), told(never)) == ([], [])
    assert [(one.model, one.destinations, one.runs, one.people) for one in never.runs] == [("people", ("crm",), 1, 3)]
    assert seen.runs == never.runs


def test_the_command_prints_the_history_without_the_id(crm: CrmSync, capsys: pytest.CaptureFixture[str]) -> None:
    crm.people(4711)
    crm.sync()
    capsys.readouterr()

    code = main(["history", "4711", "--workspace", crm.workspace, "--json"])

    printed = capsys.readouterr().out
    assert code == 0
    assert [one["event"] for one in json.loads(printed)["deliveries"]] == ["sent"]
    assert "4711" not in printed.replace(json.loads(printed)["deliveries"][0]["batch_key"], "")


def test_a_changed_record_is_refused(crm: CrmSync) -> None:
    crm.sync()
    (part,) = crm.folder.glob("records/deliveries/*/*.parquet")
    content = bytearray(part.read_bytes())
    content[40] ^= 1
    part.write_bytes(content)

    with pytest.raises(RefusedError, match="was changed since it was written"):
        person_history(1, workspace=crm.workspace, verify=True)


def test_a_deleted_record_is_refused(crm: CrmSync) -> None:
    crm.sync()
    (part,) = crm.folder.glob("records/deliveries/*/*.parquet")
    part.unlink()

    with pytest.raises(RefusedError, match="does not exist any more"):
        person_history(1, workspace=crm.workspace)


def test_records_under_a_key_that_was_replaced_are_found(crm: CrmSync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", "o" * 40)
    crm.sync()
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", "n" * 40)
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY_PREVIOUS", "o" * 40)

    assert [event.event for event in person_history(1, workspace=crm.workspace).deliveries] == ["sent"]


def test_a_record_that_someone_changed_or_made_is_refused(crm: CrmSync) -> None:
    crm.sync()
    (document,) = crm.folder.glob("records/deliveries/*/*.json")

    changed_by_hand(document, dag="another")
    with pytest.raises(RefusedError, match="has a false signature"):
        person_history(1, workspace=crm.workspace)
    unsigned_by_hand(document)
    with pytest.raises(RefusedError, match="is not signed"):
        person_history(1, workspace=crm.workspace)


def test_records_under_another_key_are_no_empty_history(crm: CrmSync, monkeypatch: pytest.MonkeyPatch) -> None:
    crm.sync()
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", "another key of thirty-two characters")

    with pytest.raises(ConfigurationError, match="were written under digest key"):
        person_history(1, workspace=crm.workspace)


def test_every_record_of_several_runs_is_signed_and_complete(crm: CrmSync) -> None:
    crm.sync()
    crm.people(1, 2, no=(3,))
    crm.sync()

    checked = [one for one in verify(workspace=crm.workspace) if one.kind.endswith("_records")]

    assert sorted(one.kind for one in checked) == ["decision_records"] * 2 + ["delivery_records"] * 2
    assert all(one.is_true for one in checked)


def test_requests_to_forget_a_person_are_told_with_what_became_of_them_at_each_destination(
    crm: CrmSync, tmp_path: Path
) -> None:
    for destination in ("crm", "lake"):
        crm.sync(destination=destination, table=destination)
    kept = {"lake": "commercial law: ten years"}
    forget(ids=["1", "9"], loads={"crm": crm.load_of(table="crm")}, exempt=kept, workspace=crm.workspace, settle_s=0)
    lift(ids=["1"], workspace=crm.workspace)
    forget(ids=["1"], exempt=kept, erase=False, models=["people"], workspace=crm.workspace)

    first, never, other = (person_history(id_, workspace=crm.workspace) for id_ in (1, 9, 2))

    assert [(one.kind, one.models, one.is_complete, one.erased_at is not None) for one in first.requests] == [
        ("erasure", None, True, True),
        ("objection", ("people",), True, False),
    ]
    assert [(place.sync, place.status, place.reason) for place in first.requests[0].places] == [
        ("people/crm", "deleted", ""),
        ("people/lake", "exempted", "commercial law: ten years"),
    ]
    assert [(one.event, one.models) for one in first.suppressions] == [
        ("suppressed", None),
        ("lifted", None),
        ("suppressed", ("people",)),
    ]
    assert [place.status for one in never.requests for place in one.places] == ["not_found", "not_found"]
    assert (other.requests, other.suppressions) == ((), ())
    assert len(person_history(1, workspace=crm.workspace, model="leads").requests) == 1
    evidence(1, tmp_path / "bundle", workspace=crm.workspace)
    page = (tmp_path / "bundle" / "index.html").read_text()
    assert "commercial law: ten years" in page
    assert "objection" in page


def test_a_request_that_was_changed_or_made_under_an_unknown_key_is_refused(
    crm: CrmSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "AIRFLOW__CONSENT_RETL__DIGEST_KEY"
    monkeypatch.setenv(secret, "a key of the requests, long enough")
    forget(ids=["1"], workspace=crm.workspace)
    (request,) = crm.folder.glob("suppression/requests/*/request.json")
    written = request.read_text()
    request.write_text(written.replace('"by": "forget"', '"by": "no one"'))

    with pytest.raises(RefusedError, match="has a false signature"):
        person_history(1, workspace=crm.workspace)
    with pytest.raises(RefusedError, match="has a false signature"):
        person_history(2, workspace=crm.workspace, verify=True)

    request.write_text(written)
    monkeypatch.setenv(secret, "another key, which is as long as the first")
    with pytest.raises(ConfigurationError, match="digest key"):
        person_history(1, workspace=crm.workspace)
