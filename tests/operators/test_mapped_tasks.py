"""Mapped tasks of one sync: dates of one model follow each other, and different populations are kept apart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.crm_sync import CONSENT, POLICY, SQL, CrmSync
from support.log_lines import task_fails, unwrapped

from airflow_consent_retl.compat import AirflowFailException
from airflow_consent_retl.errors import SyncBusyError
from airflow_consent_retl.operators import ConsentFilterOperator

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

    with task_fails(match=DIFFERENT) as refused:
        crm.sync(sql=f"{SQL} WHERE {other}", context=mapped(1, run), max_removed_ratio=None)

    assert "mapped tasks [0] and [1] of sync `people/crm`" in str(refused.value)
    assert "a model of its own" in str(refused.value)
    assert crm.there() == there


def test_another_connection_for_each_mapped_task_is_another_population(crm: CrmSync) -> None:
    crm.connect("europe", conn_type="sqlite", host=str(crm.path / "source.db"))
    crm.sync(context=mapped(0))

    with task_fails(match=DIFFERENT):
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

    with task_fails(match=DIFFERENT):
        crm.sync(sql=f"{SQL} WHERE 28 > 0", context=mapped(2))


REORDERED = "the expanded list has another order"
TWO_QUERIES = [
    ("id < 5", "id > 4"),
    ("id % 2 = 0 AND '{day}' > ''", "id % 2 = 1 AND '{day}' > ''"),
    ("id IN (1, 2)", "id IN (3, 4)"),
]


def load_parts(crm: CrmSync, queries: list[str], *, run: str, day: str, names: tuple[str, str]) -> None:
    """Load one part of the model for each mapped task, into a table of its own."""
    for index, (name, query) in enumerate(zip(names, queries, strict=True)):
        sql = f"{SQL} WHERE {query.format(day=day)}"
        crm.sync(model=name, sql=sql, table=name, context=mapped(index, run), mode="upsert")


@pytest.mark.parametrize("queries", TWO_QUERIES)
def test_a_list_in_another_order_is_refused_where_syncs_are_named_by_their_index(
    crm: CrmSync, queries: tuple[str, str]
) -> None:
    names = ("part_0", "part_1")
    load_parts(crm, list(queries), run="one", day="2026-11-27", names=names)
    there = [crm.there(name) for name in names]

    for index, query in enumerate(reversed(queries)):
        sql = f"{SQL} WHERE {query.format(day='2026-11-28')}"
        with task_fails(match=REORDERED) as refused:
            crm.sync(model=names[index], sql=sql, table=names[index], context=mapped(index, "two"), mode="upsert")
        assert f"task [{1 - index}] delivered as sync `{names[1 - index]}/crm`" in str(refused.value)

    assert [crm.there(name) for name in names] == there
    load_parts(crm, list(queries), run="two", day="2026-11-28", names=names)


def test_a_list_in_another_order_is_fine_where_syncs_are_named_by_their_model(crm: CrmSync) -> None:
    load_parts(crm, ["id < 5", "id > 4"], run="one", day="", names=("first", "last"))

    load_parts(crm, ["id > 4", "id < 5"], run="two", day="", names=("last", "first"))

    assert (crm.there("first"), crm.there("last")) == ([1, 2, 3, 4], [5, 6, 7, 8])


def test_one_query_of_several_models_may_be_edited_for_all_of_them(crm: CrmSync) -> None:
    names = ("one_brand", "other_brand")
    load_parts(crm, ["id < 5", "id < 5"], run="one", day="", names=names)

    load_parts(crm, ["id < 6", "id < 6"], run="two", day="", names=names)
    # A task that failed in a run is served by the next one.
    crm.sync(model=names[0], sql=f"{SQL} WHERE id < 7", table=names[0], context=mapped(0, "three"))
    load_parts(crm, ["id < 7", "id < 7"], run="four", day="", names=names)

    assert [crm.there(name) for name in names] == [[1, 2, 3, 4, 5, 6]] * 2


def of_run(index: int, run: str, task: str) -> Any:
    return {"ti": SimpleNamespace(dag_id="d", run_id=run, task_id=task, try_number=1, map_index=index)}


def permitted_sets(crm: CrmSync, names: list[str], queries: list[str], *, run: str) -> list[Any]:
    """Filter each part of the model in a mapped task of its own, before any load of the run begins."""
    made = []
    for index, (name, query) in enumerate(zip(names, queries, strict=True)):
        snapshot = crm.extracted(model=name, sql=f"{SQL} WHERE {query}")
        operator = ConsentFilterOperator(
            task_id="consent",
            snapshot=snapshot,
            policy=POLICY,
            consent=CONSENT,
            destinations=["crm"],
            workspace=crm.workspace,
        )
        made.append(operator.execute(of_run(index, run, "consent")))
    return made


def load_part(crm: CrmSync, permitted: Any, index: int, *, run: str, name: str) -> dict[str, Any]:
    load = crm.load_of(table=name, mode="upsert")
    operator = load(task_id="load", permitted=permitted, destination="crm", policy=POLICY, workspace=crm.workspace)
    counts: dict[str, Any] = operator.execute(of_run(index, run, "load"))
    return counts


def load_list(crm: CrmSync, names: list[str], queries: list[str], *, run: str) -> dict[int, str]:
    """Load each part in the order of the list, and return what was refused."""
    refused = {}
    for index, permitted in enumerate(permitted_sets(crm, names, queries, run=run)):
        try:
            load_part(crm, permitted, index, run=run, name=names[index])
        except AirflowFailException as error:
            refused[index] = str(error)
    return refused


LISTS = [
    # A new element in front, in the middle, and two at once; the first one was taken away; two changed places.
    (["id < 3", "id > 5"], ["id = 4", "id < 3", "id > 5"], {0, 1, 2}),
    (["id < 3", "id > 5"], ["id < 3", "id = 4", "id > 5"], {1, 2}),
    (["id < 3"], ["id = 4", "id = 5", "id < 3"], {0, 2}),
    (["id < 3", "id > 5", "id = 4"], ["id > 5", "id = 4"], {0, 1}),
    (["id < 3", "id > 5"], ["id > 5", "id < 3"], {0, 1}),
    (["id < 3 AND '2026-11-27' > ''", "id > 5"], ["id = 4", "id < 3 AND '2026-11-28' > ''", "id > 5"], {0, 1, 2}),
]


@pytest.mark.samples(3)
@pytest.mark.parametrize(("before", "after", "moved"), LISTS)
def test_a_list_that_was_shifted_is_refused_by_its_first_task_too(
    crm: CrmSync, before: list[str], after: list[str], moved: set[int]
) -> None:
    names = [f"part_{number}" for number in range(3)]
    assert load_list(crm, names[: len(before)], before, run="one") == {}
    there = [crm.there(name) for name in names[: len(before)]]

    refused = load_list(crm, names[: len(after)], after, run="two")

    assert refused.keys() == moved
    assert all(
        REORDERED in unwrapped(words) and "add new elements at its end" in unwrapped(words)
        for words in refused.values()
    )
    assert [crm.there(name) for name in names[: len(before)]] == there
    assert load_list(crm, names[: len(before)], before, run="three") == {}


BOTH_AT_ONCE = [
    # A query was edited, and in the same change a new one came: in front, in the middle, at the end; and one went.
    (["id < 3", "id > 5"], ["id = 4", "id < 2", "id > 5"], {0, 1, 2}),
    (["id < 3", "id > 5"], ["id < 3", "id = 4", "id > 6"], {1}),
    (["id < 3"], ["id = 4", "id < 2"], {0}),
    (["id < 3", "id > 5"], ["id > 6"], {0}),
    # Two are edited and one of three moved.
    (["id < 3", "id > 5", "id = 4"], ["id > 6", "id < 3", "id IN (4, 5)"], {0, 1, 2}),
    # All are edited and changed places: no query tells, but the people do.
    (["id < 4", "id > 5"], ["id > 6", "id < 3"], {0, 1}),
]


@pytest.mark.samples(3)
@pytest.mark.parametrize(("before", "after", "refused"), BOTH_AT_ONCE)
def test_an_edit_and_a_shift_in_one_change_are_refused_until_the_edit_is_undone(
    crm: CrmSync, before: list[str], after: list[str], refused: set[int]
) -> None:
    names = [f"part_{number}" for number in range(3)]
    load_list(crm, names[: len(before)], before, run="one")
    there = [crm.there(name) for name in names[: len(before)]]

    for run in ("two", "three"):
        assert load_list(crm, names[: len(after)], after, run=run).keys() == refused

    assert [crm.there(name) for name in names[: len(before)]] == there
    assert load_list(crm, names[: len(before)], before, run="four") == {}


def test_an_edited_query_waits_until_the_whole_list_was_filtered(crm: CrmSync) -> None:
    names, before = ["part_0", "part_1"], ["id < 4", "id > 5"]
    load_list(crm, names, before, run="one")
    # In a mapped task group, the first element may load before the second one is filtered.
    (edited,) = permitted_sets(crm, names[:1], ["id < 3"], run="two")
    context = of_run(0, "two", "load")
    context["ti"].get_ti_count = lambda **of: len(names)
    context["dag"] = SimpleNamespace(task_ids=["extract", "consent", "load"])
    load = crm.load_of(table="part_0", mode="upsert")(
        task_id="load", permitted=edited, destination="crm", policy=POLICY, workspace=crm.workspace
    )

    with task_fails(match="1 of 2 mapped tasks of this run have not filtered yet", kind=SyncBusyError):
        load.execute(context)

    permitted_sets(crm, names, ["id < 3", "id > 5"], run="two")
    load.execute(context)


def test_an_edited_query_that_lacks_most_people_still_takes_back_who_withdrew(crm: CrmSync) -> None:
    load_list(crm, ["part_0", "part_1"], ["id < 4", "id > 5"], run="one")
    crm.people(1, 2, 4, 5, 6, 7, no=(3, 8))

    refused = load_list(crm, ["part_0", "part_1"], ["id = 3", "id > 5"], run="two")

    assert "2 of 3 people delivered before are not in its rows" in unwrapped(refused[0])
    assert [crm.there(name) for name in ("part_0", "part_1")] == [[1, 2], [6, 7]]


EDITS = [
    # At the end; every query is edited; one is edited; one of two that are the same is edited.
    (["id < 3", "id > 5"], ["id < 3", "id > 5", "id = 4"]),
    (["id < 3", "id > 5"], ["id < 3 OR id = 3", "id > 5 OR id = 5"]),
    (["id < 3", "id > 5"], ["id < 4", "id > 5"]),
    (["id < 5", "id < 5"], ["id < 6", "id < 5"]),
]


@pytest.mark.samples(2)
@pytest.mark.parametrize(("before", "after"), EDITS)
def test_a_list_that_grew_at_its_end_or_whose_queries_were_edited_goes_on(
    crm: CrmSync, before: list[str], after: list[str]
) -> None:
    names = [f"part_{number}" for number in range(3)]
    load_list(crm, names[: len(before)], before, run="one")

    for run in ("two", "three"):
        assert load_list(crm, names[: len(after)], after, run=run) == {}


def test_a_new_element_in_front_is_fine_where_syncs_are_named_by_their_model(crm: CrmSync) -> None:
    load_list(crm, ["de", "fr"], ["id < 3", "id > 5"], run="one")

    assert load_list(crm, ["at", "de", "fr"], ["id = 4", "id < 3", "id > 5"], run="two") == {}

    assert [crm.there(name) for name in ("at", "de", "fr")] == [[4], [1, 2], [6, 7, 8]]


def test_a_retry_of_the_filter_counts_once(crm: CrmSync) -> None:
    names = ["part_0", "part_1"]
    load_list(crm, names, ["id < 3", "id > 5"], run="one")
    # The first try read a list that was taken back before the second.
    permitted_sets(crm, names, ["id = 4", "id < 3"], run="two")

    assert load_list(crm, names, ["id < 4", "id > 5"], run="two") == {}
