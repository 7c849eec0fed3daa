"""Consent from other queries says in every workspace what `consent.history` says about the same events."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from parity.comparing import assert_same
from parity.engines import DuckDb, Engine
from parity.law import Setup
from parity.model import Model, Person
from parity.recorder import LoadToVendor, Vendor
from parity.workspaces import MODEL, Both, Workspace
from support.log_lines import task_fails
from support.recorded_answers import RecordedAnswers

from airflow_consent_retl.consent import ConsentSource, Recorded, RowConsent, SuppressionList, counted_answers
from airflow_consent_retl.hooks.workspaces import staging_warehouse
from airflow_consent_retl.operators import PropagateWithdrawalsOperator

# `make test` compares files and warehouses by the other modules of this folder.
pytestmark = pytest.mark.long

NOW = datetime.now(UTC).replace(microsecond=0)
PEOPLE = [f"person-{number:02d}" for number in range(24)]
KINDS = {"id": "text", "email": "text"}
EVENTS = {"subject": "text", "time": "instant", "profile": "text", "ads": "boolean", "said": "text"}
MAILING, SHOP, SURVEY, PARTNER = DESTINATIONS = ("mailing", "storefront", "questionnaire", "affiliate")
# Granted without a doubt, whatever else was recorded.
BY_CASE = {"categories": [{"id": "C0003", "name": "Merged", "destinations": [SURVEY]}]}
SETUP = Setup(
    name="kept elsewhere",
    policy={
        "categories": [
            {"id": "C0001", "name": "States", "destinations": [MAILING]},
            {"id": "C0002", "name": "Events", "destinations": [SHOP]},
            {"id": "C0003", "name": "Merged", "destinations": [SURVEY]},
            {"id": "C0004", "name": "Long", "destinations": [PARTNER], "max_age": "30 days"},
        ]
    },
    consent=RowConsent(
        {"C0001": "as_state", "C0002": "as_event", "C0003": "as_merged", "C0004": Recorded("long", time="long_at")}
    ),
    columns={},
    destinations=DESTINATIONS,
)


def history() -> list[dict[str, Any]]:
    """Return events of every kind, of most people and of people outside the model."""
    chance = random.Random(7)  # noqa: S311 - no secret
    return [
        {
            "subject": chance.choice([*PEOPLE[:20], None, "stranger"]),
            "time": chance.choice([None, *(NOW - timedelta(days=days) for days in (-3, 1, 2, 3, 40))]),
            "profile": chance.choice([None, "phone", "tablet", *PEOPLE[:3]]),
            "ads": chance.choice([True, True, False, None]),
            "said": chance.choice(["yes", "no"]),
        }
        for _ in range(70)
    ]


def sources(engine: Engine) -> list[ConsentSource | SuppressionList]:
    query = engine.query("consent_events", EVENTS)
    shared: dict[str, Any] = {"subject": "subject", "key": "id"}
    return [
        ConsentSource(query, columns={"ads": "as_state"}, **shared),
        ConsentSource(query, columns={"ads": "as_event"}, time="time", **shared),
        ConsentSource(query, columns={"ads": "as_merged"}, time="time", profile="profile", **shared),
        ConsentSource(
            query, columns={"yes": "long"}, category="said", value="ads", time="time", bring_time=True, **shared
        ),
        SuppressionList(engine.query("never", {"address": "text"}), subject="address", key="email", min_rows=0),
    ]


def expected(declared: list[ConsentSource | SuppressionList], rows: list[dict[str, Any]], suppressed: set[str]) -> Any:
    """Return who may be sent where, by the law and a rule written out here."""
    histories = [source for source in declared if isinstance(source, ConsentSource)]
    states, events, merged, long = (counted_answers(source, rows, at=NOW) for source in histories)
    allowed = {
        MAILING: {who for (who,), answer in states.items() if answer.values == (True,)},
        SHOP: {who for (who,), answer in events.items() if answer.values == (True,)},
        SURVEY: {who for (who,), answer in merged.items() if answer.values == (True,)},
        PARTNER: {
            who
            for (who, _), answer in long.items()
            if answer.values == (True,) and answer.time and answer.time > NOW - timedelta(days=30)
        },
    }
    found = {
        who: tuple(name for name in sorted(DESTINATIONS) if who in allowed[name])
        for who in PEOPLE
        if who not in suppressed
    }
    return {who: names for who, names in found.items() if names}


def set_up(
    warehouse: Engine,
    root: Path,
    rows: list[dict[str, Any]],
    suppressed: set[str],
    history: RecordedAnswers | None = None,
) -> tuple[Both, Model]:
    ids = PEOPLE if history is None else list(history.expected)
    people = tuple(Person(id_, {"id": id_, "email": f"{id_}@example.org"}, {}, {}) for id_ in ids)
    model = Model(KINDS, people)
    warehouse.create("elsewhere", model.kinds, model.rows)
    warehouse.create("consent_events", EVENTS, rows)
    warehouse.create("never", {"address": "text"}, [{"address": f"{who}@example.org"} for who in sorted(suppressed)])
    return Both.of(warehouse, root), model


def test_consent_from_other_tables_is_joined_and_decided_alike(warehouse: Engine, root: Path) -> None:
    rows, suppressed = history(), {PEOPLE[0], PEOPLE[5]}
    both, model = set_up(warehouse, root, rows, suppressed)

    both.extract(model, table="elsewhere", consent_sources=sources(warehouse))
    lake, inside = both.filter(SETUP)

    found = both.inside.decided(inside, SETUP, asked=PEOPLE)
    assert found.recipients == expected(sources(warehouse), rows, suppressed)
    assert len(set(found.recipients.values())) == 4
    assert_same(found, both.lake.decided(lake, SETUP, asked=PEOPLE))
    assert both.inside.permitted(inside).conflicts == both.lake.permitted(lake).conflicts


@pytest.mark.parametrize("regime", ["opt_in", "opt_out"])
def test_a_no_under_another_spelling_of_the_id_is_no_silence(warehouse: Engine, root: Path, regime: str) -> None:
    said = {PEOPLE[0]: True, PEOPLE[1].upper(): False, f" {PEOPLE[2]}": False, f"{PEOPLE[3]}\u00a0": True}
    rows = [{**dict.fromkeys(EVENTS), "subject": who, "ads": answer} for who, answer in said.items()]
    both, model = set_up(warehouse, root, rows, set())
    policy = {"categories": [{"id": "C0001", "name": "Mail", "destinations": [MAILING], "regime": regime}]}
    setup = replace(SETUP, policy=policy, consent={"C0001": "as_state"}, destinations=(MAILING,))

    both.extract(model, table="elsewhere", consent_sources=[sources(warehouse)[0]])
    lake, inside = both.filter(setup)

    found = both.inside.decided(inside, setup, asked=PEOPLE)
    silent = set(PEOPLE[4:]) if regime == "opt_out" else set()
    assert set(found.recipients) == {PEOPLE[0]} | silent
    assert_same(found, both.lake.decided(lake, setup, asked=PEOPLE))


@pytest.mark.parametrize("regime", ["opt_in", "opt_out"])
def test_a_no_to_another_spelling_of_the_category_is_no_silence(warehouse: Engine, root: Path, regime: str) -> None:
    said = [(PEOPLE[0], "yes", True), (PEOPLE[0], "YES", False), (PEOPLE[1], " Yes", False), (PEOPLE[2], "no", False)]
    rows = [{**dict.fromkeys(EVENTS), "subject": who, "said": what, "ads": answer} for who, what, answer in said]
    both, model = set_up(warehouse, root, rows, set())
    policy = {"categories": [{"id": "C0001", "name": "Mail", "destinations": [MAILING], "regime": regime}]}
    setup = replace(SETUP, policy=policy, consent={"C0001": "long"}, destinations=(MAILING,))
    query = warehouse.query("consent_events", EVENTS)
    source = ConsentSource(query, subject="subject", key="id", columns={"yes": "long"}, category="said", value="ads")

    both.extract(model, table="elsewhere", consent_sources=[source])
    lake, inside = both.filter(setup)

    found = both.inside.decided(inside, setup, asked=PEOPLE)
    silent = set(PEOPLE[2:]) if regime == "opt_out" else set()
    assert set(found.recipients) == {PEOPLE[0]} | silent
    assert_same(found, both.lake.decided(lake, setup, asked=PEOPLE))


def test_recorded_answers_of_every_kind_permit_in_both_workspaces_what_the_case_file_says(
    warehouse: Engine, root: Path
) -> None:
    history = RecordedAnswers(NOW, {"yes": True, "no": False})
    both, model = set_up(warehouse, root, [{**dict.fromkeys(EVENTS), **row} for row in history.rows], set(), history)
    setup = replace(SETUP, policy=BY_CASE, consent={"C0003": "as_merged"}, destinations=(SURVEY,))

    both.extract(model, table="elsewhere", consent_sources=[sources(warehouse)[2]])
    lake, inside = both.filter(setup)

    found = both.inside.decided(inside, setup, asked=list(history.expected))
    granted = {who: (SURVEY,) for who, (values, doubt, _) in history.expected.items() if values == (True,)}
    assert found.recipients == granted
    assert_same(found, both.lake.decided(lake, setup, asked=list(history.expected)))


def test_a_withdrawal_in_another_table_or_a_suppression_stops_and_removes_the_person(
    warehouse: Engine, root: Path
) -> None:
    rows = [{**dict.fromkeys(EVENTS), "subject": who, "ads": True, "time": NOW, "said": "yes"} for who in PEOPLE[:4]]
    both, model = set_up(warehouse, root, rows, set())
    both.extract(model, table="elsewhere", consent_sources=sources(warehouse))
    outputs = both.filter(SETUP)
    vendors = Vendor(), Vendor()
    withdrawn = {**rows[1], "ads": False, "time": NOW + timedelta(seconds=30)}

    set_up(warehouse, root, [*rows, withdrawn], {PEOPLE[0]})
    for (workspace, _), output, vendor in zip(both.each, outputs, vendors, strict=True):
        load(workspace, output, vendor)
    sent = [set(vendor.people) for vendor in vendors]
    set_up(warehouse, root, [*rows, withdrawn, {**withdrawn, "subject": PEOPLE[2]}], {PEOPLE[0]})
    taken_back = [
        workspace.carry_out(withdrawing(workspace, vendor))
        for (workspace, _), vendor in zip(both.each, vendors, strict=True)
    ]

    assert sent == [{PEOPLE[2], PEOPLE[3]}] * 2
    assert [set(vendor.people) for vendor in vendors] == [{PEOPLE[3]}] * 2
    assert [output[SHOP]["removals_by_cause"]["consent_withdrawn"] for output in taken_back] == [1, 1]


def test_consent_from_another_connection_is_copied_and_joined_too(
    warehouse: Engine, root: Path, parity_duckdb: DuckDb
) -> None:
    rows = [{**dict.fromkeys(EVENTS), "subject": who, "ads": True, "time": NOW, "said": "yes"} for who in PEOPLE[:4]]
    both, model = set_up(warehouse, root, rows, set())
    parity_duckdb.create("consent_events", EVENTS, [*rows[1:], {**rows[1], "ads": False}])
    parity_duckdb.create("never", {"address": "text"}, [{"address": f"{PEOPLE[3]}@example.org"}])
    events_elsewhere, never_elsewhere = (
        replace(source, conn_id=parity_duckdb.conn_id)
        for source in (
            ConsentSource(
                parity_duckdb.query("consent_events", EVENTS),
                subject="subject",
                key="id",
                time="time",
                columns={"ads": "as_event"},
            ),
            SuppressionList(parity_duckdb.query("never", {"address": "text"}), subject="address", key="email"),
        )
    )
    setup = replace(
        SETUP,
        policy={"categories": [{"id": "C0002", "name": "Events", "destinations": [SHOP]}]},
        consent={"C0002": "as_event"},
        destinations=(SHOP,),
    )

    with parity_duckdb.environment():
        both.extract(model, table="elsewhere", consent_sources=[events_elsewhere, never_elsewhere])
        lake, inside = both.filter(setup)
        withdrawn = {**rows[2], "ads": False, "time": NOW + timedelta(minutes=1)}
        parity_duckdb.create("consent_events", EVENTS, [*rows, withdrawn])
        vendors = Vendor(), Vendor()
        for (workspace, _), output, vendor in zip(both.each, (lake, inside), vendors, strict=True):
            load(workspace, output, vendor, setup)

    found = both.inside.decided(inside, setup, asked=PEOPLE)
    # The second person's two answers with the same timestamp contradict each other. The fourth person is on the list.
    assert found.recipients == {PEOPLE[2]: (SHOP,)}
    assert_same(found, both.lake.decided(lake, setup, asked=PEOPLE))
    # The third person has said no in the meantime, and the check before sending detects it.
    assert [vendor.people for vendor in vendors] == [{}, {}]
    assert left_in(warehouse) == []


def left_in(warehouse: Engine) -> list[str]:
    """Return the copied tables that are still in the staging schema."""
    assert warehouse.staging is not None
    with warehouse.environment(), staging_warehouse(warehouse.conn_id, warehouse.staging) as staging:
        return [table.name for table in staging.tables() if table.kind in ("consent", "model")]


def test_keys_of_another_kind_are_refused_in_a_warehouse_too(warehouse: Engine, root: Path) -> None:
    both, model = set_up(warehouse, root, history(), set())
    warehouse.create("numbered", {"subject": "integer", "ads": "boolean"}, [{"subject": 1, "ads": True}])
    numbered = ConsentSource(
        warehouse.query("numbered", {"subject": "integer", "ads": "boolean"}),
        subject="subject",
        key="id",
        columns=["ads"],
    )
    strangers = ConsentSource(
        warehouse.query("consent_events", EVENTS) + " WHERE subject = 'stranger'",
        subject="subject",
        key="id",
        columns=["ads"],
    )
    taken = ConsentSource(
        warehouse.query("consent_events", EVENTS), subject="subject", key="id", columns={"ads": "email"}
    )

    for workspace in (both.lake, both.inside):
        with task_fails(kind=Exception, match="both must be text, or both integers"):
            workspace.extract(model, table="elsewhere", consent_sources=[numbered])
        with task_fails(kind=Exception, match="none of 24 rows has a subject there"):
            workspace.extract(model, table="elsewhere", consent_sources=[strangers])
        with task_fails(kind=Exception, match="the model already has a column `email`"):
            workspace.extract(model, table="elsewhere", consent_sources=[taken])


def load(workspace: Workspace, permitted: dict[str, Any], vendor: Vendor, setup: Setup = SETUP) -> None:
    workspace.carry_out(
        LoadToVendor(
            task_id="load",
            vendor=vendor,
            permitted=permitted,
            destination=SHOP,
            fields={"id": "id", "email": "email"},
            policy=setup.policy,
            max_removed_ratio=None,
        )
    )


def withdrawing(workspace: Workspace, vendor: Vendor) -> PropagateWithdrawalsOperator:
    engine = workspace.engine
    return PropagateWithdrawalsOperator(
        task_id="withdrawals",
        model=MODEL,
        conn_id=engine.conn_id,
        sql=engine.query("elsewhere", KINDS),
        primary_key="id",
        policy=SETUP.policy,
        consent=SETUP.consent,
        consent_sources=sources(engine),
        loads={SHOP: partial(LoadToVendor, vendor=vendor, fields={"id": "id", "email": "email"})},
        max_removed_ratio=None,
    )
