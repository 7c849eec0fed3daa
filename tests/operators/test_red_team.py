"""Ways in which a DAG could get around the deployment's policy: each is refused, and no one is sent."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.log_lines import task_fails, unwrapped
from support.permitting import AirflowFailException

from airflow_consent_retl.consent import (
    ConsentSource,
    IdentityLinks,
    Literals,
    OptOut,
    Recorded,
    RowConsent,
    SuppressionList,
)
from airflow_consent_retl.errors import ConsentRetlError, PolicyError
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToFilesOperator,
    LoadToSqlTableOperator,
    PropagateWithdrawalsOperator,
    permitted_batches,
    permitted_dataframes,
)

PLACE = "variable:consent_policy"
WRITTEN = "SELECT id, email, said FROM people"
LOOSE: dict[str, Any] = {"categories": [{"id": "X", "name": "X", "destinations": ["nobody"]}]}
KEPT = {
    "format": "ConsentSource",
    "sql": "SELECT person, ads_ok FROM consents",
    "subject": "person",
    "key": "id",
    "columns": ["ads_ok"],
}
NEVER = {"sql": "SELECT email FROM do_not_contact", "subject": "email", "conn_id": "source"}
CRM: dict[str, Any] = {
    "operator": "LoadToSqlTableOperator",
    "connection": "crm",
    "parameters": {"table": "people"},
    "fields": {"id": "id", "email": "email"},
    "country": "US",
    "assessment": "DPIA-7",
}
OFFICER: dict[str, Any] = {
    "categories": [{"id": "C0004", "name": "Advertising", "destinations": ["crm", "mail"]}],
    "officer": {
        "models": {
            "people": {
                "connection": "source",
                "primary_key": "id",
                "consent": {"C0004": "ads_ok"},
                "consent_sources": [KEPT],
            },
            "written": {
                "connection": "source",
                "sql": WRITTEN,
                "consent": {"C0004": "said"},
            },
        },
        "undeclared_models": "error",
        "suppression_lists": [NEVER],
        "destinations": {"crm": CRM, "mail": {"country": "US"}},
        "no_assessment_in": ["DE", "FR"],
    },
}


class LookAlike(LoadToSqlTableOperator):
    """A load of the DAG's own, under the name of the package's."""


LookAlike.__name__ = LookAlike.__qualname__ = "LoadToSqlTableOperator"
LookAlike.__module__ = "airflow_consent_retl.destinations.sql_table.operator"


@dataclass
class Deployment:
    """A deployment with the officer's policy, and a DAG author's tools: nothing but the public interface."""

    path: Path
    monkeypatch: pytest.MonkeyPatch

    def officer(self, policy: dict[str, Any]) -> None:
        self.monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(policy))

    def connect(self, conn_id: str, conn_type: str, file: str) -> None:
        document = json.dumps({"conn_type": conn_type, "host": str(self.path / file)})
        self.monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", document)

    def extract(self, *, model: str = "people", sql: str = "SELECT * FROM people", **more: Any) -> Any:
        return ExtractModelOperator(
            **{"task_id": "extract", "conn_id": "source", "primary_key": "id", "model": model, "sql": sql, **more}
        ).execute({})

    def filter(self, snapshot: Any = None, *, destination: str = "crm", **more: Any) -> Any:
        found = self.extract() if snapshot is None else snapshot
        return ConsentFilterOperator(task_id="consent", snapshot=found, destinations=[destination], **more).execute({})

    def load(
        self, permitted: Any = None, *, destination: str = "crm", kind: Any = LoadToSqlTableOperator, **more: Any
    ) -> Any:
        found = self.filter(destination=destination) if permitted is None else permitted
        place = (
            {"path": f"file://{self.path}/lake"}
            if kind is LoadToFilesOperator
            else {"conn_id": "crm", "table": "people"}
        )
        parameters = {"fields": {"id": "id", "email": "email"}, **place, **more}
        return kind(task_id="load", permitted=found, destination=destination, **parameters).execute({})

    def withdraw(self, *, destination: str = "crm", load: dict[str, Any] | None = None, **more: Any) -> Any:
        place = {"conn_id": "crm", "table": "people", "fields": {"id": "id"}, **(load or {})}
        return PropagateWithdrawalsOperator(
            **{
                "task_id": "withdraw",
                "model": "people",
                "conn_id": "source",
                "sql": "SELECT * FROM people",
                "primary_key": "id",
                "loads": {destination: partial(LoadToSqlTableOperator, **place)},
                "allow_unknown": True,
                **more,
            }
        ).execute({})

    def people(self) -> list[int]:
        found = []
        for file in ("crm.db", "other.db"):
            with closing(sqlite3.connect(self.path / file)) as connection:
                tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
                found += [
                    row[0] for table in tables for row in connection.execute(f"SELECT id FROM {table} ORDER BY id")
                ]
        return found


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    """Five people: 1 and 2 said yes, and 2 is on the list of people who are never sent anything."""
    made = Deployment(tmp_path, monkeypatch)
    for conn_id, conn_type, file in (
        ("source", "duckdb", "source.duckdb"),
        ("mine", "duckdb", "mine.duckdb"),
        ("crm", "sqlite", "crm.db"),
        ("other", "sqlite", "other.db"),
    ):
        made.connect(conn_id, conn_type, file)
    for file, consents in (("source", "i <= 2"), ("mine", "TRUE")):
        with duckdb.connect(str(tmp_path / f"{file}.duckdb")) as connection:
            connection.execute(
                "CREATE TABLE people AS SELECT i AS id, 'u' || i || '@x.example' AS email, 'US' AS country, "
                f"now() AS now, i AS ssn, {consents} AS said FROM range(1, 6) t(i)"
            )
            connection.execute(
                f"CREATE TABLE consents AS SELECT i AS person, {consents} AS ads_ok FROM range(1, 6) t(i)"
            )
            connection.execute("CREATE TABLE do_not_contact AS SELECT 'u2@x.example' AS email")
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", PLACE)
    monkeypatch.setenv("AIRFLOW_VAR_MINE", json.dumps(LOOSE))
    (tmp_path / "mine.json").write_text(json.dumps(LOOSE))
    made.officer(OFFICER)
    return made


def test_a_dag_that_leaves_everything_to_the_policy_sends_who_may_be_sent(deployment: Deployment) -> None:
    deployment.load()

    assert deployment.people() == [1]
    assert deployment.withdraw()["crm"]["removed"] == 0


def test_a_dag_may_repeat_what_the_policy_declares(deployment: Deployment) -> None:
    source = ConsentSource(KEPT["sql"], subject="person", key="id", columns=["ads_ok"])  # type: ignore[arg-type]
    snapshot = deployment.extract(consent_sources=[source])
    permitted = deployment.filter(snapshot, policy=PLACE, consent={"C0004": "ads_ok"})

    deployment.load(permitted, policy=PLACE)

    assert deployment.people() == [1]


def test_who_withdraws_is_removed_by_the_fast_lane_under_the_policys_own_source(deployment: Deployment) -> None:
    deployment.load()
    with duckdb.connect(str(deployment.path / "source.duckdb")) as connection:
        connection.execute("UPDATE consents SET ads_ok = FALSE")

    deployment.withdraw(max_removed_ratio=None)

    assert deployment.people() == []


def yes(sql: str, **more: Any) -> ConsentSource:
    return ConsentSource(sql, subject="id", key="id", **{"columns": ["ads_ok"], **more})


Way = Callable[[Deployment], Any]
OTHER_POLICY = (
    "`[consent_retl] policy` is `variable:consent_policy` for every DAG of this deployment, and this task has"
)
WAYS: dict[str, tuple[Way, str]] = {
    # Another policy.
    "the filter's policy is a dict": (lambda d: d.filter(policy=LOOSE), f"{OTHER_POLICY} a document of its own"),
    "the filter's policy is another Variable": (
        lambda d: d.filter(policy="variable:mine"),
        f"{OTHER_POLICY} `variable:mine`",
    ),
    "the filter's policy is a file": (
        lambda d: d.filter(policy=f"file:{d.path}/mine.json"),
        f"{OTHER_POLICY} `file:",
    ),
    "the load's policy is a dict": (lambda d: d.load(policy=LOOSE), f"{OTHER_POLICY} a document of its own"),
    "the load's policy is another Variable": (
        lambda d: d.load(policy="variable:mine"),
        f"{OTHER_POLICY} `variable:mine`",
    ),
    "the fast lane's policy is a dict": (lambda d: d.withdraw(policy=LOOSE), f"{OTHER_POLICY} a document of its own"),
    "the policy of code of one's own is a dict": (
        lambda d: permitted_batches(d.filter(), destination="crm", policy=LOOSE),
        f"{OTHER_POLICY} a document of its own",
    ),
    # Other consent.
    "another column holds the consent": (
        lambda d: d.filter(consent={"C0004": Literals("country", granted=("US",))}),
        "the policy keeps `C0004` of model `people` in BooleanColumn column `ads_ok`, and this DAG in",
    ),
    "the column is turned round": (
        lambda d: d.filter(consent={"C0004": OptOut("ads_ok", false_is_yes=True)}),
        "the policy keeps `C0004` of model `people` in BooleanColumn column `ads_ok`, and this DAG in",
    ),
    "the region is what the DAG says": (
        lambda d: d.filter(consent=RowConsent({"C0004": "ads_ok"}, region="country")),
        "the policy keeps `region` of model `people` in no column, and this DAG in column `country`: leave it out",
    ),
    "the time of consent is now": (
        lambda d: d.filter(consent={"C0004": Recorded("ads_ok", time="now")}),
        "the policy keeps `C0004` of model `people` in BooleanColumn column `ads_ok`, and this DAG in",
    ),
    "the model's SQL says TRUE, where a source keeps consent": (
        lambda d: d.extract(sql="SELECT *, TRUE AS ads_ok FROM people"),
        "the model already has a column `ads_ok`",
    ),
    "the model's SQL says TRUE, where the policy has the SQL": (
        lambda d: d.extract(model="written", sql="SELECT id, email, TRUE AS said FROM people"),
        "the policy declares query sha256:",
    ),
    "the present consent is asked of SQL that says TRUE": (
        lambda d: d.extract(
            model="written",
            sql=WRITTEN,
            current_consent_sql="SELECT id, TRUE AS said FROM people",
        ),
        "the policy declares query sha256:",
    ),
    "a source of the DAG brings the consent": (
        lambda d: d.extract(consent_sources=[yes("SELECT id, TRUE AS ads_ok FROM people")]),
        "the policy brings column `ads_ok` to model `people` with ConsentSource sha256:",
    ),
    "a source of the DAG brings the column of the model": (
        lambda d: d.extract(
            model="written",
            sql=WRITTEN,
            consent_sources=[yes("SELECT id, TRUE AS said FROM people", columns=["said"])],
        ),
        "the policy keeps consent of model `written` in column `said`, and this DAG brings this column with",
    ),
    "the fast lane asks a source of the DAG": (
        lambda d: d.withdraw(consent_sources=[yes("SELECT id, TRUE AS ads_ok FROM people")]),
        "the policy brings column `ads_ok` to model `people` with ConsentSource sha256:",
    ),
    # Fewer suppressions.
    "another list takes the place of the policy's": (
        lambda d: d.extract(
            consent_sources=[SuppressionList("SELECT 'x' AS email", subject="email", conn_id="source")]
        ),
        "the policy brings column `suppressed` to model `people` with SuppressionList sha256:",
    ),
    # Another model.
    "the model has another name": (
        lambda d: d.extract(model="customers"),
        "the policy declares neither model `customers` nor connection `source`, and others may not be used",
    ),
    "the model has nearly the same name": (
        lambda d: d.extract(model="People"),
        "model `People` resembles `people`, which the policy declares, did you mean `people`?",
    ),
    "the model is read from another connection": (
        lambda d: d.extract(conn_id="mine"),
        "the policy declares connection `source` for model `people`, and this DAG has `mine`",
    ),
    "the model is read from another schema": (
        lambda d: d.extract(hook_params={"schema": "mine"}),
        'the policy declares hook_params {} for model `people`, and this DAG has {"schema": "mine"}',
    ),
    "another column identifies a row": (
        lambda d: d.extract(primary_key="ssn"),
        "the policy declares primary key `id` for model `people`, and this DAG has `ssn`",
    ),
    # Another destination.
    "a name that the policy does not have": (
        lambda d: d.filter(destination="my_own_vendor"),
        "the policy does not name `my_own_vendor`, and other names may not be used",
    ),
    "a name leads to another connection": (
        lambda d: d.load(conn_id="other"),
        "the policy declares connection `crm` for `crm`, and this DAG has `other`",
    ),
    "a name leads to another table": (
        lambda d: d.load(table="mine"),
        "the policy declares table `people` for `crm`, and this DAG has `mine`",
    ),
    "a name is loaded by another operator": (
        lambda d: d.load(kind=LoadToFilesOperator),
        "the policy declares that `crm` is loaded by LoadToSqlTableOperator, and here it is LoadToFilesOperator",
    ),
    "a name is loaded by an operator with the same name": (
        lambda d: d.load(kind=LookAlike),
        "the policy declares that `crm` is loaded by LoadToSqlTableOperator, and here it is airflow_consent_retl.",
    ),
    "the rows of a name are given to code of one's own": (
        lambda d: permitted_dataframes(d.filter(), destination="crm", fields={"id": "id"}),
        "the policy declares that `crm` is loaded by LoadToSqlTableOperator, and here it is permitted_batches",
    ),
    "the fast lane removes elsewhere": (
        lambda d: (d.load(), d.withdraw(load={"table": "mine"})),
        "the policy declares table `people` for `crm`, and this DAG has `mine`",
    ),
    "a destination without an assessment": (
        lambda d: d.filter(destination="mail"),
        "`mail` is in US and has no assessment, which the policy requires outside DE, FR",
    ),
    # Other fields.
    "a column that may not go": (
        lambda d: d.load(fields={"id": "id", "email": "ssn"}),
        "the policy lets column `email` as `email`, `id` as `id` go to `crm`, and this DAG sends `ssn` as `email`",
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_way_around_the_policy_is_refused_with_its_sentence(deployment: Deployment, name: str) -> None:
    way, sentence = WAYS[name]

    with pytest.raises((AirflowFailException, ConsentRetlError)) as refusal:
        way(deployment)

    assert sentence in unwrapped(str(refusal.value))
    assert "u1@x" not in str(refusal.value)
    # Whatever the way did before, no one without a yes was sent.
    assert set(deployment.people()) <= {1}


def test_another_name_for_the_same_place_is_refused(deployment: Deployment) -> None:
    policy = json.loads(json.dumps(OFFICER))
    policy["officer"]["destinations"]["mail"]["assessment"] = "DPIA-8"
    deployment.officer(policy)

    with task_fails(match="connection `crm` is what the policy declares for `crm`, and this DAG"):
        deployment.load(destination="mail")

    assert deployment.people() == []


@pytest.mark.parametrize(
    ("declared", "place"),
    [
        ({"connection": "crm", "parameters": {"table": "people"}}, {"table": "main.people"}),
        ({"connection": "crm", "parameters": {"table": "people"}}, {"table": "PEOPLE"}),
        ({"connection": "crm", "parameters": {"table": "people"}}, {"conn_id": "linked"}),
        ({"connection": "crm"}, {"conn_id": "linked", "table": "main.people"}),
        ({"target": "table `people` of sqlite:{path}/crm.db"}, {"table": '"main"."people"'}),
        ({"target": "table `people` of sqlite:{path}/crm.db"}, {"conn_id": "linked"}),
        (
            {"operator": "LoadToFilesOperator", "parameters": {"path": "file://{path}/lake"}},
            {"kind": LoadToFilesOperator},
        ),
    ],
)
def test_the_same_place_in_another_spelling_has_no_other_name(
    deployment: Deployment, declared: dict[str, Any], place: dict[str, Any]
) -> None:
    (deployment.path / "linked.db").symlink_to(deployment.path / "crm.db")
    deployment.connect("linked", "sqlite", "linked.db")
    policy = json.loads(json.dumps(OFFICER))
    crm = json.loads(json.dumps(declared).replace("{path}", str(deployment.path)))
    policy["officer"]["destinations"] = {"crm": {**crm, "country": "DE"}, "mail": {"country": "DE"}}
    deployment.officer(policy)

    with task_fails(match="is what the policy declares for `crm`, and this DAG calls it `mail`"):
        deployment.load(destination="mail", **place)

    assert deployment.people() == []


def test_another_table_of_a_declared_place_may_have_another_name(deployment: Deployment) -> None:
    policy = json.loads(json.dumps(OFFICER))
    policy["officer"]["destinations"]["mail"]["assessment"] = "DPIA-8"
    deployment.officer(policy)

    assert deployment.load(destination="mail", table="subscribers")["added"] == 1


class Elsewhere(LoadToSqlTableOperator):
    """A load of the DAG's own, with the right parameters, that sends elsewhere."""

    def build_destination(self) -> Any:
        self.table = "mine"
        return super().build_destination()


