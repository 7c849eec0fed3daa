"""Two syncs never remove each other's people: one target, one sync and one DAG belong together unless both share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from support.crm_sync import CONSENT, FIELDS, POLICY, CrmSync
from support.log_lines import task_fails

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.databases.place import table_on_server
from airflow_consent_retl.destinations.sql_table.options import SqlTableSpec
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToFilesOperator,
    LoadToSqlTableOperator,
)
from airflow_consent_retl.operators.base_operator import holder_of

SQL = "SELECT id, email, ads_ok FROM people WHERE id < 3"


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(1, 2, 3, 4)
    return made


def running(dag: str) -> Any:
    """Return the context of a task of this DAG."""
    return {"ti": SimpleNamespace(dag_id=dag, run_id="r", task_id="load", try_number=1, map_index=-1)}


def shared(crm: CrmSync) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return how to run two syncs that share one table: everyone, and the first two people."""
    customers = partial(crm.sync, model="customers", shares_target_with=["leads/crm"])
    leads = partial(crm.sync, model="leads", sql=SQL, shares_target_with=["customers/crm"])
    customers()
    leads()
    return customers, leads


# One target


def test_a_second_model_at_one_target_is_refused(crm: CrmSync) -> None:
    crm.sync(model="customers")

    with task_fails(match="`customers/crm` has people too"):
        crm.sync(model="leads", sql=SQL)

    assert crm.there() == [1, 2, 3, 4]
    assert crm.sync(model="customers")["unchanged"] == 4


def test_a_second_destination_name_at_one_target_is_refused_also_where_only_files_are_replaced(crm: CrmSync) -> None:
    load = partial(LoadToFilesOperator, path=f"file://{crm.path}/lake", format="jsonl", fields=FIELDS)
    crm.sync(load, destination="lake")

    with task_fails(match="`people/lake` has people too"):
        crm.sync(load, destination="lake:second")


def test_a_sync_without_people_leaves_its_target_to_others(crm: CrmSync) -> None:
    crm.people(no=(1, 2))
    crm.sync(model="customers")
    crm.people(1, 2)

    assert crm.sync(model="leads")["added"] == 2


@pytest.mark.parametrize("first", [True, False])
def test_one_side_alone_cannot_declare_that_a_target_is_shared(crm: CrmSync, first: bool) -> None:
    crm.sync(model="customers", shares_target_with=["leads/crm"] if first else [])

    with task_fails(match="set shares_target_with on the loads of both"):
        crm.sync(model="leads", shares_target_with=[] if first else ["customers/crm"])


def test_the_remedy_of_a_refused_second_sync_works_as_the_error_says(crm: CrmSync) -> None:
    crm.sync(model="customers")
    with task_fails(match="run the load that was there first once with it"):
        crm.sync(model="leads", sql=SQL, shares_target_with=["customers/crm"])

    crm.sync(model="customers", shares_target_with=["leads/crm"])

    assert crm.sync(model="leads", sql=SQL, shares_target_with=["customers/crm"])["added"] == 2


def test_two_mapped_tasks_hold_leases_under_names_of_their_own() -> None:
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="load", try_number=1, map_index=3)

    assert holder_of({"ti": ti}) == "d r load [3] try 1"
    assert holder_of(running("d")) == "d r load try 1"


def test_a_folder_that_each_load_replaces_cannot_be_shared(crm: CrmSync) -> None:
    load = partial(LoadToFilesOperator, path=f"file://{crm.path}/lake", format="jsonl", fields=FIELDS)
    crm.sync(partial(load, shares_target_with=["leads/lake"]), destination="lake")

    with task_fails(match="each load replaces everything there"):
        crm.sync(partial(load, shares_target_with=["people/lake"]), model="leads", destination="lake")


# Removals at a shared target


def test_a_person_whom_another_sync_has_stays_at_a_shared_target_and_leaves_this_sync(crm: CrmSync) -> None:
    customers, leads = shared(crm)

    left = leads(sql="SELECT id, email, ads_ok FROM people WHERE id < 2")

    assert (left["removed"], left["unchanged"]) == (1, 1)
    assert crm.there() == [1, 2, 3, 4]
    assert leads(sql="SELECT id, email, ads_ok FROM people WHERE id < 2")["removed"] == 0
    assert customers()["unchanged"] == 4


@pytest.mark.parametrize("order", [("customers", "leads"), ("leads", "customers")])
def test_a_person_whom_no_sync_has_any_more_is_removed_by_the_last(crm: CrmSync, order: tuple[str, str]) -> None:
    run = dict(zip(("customers", "leads"), shared(crm), strict=True))
    crm.people(1, 3, 4, no=(2,))

    run[order[0]]()
    between = crm.there()
    run[order[1]]()

    assert between == [1, 2, 3, 4]
    assert crm.there() == [1, 3, 4]


