"""Consent columns whose names are an edit apart (`c0002`, `c0004`), through filter, loads, fast lane and reports."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.customer_match import CONN_ID, connection_to
from support.data_manager_server import DataManager, data_manager
from support.iab_strings import VENDOR, core, disclosed, gpp, tcf
from support.log_lines import task_fails
from support.postgres import Postgres, postgres
from support.servers import Receiver, receiver

from airflow_consent_retl.consent import (
    BitMask,
    ConsentMappingLike,
    ConsentObject,
    ConsentObjectKey,
    ExcludedDestinations,
    FirstOf,
    GoogleConsent,
    GppTcf,
    GppUs,
    GrantedId,
    IntegrationsObject,
    Literals,
    MostRestrictive,
    Recorded,
    RowConsent,
    TcfString,
)
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadOperator,
    LoadToFilesOperator,
    LoadToGoogleCustomerMatchOperator,
    LoadToSqlTableOperator,
    LoadToWebhookOperator,
    PropagateWithdrawalsOperator,
)
from airflow_consent_retl.reports import compare_with_segment, diff_policies, explain

# Each case in files or in a warehouse; `make test-long` has the other.
pytestmark = pytest.mark.diagonal("world")
__all__ = ["postgres"]

Load = Callable[..., LoadOperator]
SQL = "SELECT * FROM customers"
FIELDS = {"id": "id", "email": "email"}


@dataclass
class World:
    """A model in one kind of workspace, and every destination.

    Args:
        execute: runs statements on the model's database.
        workspace: of the extraction; None: files.
        loads: by the destination's name.
        people: by the destination's name, the e-mail addresses that it has.
    """

    execute: Callable[[str], object]
    workspace: str | None
    loads: dict[str, Load] = field(default_factory=dict)
    people: dict[str, Callable[[], set[str]]] = field(default_factory=dict)

    def snapshot(self) -> Any:
        return ExtractModelOperator(
            task_id="extract", model="customers", conn_id="source", sql=SQL, primary_key="id", workspace=self.workspace
        ).execute({})

    def permitted(self, policy: Any, consent: Any, *names: str) -> Any:
        return ConsentFilterOperator(
            task_id="consent",
            snapshot=self.snapshot(),
            policy=policy,
            consent=consent,
            destinations=names or [name for name in self.loads if name in json.dumps(policy)],
        ).execute({})

    def load(self, name: str, permitted: Any, policy: Any, **parameters: Any) -> dict[str, Any]:
        counts: dict[str, Any] = self.loads[name](
            task_id="load", permitted=permitted, destination=name, policy=policy, **parameters
        ).execute({})
        return counts

    def withdraw(self, policy: Any, consent: Any, *names: str) -> dict[str, Any]:
        served: dict[str, Any] = PropagateWithdrawalsOperator(
            task_id="withdraw",
            model="customers",
            conn_id="source",
            sql=SQL,
            primary_key="id",
            policy=policy,
            consent=consent,
            loads={name: self.loads[name] for name in names},
            max_removed_ratio=None,
            confirm_interval_s=0.05,
        ).execute({})
        return served


@pytest.fixture(params=["files", "warehouse"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    with ExitStack() as resources:
        if request.param == "warehouse":
            server: Postgres = request.getfixturevalue("postgres")
            execute: Callable[[str], object] = resources.enter_context(server.connect()).execute
            execute("DROP SCHEMA IF EXISTS staging CASCADE; CREATE SCHEMA staging; DROP TABLE IF EXISTS customers")
            monkeypatch.setenv("AIRFLOW_CONN_SOURCE", server.airflow_connection())
            world = World(execute, "warehouse:staging")
        else:
            file = str(tmp_path / "source.duckdb")
            monkeypatch.setenv("AIRFLOW_CONN_SOURCE", json.dumps({"conn_type": "duckdb", "host": file}))

            def execute_in_duckdb(statements: str) -> None:
                with duckdb.connect(file) as connection:
                    connection.execute(statements)

            world = World(execute_in_duckdb, None)
        _files(world, "lake", tmp_path)
        _files(world, "archive", tmp_path)
        _table(world, tmp_path, monkeypatch)
        _webhook(world, resources.enter_context(receiver()), monkeypatch)
        _google(world, resources.enter_context(data_manager()))
        yield world


def _files(world: World, name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    world.loads[name] = partial(LoadToFilesOperator, path=folder.as_uri(), format="jsonl", fields=FIELDS)

    def people() -> set[str]:
        newest = max(folder.rglob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns, default=None)
        lines = [] if newest is None else newest.read_text().splitlines()
        return {json.loads(line)["email"] for line in lines}

    world.people[name] = people


def _table(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "crm.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    world.loads["crm_table"] = partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields=FIELDS)

    def people() -> set[str]:
        with closing(sqlite3.connect(file)) as connection:
            return {email for (email,) in connection.execute("SELECT email FROM people")}

    world.people["crm_table"] = people


def _webhook(world: World, server: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "http", "host": server.url, "extra": {"allow_private": True}}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_HTTP", json.dumps(connection))
    world.loads["webhook"] = partial(LoadToWebhookOperator, conn_id="crm_http", endpoint="/people", fields=FIELDS)
    world.people["webhook"] = lambda: {person["email"] for person in server.people.values()}


def _google(world: World, server: DataManager) -> None:
    connection_to(server)

    def load(**parameters: Any) -> LoadOperator:
        (category,) = (
            category["id"]
            for category in parameters["policy"]["categories"]
            if "google_ads" in category["destinations"]
        )
        settings: dict[str, Any] = {"confirm_interval_s": 0.05, **parameters}
        return LoadToGoogleCustomerMatchOperator(
            gcp_conn_id=CONN_ID,
            audience_id="42",
            operating_account="123-456-7890",
            fields={"email": "email"},
            consent_signals={"ad_user_data": category, "ad_personalization": category},
            terms_of_service_accepted=True,
            **settings,
        )

    world.loads["google_ads"] = load
    known = {sha256(email.encode()).hexdigest(): email for email in map(_email, range(10))}
    world.people["google_ads"] = lambda: {known[value] for _, value in server.audience}


def _email(number: int) -> str:
    return f"canary-{number}@example.com"


def two_categories(first: str, second: str, **terms: Any) -> dict[str, Any]:
    return {
        "categories": [
            {"id": "C0002", "name": "Analytics", "destinations": [first], **terms},
            {"id": "C0004", "name": "Advertising", "destinations": [second]},
        ]
    }


PAIRS = list(combinations(["webhook", "lake", "crm_table", "google_ads"], 2))
# Ten people: half of them say yes to the one, a third to the other.
CUSTOMERS = (
    "CREATE TABLE customers AS SELECT i AS id, 'canary-' || i || '@example.com' AS email, i % 2 = 0 AS c0002, "
    "false AS c0003, i % 3 = 0 AS c0004 FROM generate_series(0, 9) AS t(i)"
)
CONSENT: ConsentMappingLike = {"C0002": "c0002", "C0004": "c0004"}


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=["-".join(pair) for pair in PAIRS])
def test_every_destination_is_loaded_and_served_by_the_fast_lane(world: World, first: str, second: str) -> None:
    world.execute(CUSTOMERS)
    policy = two_categories(first, second)
    permitted = world.permitted(policy, CONSENT)

    loaded = [world.load(name, permitted, policy) for name in (first, second)]
    before = [world.people[name]() for name in (first, second)]
    world.execute("UPDATE customers SET c0002 = false WHERE id = 6; UPDATE customers SET c0004 = false WHERE id = 9")
    withdrawn = world.withdraw(policy, CONSENT, first, second)
    after = [world.people[name]() for name in (first, second)]

    assert [(counts["accepted"], counts["withheld"]) for counts in loaded] == [(5, 0), (4, 0)]
    assert before == [set(map(_email, (0, 2, 4, 6, 8))), set(map(_email, (0, 3, 6, 9)))]
    assert [withdrawn[name]["removals_by_cause"] for name in (first, second)] == [{"consent_withdrawn": 1}] * 2
    assert after == [set(map(_email, (0, 2, 4, 8))), set(map(_email, (0, 3, 6)))]


def test_who_withdraws_between_filter_and_load_is_withheld_by_the_column_that_counts(world: World) -> None:
    world.execute(CUSTOMERS)
    policy = two_categories("lake", "crm_table")
    permitted = world.permitted(policy, CONSENT)
    world.execute("UPDATE customers SET c0002 = false WHERE id = 0; UPDATE customers SET c0004 = false WHERE id = 3")

    loaded = [world.load(name, permitted, policy) for name in ("lake", "crm_table")]

    assert [(counts["accepted"], counts["withheld"]) for counts in loaded] == [(4, 1), (3, 1)]
    assert world.people["lake"]() == set(map(_email, (2, 4, 6, 8)))
    assert world.people["crm_table"]() == set(map(_email, (0, 6, 9)))


def test_a_slip_is_refused_by_the_filter_whichever_columns_a_destination_needs(world: World) -> None:
    world.execute(CUSTOMERS)

    with task_fails(match="column `c0009` is not in the model, did you mean `c0002`"):
        world.permitted(two_categories("lake", "crm_table"), {"C0002": "c0009", "C0004": "c0004"})


def test_a_slip_that_a_new_policy_brings_up_is_refused_by_the_load(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.execute(CUSTOMERS)
    consent = {"C0002": "c0002", "C0004": "c0004", "marketing": "c0009"}
    policy = two_categories("lake", "crm_table")
    monkeypatch.setenv("AIRFLOW_VAR_SLIP", json.dumps(policy))
    permitted = world.permitted("variable:slip", consent, "lake", "crm_table")
    policy["categories"].append({"id": "marketing", "name": "Marketing", "destinations": ["webhook"]})
    monkeypatch.setenv("AIRFLOW_VAR_SLIP", json.dumps(policy))

    with task_fails(match="column `c0009` is not in the model, did you mean `c0002`"):
        world.load("lake", permitted, "variable:slip")


def test_reports_plan_with_every_column_of_the_snapshot(world: World) -> None:
    world.execute(CUSTOMERS)
    snapshot = world.snapshot()
    old, new = two_categories("lake", "crm_table"), two_categories("crm_table", "lake")

    for name, permitted, afterwards in (("lake", 5, 4), ("crm_table", 4, 5)):
        asked: dict[str, Any] = {"consent": CONSENT, "destinations": [name]}
        diff = diff_policies(old, new, snapshot, **asked).destinations[name]  # type: ignore[index]
        beside = compare_with_segment(snapshot=snapshot, policy=old, rules="reverse_etl", **asked).destinations[name]
        explained = explain(3, snapshot=snapshot, policy=old, **asked).destinations[name]

        assert (diff.permitted_before, diff.permitted_after) == (permitted, afterwards)
        assert (beside.both, beside.neither) == (permitted, 10 - permitted)
        assert explained.permitted == (name == "crm_table")


@dataclass(frozen=True)
class Format:
    """How two columns hold consent, and the SQL of a yes and of a no."""

    consent: ConsentMappingLike
    yes: str
    no: str
    type: str = "varchar"
    terms: dict[str, Any] = field(default_factory=dict)


def each(signal: Callable[[str, str], Any]) -> dict[str, Any]:
    return {category: signal(category.lower(), category) for category in ("C0002", "C0004")}


AGREED, REFUSED = tcf(core(consented=(1,)), disclosed()), tcf(core(consented=(2,)), disclosed())
FORMATS = {
    "boolean": Format(each(lambda column, _: column), "true", "false", "boolean"),
    "literals": Format(each(lambda column, _: Literals(column, granted=("yes",), denied=("no",))), "'yes'", "'no'"),
    "numbers": Format(each(lambda column, _: Literals(column, granted=(1,), denied=(0,))), "1", "0", "integer"),
    "key of an object": Format(
        each(lambda column, _: ConsentObjectKey(column, path=("a",))), """'{"a": true}'""", """'{"a": false}'"""
    ),
    "granted id": Format(each(lambda column, id_: GrantedId(column, id_, ",")), "'C0002,C0004'", "'C0001'"),
    "google": Format(each(lambda column, _: GoogleConsent(column)), "'GRANTED'", "'DENIED'"),
    "tcf": Format(
        each(lambda column, _: TcfString(column, purposes=(1,), vendor=VENDOR)), f"'{AGREED}'", f"'{REFUSED}'"
    ),
    "tcf in gpp": Format(
        each(lambda column, _: GppTcf(column, purposes=(1,), vendor=VENDOR)),
        f"'{gpp({2: AGREED})}'",
        f"'{gpp({2: REFUSED})}'",
    ),
    "privacy string in gpp": Format(
        each(lambda column, _: GppUs(column, section="uspv1", opt_outs=("SaleOptOut",))),
        f"'{gpp({6: '1YNN'})}'",
        f"'{gpp({6: '1YYN'})}'",
    ),
    "bit": Format(each(lambda column, _: BitMask(column, bit=2)), "4", "1", "integer"),
    "first of two": Format(
        each(lambda column, _: FirstOf(column, column.replace("c0", "d0"))), "true", "false", "boolean"
    ),
    "every one of two": Format(
        each(lambda column, _: MostRestrictive(column, column.replace("c0", "d0"))), "true", "false", "boolean"
    ),
    "age, notice and all that a row says": Format(
        RowConsent(
            each(lambda column, _: Recorded(column, time=column.replace("c0", "t0"))),
            notice_version="n0002",
            gpc="c0005",
            switches=ExcludedDestinations("c0006"),
        ),
        "true",
        "false",
        "boolean",
        {"max_age": "1 year", "min_notice_version": 2},
    ),
    "one object, and switches": Format(
        RowConsent(ConsentObject("d0006"), switches=IntegrationsObject("c0006")), "true", "false", "boolean"
    ),
}


@pytest.mark.samples(10)
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_from_its_own_column(world: World, name: str) -> None:
    kind = FORMATS[name]
    # All yes but one no: 4 does not permit the one, 7 not the other.
    columns = {"C0002": f"CASE i WHEN 4 THEN {kind.no} ELSE {kind.yes} END"}
    columns["C0004"] = columns["C0002"].replace("WHEN 4", "WHEN 7")
    world.execute(
        "CREATE TABLE customers AS SELECT i AS id, 'canary-' || i || '@example.com' AS email, "
        f"CAST({columns['C0002']} AS {kind.type}) AS c0002, CAST({columns['C0004']} AS {kind.type}) AS c0004, "
        f"CAST({columns['C0002']} AS {kind.type}) AS d0002, CAST({columns['C0004']} AS {kind.type}) AS d0004, "
        "now() AS t0002, now() AS t0004, 2 AS n0002, false AS c0005, CAST(NULL AS varchar) AS c0006, "
        """'{"categoryPreferences": {"C0002": ' || (i <> 4) || ', "C0004": ' || (i <> 7) || '}}' AS d0006 """
        "FROM generate_series(0, 9) AS t(i)"
    )
    policy = two_categories("lake", "archive", **kind.terms)

    permitted = world.permitted(policy, kind.consent)
    loaded = [world.load(destination, permitted, policy) for destination in ("lake", "archive")]
    withdrawn = world.withdraw(policy, kind.consent, "lake", "archive")

    assert [(counts["permitted"], counts["accepted"], counts["withheld"]) for counts in loaded] == [(9, 9, 0)] * 2
    assert world.people["lake"]() == {_email(number) for number in range(10) if number != 4}
    assert world.people["archive"]() == {_email(number) for number in range(10) if number != 7}
    assert [(counts["removed"], counts["delivered"]) for counts in withdrawn.values()] == [(0, 9)] * 2
