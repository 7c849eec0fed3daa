"""A ledger and a workspace that do not belong together are refused, nothing is deleted, and a loss can be repaired."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.crm_sync import CrmSync
from support.log_lines import task_fails, unwrapped
from support.permitting import changed_by_hand, unsigned_by_hand
from support.postgres import Postgres, postgres

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.compat import AirflowSkipException
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.delivery.pairing import IDENTITY_NAME
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.ledgers import open_ledger
from airflow_consent_retl.hooks.upkeep import adopt
from airflow_consent_retl.operators import AdoptDeliveredStateOperator
from airflow_consent_retl.operators.forget import forget

__all__ = ["postgres"]

SYNC = sync_name("people", "crm")
Lose = Callable[[CrmSync], None]


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(1, 2, 3, 4)
    return made


def states(crm: CrmSync) -> set[str]:
    return {path.name for path in crm.folder.glob("syncs/*/delivered-*")}


def backed_up(crm: CrmSync, name: str) -> Path:
    """Copy the ledger, as a backup does while no task runs."""
    copy = crm.path / name
    copy.mkdir()
    for file in crm.folder.glob("ledger.db*"):
        shutil.copy(file, copy)
    return copy


def ledger_restored(crm: CrmSync, backup: Path) -> None:
    delete_ledger(crm)
    for file in backup.iterdir():
        shutil.copy(file, crm.folder)


def delete_ledger(crm: CrmSync) -> None:
    for file in crm.folder.glob("ledger.db*"):
        file.unlink()


def empty_ledger(crm: CrmSync) -> None:
    delete_ledger(crm)
    (crm.folder / "ledger.db").touch()


def ledger_of_another_workspace(crm: CrmSync) -> None:
    delete_ledger(crm)
    open_ledger(f"file://{crm.path}/other").close()
    shutil.copy(crm.path / "other" / "ledger.db", crm.folder)


def delete_the_ids(crm: CrmSync) -> None:
    delete_ledger(crm)
    (crm.folder / IDENTITY_NAME).unlink()


def damage_the_ids(crm: CrmSync) -> None:
    (crm.folder / IDENTITY_NAME).write_text("{}")


@pytest.mark.parametrize(
    "lose", [delete_ledger, empty_ledger, ledger_of_another_workspace, delete_the_ids, damage_the_ids]
)
def test_a_lost_ledger_is_refused_and_no_record_of_people_is_deleted(crm: CrmSync, lose: Lose) -> None:
    crm.sync()
    before = states(crm)
    lose(crm)
    crm.people(1, 2, 4, no=(3,))

    for _ in range(2):
        with task_fails(match="AdoptDeliveredStateOperator"):
            crm.sync()
        with task_fails(match="AdoptDeliveredStateOperator"):
            crm.withdraw()

    assert states(crm) == before
    assert crm.there() == [1, 2, 3, 4]


@pytest.mark.parametrize("lose", [delete_ledger, ledger_of_another_workspace, delete_the_ids])
def test_after_the_adoption_of_the_newest_state_people_who_withdrew_are_removed(crm: CrmSync, lose: Lose) -> None:
    crm.sync()
    crm.people(1, 2, 3, 4, 5)
    crm.sync()
    lose(crm)
    crm.people(1, 2, 4, 5, no=(3,))

    (adopted,) = AdoptDeliveredStateOperator(task_id="adopt", workspace=crm.workspace).execute({})
    counts = crm.withdraw()

    assert adopted["sync"] == "people/crm"
    assert adopted["rows"] == 5
    assert counts["removed"] == 1
    assert crm.there() == [1, 2, 4, 5]
    assert crm.sync()["unchanged"] == 4


@pytest.mark.parametrize("tries", [1, 12])
def test_a_ledger_from_an_older_backup_is_refused_however_often_it_is_tried(crm: CrmSync, tries: int) -> None:
    crm.sync()
    backup = backed_up(crm, "backup")
    crm.people(1, 2, 3, 4, 5)
    crm.sync()
    before = states(crm)
    ledger_restored(crm, backup)

    for _ in range(tries):
        with task_fails(match="knows leases up to 1: the ledger was restored"):
            crm.sync()

    assert states(crm) == before


def test_a_ledger_from_an_older_backup_adopts_what_the_workspace_has(crm: CrmSync) -> None:
    crm.sync()
    backup = backed_up(crm, "backup")
    crm.people(1, 2, 3, 4, 5)
    crm.sync()
    ledger_restored(crm, backup)
    crm.people(1, 2, 3, 4, no=(5,))

    (adopted,) = adopt(workspace=crm.workspace)
    crm.sync()

    assert (adopted.result, adopted.rows) == ("adopted", 5)
    assert crm.there() == [1, 2, 3, 4]


def test_a_decision_before_one_that_changed_nothing_is_not_delivered_after_an_adoption(crm: CrmSync) -> None:
    """The last load left no delivered state: the records of decisions know that it was newer."""
    crm.sync()
    crm.people(1, 2, 3, 4, 5)
    older = crm.permitted()
    crm.people(1, 2, 3, 4)
    assert crm.sync()["unchanged"] == 4
    newest = crm.permitted()
    delete_ledger(crm)
    adopt(workspace=crm.workspace)

    with task_fails(match="already has a newer decision", kind=AirflowSkipException):
        crm.load_permitted(older)

    assert crm.there() == [1, 2, 3, 4]
    assert crm.load_permitted(newest)["unchanged"] == 4
    assert crm.sync()["unchanged"] == 4


def test_a_new_sync_waits_until_an_adopted_one_says_where_its_people_are(crm: CrmSync) -> None:
    crm.sync()
    delete_ledger(crm)
    adopt(workspace=crm.workspace)

    with task_fails(match="`clients/crm` is new, and `people/crm` has people at a place"):
        crm.sync(model="clients")
    assert crm.sync()["unchanged"] == 4
    with task_fails(match="`people/crm` has people too"):
        crm.sync(model="clients")


def test_a_workspace_from_an_older_backup_is_refused_and_can_be_adopted(crm: CrmSync) -> None:
    crm.sync()
    shutil.copytree(crm.folder / "syncs", crm.path / "backup")
    crm.people(1, 2, 3, 4, 5)
    crm.sync()
    shutil.rmtree(crm.folder / "syncs")
    shutil.copytree(crm.path / "backup", crm.folder / "syncs")

    with task_fails(match="ledger names version 2 with 5 people"):
        crm.sync()
    (adopted,) = adopt(workspace=crm.workspace, syncs=["people/crm"])

    assert (adopted.result, adopted.rows) == ("adopted", 4)
    assert crm.sync()["added"] == 1


def test_ledger_and_workspace_from_one_backup_continue_with_the_key_that_was_backed_up(crm: CrmSync) -> None:
    crm.sync()
    shutil.copytree(crm.folder, crm.path / "backup")
    shutil.rmtree(crm.folder)
    shutil.copytree(crm.path / "backup", crm.folder)
    crm.people(1, 2, 4, no=(3,))

    counts = crm.sync()

    assert (crm.folder / "digest.key").read_text() == (crm.path / "backup" / "digest.key").read_text()
    assert (counts["unchanged"], counts["removed"]) == (3, 1)
    assert crm.there() == [1, 2, 4]


def test_people_whose_load_was_in_progress_count_as_delivered_after_an_adoption(crm: CrmSync) -> None:
    crm.sync()
    crm.people(1, 2, 3, 4, 5)
    crm.run_sql("CREATE TRIGGER no BEFORE INSERT ON people WHEN new.id = 5 BEGIN SELECT RAISE(ABORT, 'no'); END")
    with task_fails():
        crm.sync()
    (open_delivery,) = [one.open_delivery for one in _overviews(crm)]
    assert open_delivery is not None
    # The request may have arrived, whatever its answer was.
    crm.run_sql("DROP TRIGGER no", "INSERT INTO people VALUES (5, 'u5@x.example')")
    delete_ledger(crm)
    crm.people(1, 2, 3, 4, no=(5,))

    (adopted,) = adopt(workspace=crm.workspace)
    crm.sync()

    assert (adopted.rows, adopted.unresolved) == (4, 1)
    assert crm.there() == [1, 2, 3, 4]


def test_people_who_are_declared_gone_are_forgotten_and_the_next_load_begins_anew(crm: CrmSync) -> None:
    crm.sync()
    delete_ledger(crm)
    crm.run_sql("DROP TABLE people")

    (adopted,) = adopt(workspace=crm.workspace, gone=True)
    counts = crm.sync()

    assert adopted.result == "declared gone"
    assert counts["added"] == 4
    assert crm.there() == [1, 2, 3, 4]
    assert len(states(crm)) == 1


def test_a_state_without_a_signature_is_adopted_only_on_the_word_of_a_person(
    crm: CrmSync, capsys: pytest.CaptureFixture[str]
) -> None:
    crm.sync()
    (manifest,) = crm.folder.glob("syncs/*/delivered-*/manifest.json")
    unsigned_by_hand(manifest)
    delete_ledger(crm)

    with pytest.raises(ConfigurationError, match=r"is not signed: nothing was adopted.*unsigned=True"):
        adopt(workspace=crm.workspace)
    assert main(["adopt", "--workspace", crm.workspace, "--unsigned", "--json"]) == 0
    assert '"result": "adopted"' in capsys.readouterr().out


def test_a_state_with_a_false_signature_is_never_adopted(crm: CrmSync) -> None:
    crm.sync()
    (manifest,) = crm.folder.glob("syncs/*/delivered-*/manifest.json")
    changed_by_hand(manifest, primary_key="email")
    delete_ledger(crm)

    with task_fails(match="has a false signature: nothing was adopted"):
        AdoptDeliveredStateOperator(task_id="adopt", workspace=crm.workspace, unsigned=True).execute({})


def test_an_adoption_changes_nothing_where_nothing_was_lost(crm: CrmSync) -> None:
    crm.sync()

    assert [one.result for one in adopt(workspace=crm.workspace)] == ["unchanged"]
    assert crm.sync()["unchanged"] == 4


def test_an_adoption_of_a_sync_that_is_unknown_is_refused(crm: CrmSync) -> None:
    crm.sync()

    with pytest.raises(ConfigurationError, match="has people of people/ads; they have people of people/crm"):
        adopt(workspace=crm.workspace, syncs=["people/ads"])


def test_the_command_adopts_and_says_what_it_found(crm: CrmSync, capsys: pytest.CaptureFixture[str]) -> None:
    crm.sync()
    delete_ledger(crm)
    capsys.readouterr()

    done = main(["adopt", "--workspace", crm.workspace, "--json"])
    failed = main(["adopt", "people/ads", "--workspace", crm.workspace, "--json"])

    output = capsys.readouterr()
    assert (done, failed) == (0, 2)
    assert json.loads(output.out) == [{"sync": "people/crm", "result": "adopted", "rows": 4, "unresolved": 0}]
    assert output.err.startswith("ConfigurationError: neither the ledger nor the workspace")


# A ledger in PostgreSQL


@pytest.fixture
def shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: Postgres, request: pytest.FixtureRequest
) -> CrmSync:
    schema = f"pair_{tmp_path.name}".replace("-", "_")[:60]
    with postgres.connect() as connection:
        connection.execute(f'CREATE SCHEMA "{schema}"')
    made = CrmSync(tmp_path, monkeypatch, ledger_conn_id="ledger")
    fields = json.loads(postgres.airflow_connection())
    made.connect("ledger", **{**fields, "extra": {"options": f"-csearch_path={schema}"}})
    made.schema = schema  # type: ignore[attr-defined]
    made.people(1, 2, 3, 4)
    return made


def test_a_ledger_in_postgres_that_was_made_anew_is_refused(shared: CrmSync, postgres: Postgres) -> None:
    shared.sync()
    with postgres.connect() as connection:
        connection.execute(f'DROP SCHEMA "{shared.schema}" CASCADE')  # type: ignore[attr-defined]
        connection.execute(f'CREATE SCHEMA "{shared.schema}"')  # type: ignore[attr-defined]

    with task_fails(match="belongs to ledger"):
        shared.sync()
    adopt(workspace=shared.workspace, ledger_conn_id="ledger")

    assert shared.sync()["unchanged"] == 4


def test_a_workspace_that_was_emptied_is_refused_by_its_ledger_in_postgres(shared: CrmSync) -> None:
    shared.sync()
    shutil.rmtree(shared.folder)

    with task_fails(match="the workspace was emptied or replaced"):
        shared.sync()
    with pytest.raises(ConfigurationError, match="has no delivered state that could be adopted"):
        adopt(workspace=shared.workspace, ledger_conn_id="ledger")


def test_a_second_workspace_may_join_a_ledger_but_not_take_a_sync(shared: CrmSync) -> None:
    shared.sync()
    shared.workspace = f"file://{shared.path}/second"

    with task_fails(match="has its delivered state in workspace"):
        shared.sync()
    shared.sync(model="others", table="others")

    assert shared.there("others") == [1, 2, 3, 4]


def test_a_workspace_may_be_moved_with_its_ids(shared: CrmSync) -> None:
    shared.sync()
    shared.folder.rename(shared.path / "moved")
    shared.workspace = f"file://{shared.path}/moved"

    assert shared.sync()["unchanged"] == 4


# A workspace of an earlier release


def test_a_workspace_without_ids_gets_them_if_the_ledger_knows_its_people(crm: CrmSync) -> None:
    crm.sync()
    _as_the_release_before(crm)

    counts = crm.sync()

    assert counts["unchanged"] == 4
    assert json.loads((crm.folder / IDENTITY_NAME).read_text()).keys() == {"workspace", "ledger"}


def _as_the_release_before(crm: CrmSync) -> None:
    """Take back the second version of the ledger's schema, and the ids of the workspace."""
    (crm.folder / IDENTITY_NAME).unlink()
    engine = sa.create_engine(f"sqlite:///{crm.folder / 'ledger.db'}")
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE consent_retl_identity"))
        connection.execute(sa.text("DROP TABLE consent_retl_workspaces"))
        connection.execute(sa.text("ALTER TABLE consent_retl_syncs DROP COLUMN workspace"))
        connection.execute(sa.text("UPDATE consent_retl_schema SET version = 1"))
    engine.dispose()