def test_people_of_one_sync_only_are_removed_in_the_same_batch(crm: CrmSync) -> None:
    customers, _ = shared(crm)
    crm.people(1, 4, no=(2, 3))

    counts = customers()

    assert counts["removed"] == 2
    assert crm.there() == [1, 2, 4]


def test_the_fast_lane_asks_the_other_syncs_too(crm: CrmSync) -> None:
    _, leads = shared(crm)
    crm.people(1, 3, 4, no=(2,))

    counts = crm.withdraw(model="customers", shares_target_with=["leads/crm"])
    still = crm.there()
    leads()

    assert counts["removed"] == 1
    assert still == [1, 2, 3, 4]
    assert crm.there() == [1, 3, 4]


# One sync, one DAG


def test_another_dag_under_the_name_of_one_sync_is_refused(crm: CrmSync) -> None:
    crm.sync(context=running("daily"))

    with task_fails(match="is served by DAG `daily`, and DAG `weekly` would remove"):
        crm.sync(context=running("weekly"), sql=SQL)

    assert crm.there() == [1, 2, 3, 4]
    assert crm.sync(context=running("daily"))["unchanged"] == 4


def test_dags_that_both_declare_it_serve_one_sync(crm: CrmSync) -> None:
    crm.sync(context=running("daily"))
    with task_fails(match="set shares_sync_with_dags on the loads of both"):
        crm.sync(context=running("weekly"), shares_sync_with_dags=["daily"])
    crm.sync(context=running("daily"), shares_sync_with_dags=["weekly"])

    assert crm.sync(context=running("weekly"), shares_sync_with_dags=["daily"])["unchanged"] == 4
    assert crm.sync(context=running("daily"), shares_sync_with_dags=["weekly"])["unchanged"] == 4


# One load


def _permitted(model: str, number: int = 0) -> Any:
    extract = ExtractModelOperator(
        task_id=f"extract_{model}_{number}", model=model, conn_id="source", sql="SELECT 1", primary_key="id"
    )
    return ConsentFilterOperator(
        task_id=f"consent_{model}_{number}",
        snapshot=extract.output,
        policy=POLICY,
        consent=CONSENT,
        destinations=["crm"],
    ).output


def _load(task_id: str, permitted: Any, destination: str = "crm") -> LoadToSqlTableOperator:
    return LoadToSqlTableOperator(
        task_id=task_id, permitted=permitted, destination=destination, conn_id="crm", table="people", fields=FIELDS
    )


@pytest.mark.parametrize("filters", [1, 2])
def test_one_destination_twice_in_a_dag_is_refused_when_the_dag_is_parsed(filters: int) -> None:
    with DAG("twice"):
        permitted = [_permitted("people", number) for number in range(filters)]
        _load("first", permitted[0])

        with pytest.raises(ConfigurationError, match="tasks `first` and `second` of DAG `twice` load the same model"):
            _load("second", permitted[-1])


def test_other_models_and_other_instances_may_be_loaded_in_one_dag() -> None:
    with DAG("several") as dag:
        people = _permitted("people")
        _load("first", people)
        _load("second", people, "crm:second")
        _load("third", _permitted("leads"))

    assert {"first", "second", "third"} <= set(dag.task_ids)


# One source


