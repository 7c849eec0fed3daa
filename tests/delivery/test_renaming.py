"""A sync's people belong to another name of its model or destination, once they are handed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.crm_sync import CrmSync
from support.log_lines import task_fails

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.upkeep import adopt, hand_over, syncs
from airflow_consent_retl.operators import HandOverSyncOperator


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(1, 2, 3, 4)
    return made


def listed(crm: CrmSync) -> list[str]:
    return [str(one.sync) for one in syncs(workspace=crm.workspace)]


@pytest.mark.parametrize("by_command", [True, False])
def test_the_people_of_a_renamed_model_are_neither_sent_again_nor_forgotten(crm: CrmSync, by_command: bool) -> None:
    crm.sync()
    with task_fails(match="`people/crm` has people too"):
        crm.sync(model="clients")

    if by_command:
        given = ["hand-over", "people/crm", "--to", "clients/crm", "--dag", "new", "--workspace", crm.workspace]
        assert main(given) == 0
    else:
        HandOverSyncOperator(
            task_id="over", sync="people/crm", new_sync="clients/crm", workspace=crm.workspace
        ).execute({})

    assert listed(crm) == ["clients/crm"]
    crm.people(1, 2, no=(3, 4))
    assert crm.withdraw(model="clients")["removed"] == 2
    assert crm.sync(model="clients")["unchanged"] == 2
    assert crm.there() == [1, 2]


def test_the_old_name_serves_no_one_any_more(crm: CrmSync) -> None:
    crm.sync()
    hand_over("people/crm", to="clients/crm", workspace=crm.workspace)

    with task_fails(match="`clients/crm` has people too"):
        crm.sync()
    assert crm.there() == [1, 2, 3, 4]


def test_the_fast_lane_of_the_old_name_fails(crm: CrmSync) -> None:
    crm.sync()
    hand_over("people/crm", to="clients/crm", workspace=crm.workspace)

    with task_fails(match="`people/crm` is not among the 1 syncs of the ledger"):
        crm.withdraw()


def test_another_name_of_a_destination_is_another_name_of_a_sync(crm: CrmSync) -> None:
    crm.sync()
    hand_over("people/crm", to="people/lake", workspace=crm.workspace)

    crm.people(1, 2, 3, no=(4,))
    counts = crm.sync(destination="lake")

    assert (counts["unchanged"], counts["removed"]) == (3, 1)


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("other/crm", "`other/crm` has people already"),
        ("people/crm", "name the DAG that loads the sync from now on"),
        (None, "name the DAG that loads the sync from now on"),
        ("clients", "`clients` is no name of a sync"),
    ],
)
def test_a_name_that_cannot_take_the_people_is_refused(crm: CrmSync, to: str | None, message: str) -> None:
    crm.sync()
    crm.sync(model="other", table="elsewhere")

    with task_fails(match=message):
        HandOverSyncOperator(task_id="over", sync="people/crm", new_sync=to, workspace=crm.workspace).execute({})

    assert crm.sync()["unchanged"] == 4


@pytest.mark.parametrize("sends", [True, False])
def test_an_unfinished_delivery_of_a_model_that_was_renamed_is_finished_by_the_fast_lane(
    crm: CrmSync, sends: bool
) -> None:
    if not sends:
        crm.sync()
        crm.people(1, 2, no=(3, 4))
        crm.run_sql("CREATE TRIGGER held BEFORE DELETE ON people BEGIN SELECT RAISE(ABORT, 'held'); END")
    else:
        crm.run_sql("CREATE TABLE people (id INTEGER PRIMARY KEY CHECK (id <> 4), email TEXT)")
    with task_fails(match="rejected 1 of 4" if sends else "did not remove 2 of 2"):
        crm.sync()
    if sends:
        with pytest.raises(ConfigurationError, match="finishes the delivery as well") as refused:
            hand_over("people/crm", to="clients/crm", workspace=crm.workspace)
        assert "model=`people`" in str(refused.value)
        crm.run_sql(
            "CREATE TABLE other (id INTEGER PRIMARY KEY, email TEXT)",
            "INSERT INTO other SELECT * FROM people",
            "DROP TABLE people",
            "ALTER TABLE other RENAME TO people",
        )
    else:
        crm.run_sql("DROP TRIGGER held")

    crm.withdraw()
    hand_over("people/crm", to="clients/crm", workspace=crm.workspace)

    assert listed(crm) == ["clients/crm"]
    assert crm.sync(model="clients")["permitted"] == (4 if sends else 2)
    assert crm.there() == ([1, 2, 3, 4] if sends else [1, 2])


def test_a_name_without_people_takes_those_of_another_one(crm: CrmSync) -> None:
    crm.sync(model="clients", table="elsewhere")
    no_one = "SELECT id, email, ads_ok FROM people WHERE false"
    crm.sync(model="clients", table="elsewhere", sql=no_one, max_removed_ratio=None)
    crm.sync()

    hand_over("people/crm", to="clients/crm", workspace=crm.workspace)

    assert crm.sync(model="clients")["unchanged"] == 4
    assert crm.there("elsewhere") == []


def test_a_lost_ledger_adopts_the_people_under_their_new_name(crm: CrmSync) -> None:
    crm.sync()
    hand_over("people/crm", to="clients/crm", workspace=crm.workspace)
    (crm.folder / "ledger.db").unlink()

    adopted = adopt(workspace=crm.workspace)

    assert [(one.sync, one.rows) for one in adopted] == [("clients/crm", 4)]
    assert crm.sync(model="clients")["unchanged"] == 4


def test_what_was_guarded_under_the_old_name_does_not_open_under_the_new_one(crm: CrmSync) -> None:
    crm.people(1, 2, 3, 4, no=tuple(range(5, 40)))
    crm.sync()
    hand_over("people/crm", to="clients/crm", workspace=crm.workspace)
    looser: dict[str, Any] = {
        "categories": [{"id": "C0004", "name": "Advertising", "destinations": ["lake"]}],
        "destinations": {"crm": {"consent": "not_required", "reason": "our own"}},
    }

    with task_fails(match="max_released_ratio"):
        crm.permitted(model="clients", policy=looser)


def test_the_command_says_what_was_handed_over(crm: CrmSync, capsys: pytest.CaptureFixture[str]) -> None:
    crm.sync()
    capsys.readouterr()

    main(["hand-over", "people/crm", "--to", "clients/crm", "--workspace", crm.workspace, "--json"])

    assert json.loads(capsys.readouterr().out) == {"sync": "clients/crm", "dag": None}
