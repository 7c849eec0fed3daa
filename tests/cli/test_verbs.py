"""Each verb against a real workspace and ledger: its JSON keeps its keys, its text fits a terminal."""

from __future__ import annotations

import json

import pytest
from support.crm_sync import POLICY, CrmSync

from airflow_consent_retl.progress import LINE

from .conftest import Run

# The keys of each verb's JSON, which scripts read.
KEYS = {
    ("syncs",): "sync people target dag served_at decided_at is_in_progress",
    ("history", "1"): "decisions deliveries requests runs suppressions",
    ("rejected", "people/crm"): "at delivery dag policy_digest people rejected not_removed fields",
    ("proposal",): "place digest in_force differences opens is_approved needs_approval",
    ("verify",): "manifest kind signature key_id is_present_key changed_files",
}


def keys(document: object) -> set[str]:
    (first, *_) = document if isinstance(document, list) else [document]
    assert isinstance(first, dict)
    return set(first)


@pytest.fixture
def delivered(crm: CrmSync) -> CrmSync:
    crm.sync()
    return crm


def test_the_json_of_each_verb_keeps_its_keys_and_its_text_fits_a_terminal(run: Run, delivered: CrmSync) -> None:
    for typed, expected in KEYS.items():
        as_json, plain, markdown = run(*typed, "--json"), run(*typed), run(*typed, "--markdown")

        assert (as_json.code, plain.code, markdown.code) == (0, 0, 0), plain.err
        assert keys(as_json.document) == set(expected.split()), typed
        assert max(map(len, plain.out.splitlines())) <= LINE, typed
        assert "|--" in markdown.out, typed


def test_a_place_that_no_run_saw_has_no_history(run: Run, crm: CrmSync) -> None:
    assert run("policy-history", "--json").document == []
    assert run("policy-history").out == "no policy is recorded\n"


def test_one_sync_with_people_is_listed(run: Run, delivered: CrmSync) -> None:
    heading, _, row, *_ = run("syncs").out.splitlines()

    assert heading.split()[:3] == ["sync", "people", "target"]
    assert row.split()[:2] == ["people/crm", "2"]


def test_findings_end_with_1(run: Run, crm: CrmSync) -> None:
    path = crm.path / "open.json"
    path.write_text(json.dumps({"categories": [{"id": "C1", "name": "Ads", "destinations": ["clinic_mail"]}]}))

    found = run("lint", "--policy-file", str(path), "--json")

    assert found.code == 1
    assert keys(found.document) == {"rule", "place", "sentence", "reason"}


def test_two_policies_are_compared_in_words(run: Run, crm: CrmSync) -> None:
    before, after = f"file:{crm.path}/policy.json", f"file:{crm.path}/after.json"
    (crm.path / "after.json").write_text(json.dumps({**POLICY, "unmapped_destinations": "permit"}))

    compared, same = run("diff", before, after, "--json"), run("diff", before, before)

    assert compared.code == 0
    assert set(compared.document) == {"before", "after", "differences", "opens"}
    assert compared.document["opens"] == ["destinations that the policy does not name receive every row"]
    assert same.out == "the two policies are the same\n"