def test_another_source_under_one_name_is_told_with_what_changed(
    crm: CrmSync, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "reads another source than when it last delivered"
    crm.sync(sql=f"{SQL} AND 20261127 > 0")
    crm.sync(sql=f"{SQL} AND 20261128 > 0")
    assert told not in capsys.readouterr().out

    crm.sync(sql=f"{SQL} AND email IS NOT NULL")

    assert f"sync `people/crm` {told} (other SQL)" in capsys.readouterr().out
    crm.sync(sql=f"{SQL} AND email IS NOT NULL")
    assert told not in capsys.readouterr().out


def test_another_connection_under_one_name_is_refused_until_it_is_accepted(crm: CrmSync, tmp_path: Path) -> None:
    crm.sync()
    crm.connect("replica", conn_type="sqlite", host=str(tmp_path / "source.db"))

    for accepted in (None, "source"):
        with task_fails(
            match=r"sync `people/crm` .*connection `source` before, now `replica`.*accept_source='replica' at the load"
        ):
            crm.sync(conn_id_of_model="replica", accept_source=accepted)

    crm.sync(conn_id_of_model="replica", accept_source="replica")
    crm.sync(conn_id_of_model="replica")
    with task_fails(match="accept_source='source' at the load"):
        crm.sync()


# One target under two names


def same_table(crm: CrmSync, spelling: str) -> dict[str, Any]:
    """Return the parameters of a load that lead to the table `people` in another way."""
    (crm.path / "folder").mkdir()
    (crm.path / "link.db").symlink_to(crm.path / "crm.db")
    paths = {"link": crm.path / "link.db", "dots": crm.path / "folder" / ".." / "crm.db"}
    if spelling not in paths:
        return {"table": spelling}
    crm.connect("other", conn_type="sqlite", host=str(paths[spelling]))
    return {"conn_id": "other"}


@pytest.mark.parametrize("spelling", ["main.people", "People", '"MAIN"."people"', "link", "dots"])
def test_a_second_sync_at_one_table_in_another_spelling_is_refused(crm: CrmSync, spelling: str) -> None:
    crm.sync(model="customers")

    with task_fails(match="`customers/crm` has people too"):
        crm.sync(model="leads", sql=SQL, **same_table(crm, spelling))

    assert crm.there() == [1, 2, 3, 4]


def test_a_table_in_another_spelling_may_be_shared(crm: CrmSync) -> None:
    customers = partial(crm.sync, model="customers", shares_target_with=["leads/crm"])
    customers()
    crm.sync(model="leads", sql=SQL, table="main.people", shares_target_with=["customers/crm"])

    crm.people(3, 4)
    customers()

    assert crm.there() == [1, 2, 3, 4]


def test_a_table_that_differs_in_case_from_the_one_that_is_there_is_refused_with_its_name(crm: CrmSync) -> None:
    crm.run_sql("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT)")

    with task_fails(match="there is no table `People`, did you mean `people`"):
        crm.sync(table="People")


PLACES: dict[str, dict[str, Any]] = {
    "sqlite": {"conn_type": "sqlite", "host": "/srv/crm.db"},
    "duckdb": {"conn_type": "duckdb", "host": "/srv/crm.duckdb"},
    "postgres": {"conn_type": "postgres", "host": "db.example", "schema": "crm"},
    "postgres, with a port": {"conn_type": "postgres", "host": "DB.example", "port": 5432, "schema": "crm"},
    "postgres, elsewhere": {"conn_type": "postgres", "host": "db.example", "schema": "crm2"},
    "postgres, with a path": {
        "conn_type": "postgres", "host": "db.example", "schema": "crm",
        "extra": {"options": "-c search_path=eu,public"},
    },
    "snowflake": {"conn_type": "snowflake", "schema": "sales", "extra": {"account": "A1", "database": "CRM"}},
    "snowflake, in the extra": {
        "conn_type": "snowflake", "extra": {"account": "a1", "database": "crm", "schema": "SALES"}
    },
    "bigquery": {"conn_type": "gcpbigquery", "extra": {"project": "crm-eu"}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (("sqlite", "people"), ("sqlite", "PEOPLE"), True),
        (("sqlite", "people"), ("sqlite", "other.people"), False),
        (("sqlite", "people"), ("duckdb", "people"), False),
        (("duckdb", "people"), ("duckdb", "Main.People"), True),
        (("duckdb", "people"), ("duckdb", "crm.people"), True),
        (("postgres", "people"), ("postgres, with a port", "public.people"), True),
        (("postgres", "people"), ("postgres", "People"), False),
        (("postgres", "people"), ("postgres, elsewhere", "people"), False),
        (("postgres, with a path", "people"), ("postgres", "eu.people"), True),
        (("postgres, with a path", "people"), ("postgres", "people"), False),
        (("snowflake", "PEOPLE"), ("snowflake, in the extra", "SALES.PEOPLE"), True),
        (("snowflake", "PEOPLE"), ("snowflake", "OTHER.PEOPLE"), False),
        (("bigquery", "sales.people"), ("bigquery", "leads.people"), False),
    ],
)
def test_tables_are_compared_in_one_spelling(
    crm: CrmSync, one: tuple[str, str], other: tuple[str, str], *, is_same: bool
) -> None:
    def built(place: str, table: str) -> Destination:
        crm.connect("at", **PLACES[place])
        return SqlTableSpec(conn_id="at", table=table).build()

    first, second = built(*one), built(*other)

    assert first.is_same_target(second.target) is is_same
    assert second.is_same_target(first.target) is is_same
    assert first.is_same_target(first.target)
    assert not first.is_same_target("https://people.example:443/v1")


@pytest.mark.parametrize(("schema", "is_same"), [(None, True), ("crm", True), ("other", False)])
def test_a_table_on_another_server_is_in_the_schema_that_the_connection_names(schema: str, *, is_same: bool) -> None:
    named = table_on_server("mysql://db.example:3306/crm", "crm", "people")

    assert (table_on_server("mysql://DB.example:3306/crm", schema, "people") == named) is is_same