@pytest.mark.parametrize("placed", [{"connection": "crm"}, {"parameters": {"table": "people"}}, {"target": "anything"}])
def test_code_of_ones_own_is_refused_where_the_policy_says_only_where_a_destination_is(
    deployment: Deployment, placed: dict[str, Any]
) -> None:
    policy = json.loads(json.dumps(OFFICER))
    policy["officer"]["destinations"]["crm"] = {"country": "DE", **placed}
    deployment.officer(policy)
    permitted = deployment.filter()

    with task_fails(match="test_red_team:Elsewhere could send elsewhere: declare it as"):
        deployment.load(permitted, kind=Elsewhere)
    with pytest.raises(PolicyError, match="permitted_batches could send elsewhere: declare it as the"):
        permitted_batches(permitted, destination="crm", fields={"id": "id"})

    assert deployment.people() == []


def test_the_target_itself_can_be_declared(deployment: Deployment) -> None:
    policy = json.loads(json.dumps(OFFICER))
    policy["officer"]["destinations"]["crm"]["target"] = "table people of elsewhere"
    deployment.officer(policy)

    with task_fails(match="the policy declares target table people of elsewhere for `crm`"):
        deployment.load()

    assert deployment.people() == []


def test_rows_that_were_extracted_without_the_policys_sources_are_refused_by_the_filter(deployment: Deployment) -> None:
    deployment.monkeypatch.delenv("AIRFLOW__CONSENT_RETL__POLICY")
    snapshot = deployment.extract(sql="SELECT *, TRUE AS ads_ok FROM people")
    deployment.monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", PLACE)

    with task_fails(match="the rows were extracted without it"):
        deployment.filter(snapshot)


