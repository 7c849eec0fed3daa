"""Linked people are decided alike in files and in a warehouse, when rows are filtered and when they are asked about."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.postgres import Postgres
from support.suppressing import suppress
from support.warehouse_sync import in_staging

from airflow_consent_retl.consent import ConsentSource, FirstOf, IdentityLinks, Literals, RowConsent
from airflow_consent_retl.hooks.forgotten_list import suppression_list
from airflow_consent_retl.hooks.workspaces import open_workspace
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    DropStagingTablesOperator,
    ExtractModelOperator,
    LoadToSqlTableOperator,
    PropagateWithdrawalsOperator,
)
from airflow_consent_retl.reports import explain
from airflow_consent_retl.storage import open_permitted, open_snapshot

POLICY: dict[str, Any] = {
    "categories": [
        {"id": "C2", "name": "Analytics", "destinations": ["lake"], "regime": "opt_out"},
        {"id": "C4", "name": "Advertising", "destinations": ["crm"]},
    ]
}
CONSENT = RowConsent(
    {"C2": "stats", "C4": FirstOf(Literals("answer", granted=("yes",), denied=("no",)), "ads")}, gpc="gpc"
)
SOURCES = [ConsentSource("SELECT person, answer FROM consents", subject="person", key="id", columns=["answer"])]
LINKS = IdentityLinks(
    "SELECT * FROM links -- all of them", subject="person", identifier="identifier", kind="kind", key="id",
    max_cluster_size=6,
)  # fmt: skip
WORLD = """
DROP SCHEMA IF EXISTS staging CASCADE;
CREATE SCHEMA staging;
DROP TABLE IF EXISTS people, consents, links;
CREATE TABLE people (id text, stats boolean, ads boolean, gpc boolean);
INSERT INTO people
SELECT 'p' || n, CASE n % 6 WHEN 0 THEN false WHEN 1 THEN NULL ELSE true END, n % 7 > 0, n % 31 = 0
FROM generate_series(1, 90) n;
CREATE TABLE consents (person text, answer text);
INSERT INTO consents
SELECT CASE WHEN n % 4 = 0 THEN 'device' ELSE 'p' END || n,
    CASE n % 11 WHEN 0 THEN 'no' WHEN 1 THEN 'Yes' ELSE 'yes' END
FROM generate_series(1, 90) n;
CREATE TABLE links (person text, identifier text, kind text);
-- Pairs, chains, devices that are no rows, spellings, kinds, and one identifier that is no one's own.
INSERT INTO links SELECT ' P' || n, 'pair ' || n / 2, 'email' FROM generate_series(1, 30) n;
INSERT INTO links SELECT 'p' || n, 'account ' || n, 'account' FROM generate_series(31, 60) n;
INSERT INTO links SELECT 'device' || n, 'Account ' || n, 'account' FROM generate_series(31, 60) n;
INSERT INTO links SELECT 'p' || n, 'chain ' || n, NULL FROM generate_series(61, 74) n WHERE n % 5 > 0;
INSERT INTO links SELECT 'p' || n + 1, 'chain ' || n, NULL FROM generate_series(61, 74) n WHERE n % 5 > 0;
INSERT INTO links SELECT 'p' || n, 'office', 'ip' FROM generate_series(77, 84) n;
INSERT INTO links VALUES ('p85', 'x', 'a'), ('p88', 'x', 'b'), (NULL, 'x', 'a'), ('p86', NULL, 'a'), ('p87', '  ', 'a'),
    ('p88', 'y', 'a'), ('p89', 'y', 'a');
"""
PLACES = ("files", "warehouse")


@pytest.fixture
def world(postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Fill PostgreSQL, and return a function that runs statements in it."""

    def run(statements: str) -> None:
        with postgres.connect() as connection:
            connection.execute(statements)

    run(WORLD)
    monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    for place in PLACES:
        monkeypatch.setenv(
            f"AIRFLOW_CONN_{place.upper()}", f'{{"conn_type": "sqlite", "host": "{tmp_path}/{place}.db"}}'
        )
    return run


def model(place: str) -> dict[str, Any]:
    # Of its own, so that neither workspace has the other's records.
    return {"model": place, "conn_id": "pg", "sql": "SELECT * FROM people", "primary_key": "id",
            "consent_sources": SOURCES, "identities": LINKS}  # fmt: skip


