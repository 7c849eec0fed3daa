"""The target is looked at in every run: a place that lost its people stops the run and is not made anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.crm_sync import FIELDS, CrmSync
from support.log_lines import task_fails

from airflow_consent_retl.operators import LoadOperator, LoadToFilesOperator


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(1, 2, 3, 4)
    return made


DROPPED = "DROP TABLE people"
EMPTIED = "DELETE FROM people"
RENAMED = "ALTER TABLE people RENAME TO old_people"


@pytest.mark.parametrize("harm", [DROPPED, EMPTIED, RENAMED])
@pytest.mark.parametrize("changed", [True, False])
def test_a_table_without_its_people_stops_the_load_and_the_fast_lane(crm: CrmSync, harm: str, changed: bool) -> None:
    crm.sync()
    crm.run_sql(harm)
    if changed:
        crm.people(1, 2, 4, no=(3,))

    for act in (crm.sync, crm.withdraw):
        with task_fails(match=r"`people` is missing or empty, and 4 people .* mode=\"full\""):
            act()

    tables = "SELECT count(*) AS id FROM sqlite_master WHERE name = 'people'"
    assert crm.there(f"({tables})") == [1 if harm == EMPTIED else 0]


@pytest.mark.parametrize("harm", [DROPPED, EMPTIED, RENAMED])
def test_a_target_is_looked_at_also_where_nothing_changed_for_several_runs(crm: CrmSync, harm: str) -> None:
    for _ in range(3):
        crm.sync()
    crm.run_sql(harm)

    with task_fails(match="`people` is missing or empty, and 4 people"):
        crm.sync()


@pytest.mark.parametrize("harm", [DROPPED, EMPTIED])
def test_one_load_in_mode_full_sends_everyone_again(crm: CrmSync, harm: str) -> None:
    crm.sync()
    crm.run_sql(harm)

    crm.sync(mode="full")

    assert crm.there() == [1, 2, 3, 4]
    assert crm.sync()["unchanged"] == 4


def test_a_column_that_was_renamed_stops_a_load_that_has_nothing_to_send(crm: CrmSync) -> None:
    crm.sync()
    crm.run_sql("ALTER TABLE people RENAME COLUMN email TO mail")

    with task_fails(match="there is no column `email`"):
        crm.sync()


def test_people_are_removed_also_where_a_column_was_renamed(crm: CrmSync) -> None:
    crm.sync()
    crm.run_sql("ALTER TABLE people RENAME COLUMN email TO mail")
    crm.people(1, 2, 4, no=(3,))

    assert crm.withdraw()["removed"] == 1
    assert crm.there() == [1, 2, 4]


@pytest.mark.parametrize("harm", [DROPPED, EMPTIED])
def test_a_duckdb_table_without_its_people_stops_the_load(crm: CrmSync, harm: str) -> None:
    file = crm.path / "crm.duckdb"
    crm.connect("crm", conn_type="duckdb", host=str(file))
    crm.sync()
    with duckdb.connect(str(file)) as connection:
        connection.execute(harm)

    with task_fails(match="is missing or empty, and 4 people"):
        crm.sync()


def test_an_empty_table_is_no_error_where_no_one_was_delivered(crm: CrmSync) -> None:
    crm.people(no=(1, 2))
    crm.sync()

    assert crm.sync()["removed"] == 0


@pytest.mark.parametrize("lost", ["folder", "pointer", "manifest", "part"])
def test_an_export_whose_current_version_is_gone_stops_the_load(crm: CrmSync, lost: str) -> None:
    lake = crm.path / "lake"

    def load(**options: Any) -> Callable[..., LoadOperator]:
        return partial(LoadToFilesOperator, path=f"file://{lake}", format="jsonl", fields=FIELDS, **options)

    crm.sync(load(), destination="lake")
    if lost == "folder":
        shutil.rmtree(lake)
    else:
        (name,) = lake.glob({"pointer": "_current.json", "manifest": "*/_manifest.json", "part": "*/part-*"}[lost])
        name.unlink()

    with task_fails(match="has no complete current version, and 4 people"):
        crm.sync(load(), destination="lake")
    with task_fails(match="has no complete current version, and 4 people"):
        crm.withdraw(load(), destination="lake")
    crm.sync(load(mode="full"), destination="lake")

    assert crm.sync(load(), destination="lake")["unchanged"] == 4