def test_a_permitted_set_that_another_mapping_decided_is_refused_by_the_load(deployment: Deployment) -> None:
    policy = json.loads(json.dumps(OFFICER))
    del policy["officer"]["models"]["people"]["consent"]
    deployment.officer(policy)
    permitted = deployment.filter(consent={"C0004": Literals("country", granted=("US",))})
    deployment.officer(OFFICER)

    with task_fails(match="the policy keeps `C0004` of model `people` in BooleanColumn"):
        deployment.load(permitted)

    assert deployment.people() == []


def test_a_list_that_the_policy_adds_stops_loads_of_rows_that_were_extracted_before(deployment: Deployment) -> None:
    policy = json.loads(json.dumps(OFFICER))
    del policy["officer"]["suppression_lists"]
    deployment.officer(policy)
    permitted = deployment.filter()
    deployment.officer(OFFICER)

    with task_fails(match="the policy applies SuppressionList sha256:"):
        deployment.load(permitted)

    assert deployment.people() == []


def test_identities_of_the_policy_apply_whatever_a_dag_says(deployment: Deployment) -> None:
    with duckdb.connect(str(deployment.path / "source.duckdb")) as connection:
        # Person 3 said no.
        connection.execute("CREATE TABLE links AS SELECT unnest([1, 3]) AS person, 'x' AS device")
    older = deployment.extract()
    policy = json.loads(json.dumps(OFFICER))
    linked = {"sql": "SELECT * FROM links", "subject": "person", "identifier": "device", "key": "id"}
    policy["officer"]["models"]["people"]["consent_sources"].append({"format": "IdentityLinks", **linked})
    deployment.officer(policy)
    nobody = IdentityLinks("SELECT id, id AS own FROM people", subject="id", identifier="own")

    with task_fails(match="the policy applies IdentityLinks sha256:"):
        deployment.filter(older)
    for way in (deployment.extract, deployment.withdraw):
        with task_fails(match="`consent_retl_cluster` to model `people` with IdentityLinks"):
            way(identities=nobody)
    deployment.load()

    assert deployment.people() == []


def test_a_dag_may_add_what_only_denies(deployment: Deployment) -> None:
    more = SuppressionList("SELECT 'u1@x.example' AS email", subject="email", conn_id="source", column="ours")

    deployment.load(deployment.filter(deployment.extract(consent_sources=[more])))

    assert deployment.people() == []


def test_a_policy_that_a_dag_names_itself_binds_it_too(deployment: Deployment) -> None:
    deployment.monkeypatch.delenv("AIRFLOW__CONSENT_RETL__POLICY")

    with task_fails(match="the rows were extracted without it"):
        deployment.filter(policy=PLACE, consent={"C0004": "said"})