def extracted(place: str) -> Any:
    workspace = "warehouse:staging" if place == "warehouse" else None
    return ExtractModelOperator(task_id="extract", workspace=workspace, **model(place)).execute({})


def permitted_of(snapshot: Any) -> Any:
    return ConsentFilterOperator(
        task_id="consent", snapshot=snapshot, policy=POLICY, consent=CONSENT, destinations=["crm", "lake"]
    ).execute({})


def load_into(place: str) -> Any:
    return partial(LoadToSqlTableOperator, conn_id=place, table="people", fields={"id": "id"}, settle_s=0)


def loaded(place: str, permitted: Any) -> dict[str, Any]:
    counts = load_into(place)(task_id="load", permitted=permitted, destination="crm", policy=POLICY).execute({})
    return {name: counts[name] for name in ("permitted", "denied_by_reason", "removals_by_cause", "withheld", "added")}


def withdrawn(place: str) -> dict[str, Any]:
    served = PropagateWithdrawalsOperator(
        task_id="withdraw",
        policy=POLICY,
        consent=CONSENT,
        loads={"crm": load_into(place)},
        max_removed_ratio=None,
        **model(place),
    ).execute({})
    counts: dict[str, Any] = served["crm"]
    return {name: counts[name] for name in ("found", "absent", "removed", "removals_by_cause", "delivered")}


@pytest.mark.long
def test_files_and_warehouse_decide_linked_people_alike_at_every_step(
    world: Callable[[str], None], postgres: Postgres
) -> None:
    suppress(["device40", "p90"])
    snapshots = {place: extracted(place) for place in PLACES}
    permitted = {place: permitted_of(snapshots[place]) for place in PLACES}

    manifests = {place: open_permitted(permitted[place]).manifest for place in PLACES}
    files, warehouse = (manifests[place] for place in PLACES)
    assert warehouse.destinations == files.destinations
    assert warehouse.clashes == files.clashes
    assert warehouse.clashes.keys() == {"C2", "C4"}
    for reason in ("C4:linked_no", "C4:linked_doubt", "gpc:linked_no", "suppression:linked_no"):
        assert files.destinations["crm"].denied_by_reason[reason], reason
    assert files.destinations["crm"].denied_by_reason["suppression:linked_doubt"] == 8
    linked = [open_snapshot(snapshots[place]).manifest.linked for place in PLACES]
    assert linked[0] is not None
    assert linked[1] is not None
    assert linked[0].model_copy(update={"parts": ()}) == linked[1].model_copy(update={"table": None})
    assert "consent_retl_cluster" not in [column.name for column in warehouse.columns]

    explained = {
        place: explain("p44", snapshot=snapshots[place], policy=POLICY, consent=CONSENT, destinations=["crm"])
        for place in PLACES
    }
    assert explained["files"].destinations == explained["warehouse"].destinations
    assert explained["files"].destinations["crm"].reasons == ("C4:linked_no",)

    # A link that is made after the filter.
    world("INSERT INTO links VALUES ('p2', 'new', 'email'), ('p11', 'new', 'email')")
    first = [loaded(place, permitted[place]) for place in PLACES]
    assert first[0] == first[1]
    assert first[0]["withheld"] >= 1

    world("INSERT INTO links VALUES ('p5', 'newer', 'email'), ('p22', 'newer', 'email')")
    fast = [withdrawn(place) for place in PLACES]
    assert fast[0] == fast[1]
    assert fast[0]["removals_by_cause"]["consent_withdrawn"] >= 1

    # A person who is only linked is in the snapshot too, and is erased with it.
    listed = suppression_list(None)
    people = listed.named([one for person in listed.people(["device40"]) for one in person], key_id=listed.key_id)
    for place in PLACES:
        opened = open_snapshot(snapshots[place])
        manifest = opened.manifest
        workspace = open_workspace(manifest, source=manifest.source, model=place, log=logging.getLogger(__name__))
        assert [workspace.erase(opened, people) for _ in range(2)] == [True, False]
    run = {"snapshot": snapshots["warehouse"], "permitted": permitted["warehouse"]}
    DropStagingTablesOperator(task_id="drop", conn_id="pg", schema="staging", **run).execute({})
    # The delivered state stays, and what was decided about everyone.
    assert set(in_staging(postgres)) == {"delivered", "recorded"}
