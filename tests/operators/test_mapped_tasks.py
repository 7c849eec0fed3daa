"""Mapped tasks of one sync: dates of one model follow each other, and different populations are kept apart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.crm_sync import SQL, CrmSync

from airflow_consent_retl.compat import AirflowFailException

DIFFERENT = "read different rows, so each would remove the people of the other"


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(*range(1, 9))
    return made


def mapped(index: int, run: str = "r") -> Any:
    return {"ti": SimpleNamespace(dag_id="d", run_id=run, task_id="load", try_number=1, map_index=index)}


@pytest.mark.parametrize(
    ("one", "other", "run"),
    [
        ("id % 2 = 0", "id % 2 = 1", "r"),
        ("email LIKE 'u1%'", "email LIKE 'u2%'", "another"),
        ("id < 5 AND '2026-11-27' > ''", "id > 4 AND '2026-11-27' > ''", "r"),
        ("id % 2 = 0 AND '2026-11-27' > ''", "id % 2 = 1 AND '2026-11-28' > ''", "another"),
    ],
)
def test_mapped_tasks_that_read_different_people_are_refused_with_the_remedy(
    crm: CrmSync, one: str, other: str, run: str
) -> None:
    crm.sync(sql=f"{SQL} WHERE {one}", context=mapped(0))
    there = crm.there()

    with pytest.raises(AirflowFailException, match=DIFFERENT) as refused:
        crm.sync(sql=f"{SQL} WHERE {other}", context=mapped(1, run), max_removed_ratio=None)

    assert "mapped tasks [0] and [1] of sync `people/crm`" in str(refused.value)
    assert "a model of its own" in str(refused.value)
    assert crm.there() == there


def test_another_connection_for_each_mapped_task_is_another_population(crm: CrmSync) -> None:
    crm.connect("europe", conn_type="sqlite", host=str(crm.path / "source.db"))
    crm.sync(context=mapped(0))

    with pytest.raises(AirflowFailException, match=DIFFERENT):
        crm.sync(conn_id_of_model="europe", context=mapped(1))


def test_each_population_with_a_model_of_its_own_is_kept_apart(crm: CrmSync) -> None:
    for index, half in enumerate(("id < 5", "id > 4")):
        other = f"half_{1 - index}/crm"
        counts = crm.sync(
            model=f"half_{index}", sql=f"{SQL} WHERE {half}", context=mapped(index), shares_target_with=[other]
        )
        assert (counts["added"], counts["removed"]) == (4, 0)

    assert crm.there() == list(range(1, 9))


def test_dates_and_the_same_query_are_no_other_population(crm: CrmSync) -> None:
    for index, day in enumerate(("2026-11-26", "2026-11-27", "2026-11-27")):
        assert crm.sync(sql=f"{SQL} WHERE '{day}' > ''", context=mapped(index))["permitted"] == 8


def test_an_edited_query_of_the_same_mapped_task_or_of_an_unmapped_one_goes_on(crm: CrmSync) -> None:
    crm.sync(sql=f"{SQL} WHERE id < 7", context=mapped(3))
    assert crm.sync(sql=f"{SQL} WHERE id < 6 OR id = 6", context=mapped(3))["unchanged"] == 6
    crm.sync(sql=f"{SQL} WHERE id < 9", context=mapped(-1))

    assert crm.sync(sql=f"{SQL} WHERE id < 8", context=mapped(2))["removed"] == 1


def test_numbers_that_are_dates_follow_each_other_where_as_of_says_so(crm: CrmSync) -> None:
    for index, day in enumerate((26, 27)):
        counts = crm.sync(
            sql=f"{SQL} WHERE {day} > 0", as_of=f"2026-11-{day}T00:00:00+00:00", context=mapped(index), max_age_s=1e9
        )
        assert counts["removed"] == 0

    with pytest.raises(AirflowFailException, match=DIFFERENT):
        crm.sync(sql=f"{SQL} WHERE 28 > 0", context=mapped(2))