def _overviews(crm: CrmSync) -> list[Any]:
    with open_ledger(crm.workspace) as ledger:
        return ledger.syncs()


def suppression_restored(crm: CrmSync, backup: Path) -> None:
    shutil.rmtree(crm.folder / "suppression")
    shutil.copytree(backup, crm.folder / "suppression")


def test_a_list_of_forgotten_people_that_is_older_than_the_ledger_is_refused_until_it_is_declared_whole(
    crm: CrmSync, caplog: pytest.LogCaptureFixture
) -> None:
    crm.sync()
    forget(ids=["1"], workspace=crm.workspace, loads={"crm": crm.load_of()})
    shutil.copytree(crm.folder / "suppression", crm.path / "backup")
    forget(ids=["2"], workspace=crm.workspace, loads={"crm": crm.load_of()})
    newest = crm.path / "newest"
    shutil.copytree(crm.folder / "suppression", newest)
    suppression_restored(crm, crm.path / "backup")

    with task_fails(match="has 1 acts, and the ledger saw 2: it was restored from an older"):
        crm.sync()
    with pytest.raises(ConfigurationError, match="forgotten since would be sent again"):
        forget(ids=["3"], workspace=crm.workspace, loads={"crm": crm.load_of()})
    assert crm.there() == [3, 4]

    suppression_restored(crm, newest)
    assert crm.sync()["unchanged"] == 2
    suppression_restored(crm, crm.path / "backup")
    adopt(workspace=crm.workspace)
    assert "has 1 acts, and had 2: it counts as whole from now on" in unwrapped(caplog.text)
    crm.sync()

    assert crm.there() == [2, 3, 4]
