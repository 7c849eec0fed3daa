"""Whoever is on the suppression list is permitted nowhere, sent by no load, and removed like one who withdrew."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.crm_sync import CONSENT, FIELDS, POLICY, SQL, TYPES, CrmSync
from support.log_lines import task_fails
from support.suppressing import suppress

from airflow_consent_retl.operators import ExtractModelOperator, permitted_batches
from airflow_consent_retl.operators.forget import lift
from airflow_consent_retl.reports import explain

OPEN = {
    "categories": [{"id": "C0004", "name": "Advertising", "destinations": ["webhook"]}],
    "destinations": {"crm": {"consent": "not_required", "reason": "our own store"}},
}


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(1, 2, 3, 4)
    return made


def load(crm: CrmSync, permitted: Any, policy: Any = POLICY, **options: Any) -> dict[str, Any]:
    counts: dict[str, Any] = crm.load_of(**options)(
        task_id="load", permitted=permitted, destination="crm", policy=policy, workspace=crm.workspace
    ).execute({})
    return counts


def test_a_forgotten_person_does_not_come_back_with_the_next_model(crm: CrmSync) -> None:
    crm.sync()
    assert suppress([" 2", "99"], workspace=crm.workspace) == 2

    gone = crm.sync()
    crm.people(1, 2, 3, 4, 5)
    again = crm.sync()

    assert (gone["denied_by_reason"], gone["removals_by_cause"]) == ({"forgotten": 1}, {"forgotten": 1})
    assert (again["added"], again["removed"], again["denied_by_reason"]) == (1, 0, {"forgotten": 1})
    assert crm.there() == [1, 3, 4, 5]


def test_the_list_is_asked_before_any_permission_also_where_no_consent_is_needed(crm: CrmSync) -> None:
    suppress(["2"], workspace=crm.workspace)

    counts = load(crm, crm.permitted(policy=OPEN), OPEN)

    assert (counts["added"], counts["denied_by_reason"]) == (3, {"forgotten": 1})


def test_no_guard_holds_back_the_removal(crm: CrmSync) -> None:
    crm.sync()
    suppress(["1", "2", "3"], workspace=crm.workspace)

    assert crm.sync(max_removed_ratio=0.0)["removed"] == 3


@pytest.mark.parametrize("recheck_interval_s", [60, None])
def test_who_is_forgotten_after_the_filter_is_not_sent(crm: CrmSync, recheck_interval_s: float | None) -> None:
    permitted = crm.permitted()
    suppress(["2"], workspace=crm.workspace)

    counts = load(crm, permitted, recheck_interval_s=recheck_interval_s)

    assert (counts["added"], counts["withheld"]) == (4, 1)
    assert crm.there() == [1, 3, 4]


def test_a_load_that_needs_no_consent_reads_the_list_too(crm: CrmSync) -> None:
    permitted = crm.permitted(policy=OPEN)
    suppress(["2"], workspace=crm.workspace)

    assert load(crm, permitted, OPEN)["withheld"] == 1
    assert crm.there() == [1, 3, 4]


def test_the_fast_lane_removes_a_forgotten_person(crm: CrmSync) -> None:
    crm.sync()
    suppress(["3"], workspace=crm.workspace)

    counts = crm.withdraw()

    assert counts["removals_by_cause"] == {"forgotten": 1}
    assert crm.there() == [1, 2, 4]


def test_a_list_about_another_model_withholds_no_one(crm: CrmSync) -> None:
    suppress(["2"], workspace=crm.workspace, models=["leads"])

    assert crm.sync()["added"] == 4
    assert crm.sync(model="leads", table="leads_of", destination="lake")["denied_by_reason"] == {"forgotten": 1}


def test_after_a_lift_consent_decides_again(crm: CrmSync) -> None:
    suppress(["2"], workspace=crm.workspace)
    crm.sync()

    assert lift(ids=["2 "], workspace=crm.workspace) == 1

    assert crm.sync()["added"] == 1
    assert crm.there() == [1, 2, 3, 4]


def test_a_task_of_ones_own_is_refused_a_set_that_is_older_than_the_list(crm: CrmSync) -> None:
    permitted = crm.permitted()
    rows = partial(permitted_batches, destination="crm", fields=FIELDS, policy=POLICY)
    assert sum(batch.num_rows for batch in rows(permitted)) == 4
    suppress(["2"], workspace=crm.workspace)

    with pytest.raises(Exception, match="people were forgotten after consent was decided for `crm`: run the filter"):
        rows(permitted)

    assert sum(batch.num_rows for batch in rows(crm.permitted())) == 3


def test_a_list_that_cannot_be_read_stops_filter_and_load(crm: CrmSync, monkeypatch: pytest.MonkeyPatch) -> None:
    permitted = crm.permitted()
    suppress(["2"], workspace=crm.workspace)
    next((crm.folder / "suppression" / "acts").glob("*.json")).write_text("{}")

    with task_fails(match="suppression/acts/"):
        crm.permitted()
    with task_fails(match="suppression/acts/"):
        load(crm, permitted)

    assert not (crm.path / "crm.db").exists() or crm.there() == []


def test_the_explanation_names_the_list(crm: CrmSync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", crm.workspace)
    suppress(["2"])

    snapshot = ExtractModelOperator(
        task_id="extract", model="people", conn_id="source", sql=SQL, primary_key="id", column_types=TYPES
    ).execute({})

    found = explain(2, snapshot=snapshot, policy=POLICY, consent=CONSENT, destinations=["crm"])

    assert found.destinations["crm"].reasons == ("forgotten",)
    assert "taken off" in found.destinations["crm"].would_change[0]
