"""Values that are computed from a row, and answers to categories, are the same in files and in a warehouse."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from support.warehouse_sync import CONSENT, Sync

from airflow_consent_retl.fields import columns, consent, constant, expression
from airflow_consent_retl.operators import LoadToSqlTableOperator
from airflow_consent_retl.operators.permitted_rows import permitted_batches

# The address is guarded; whoever permits one of the two may be sent.
POLICY: dict[str, Any] = {
    "categories": [
        {"id": "C1", "name": "Boolean", "destinations": ["crm"]},
        {"id": "C4", "name": "Native", "destinations": ["crm", "other"]},
        {"id": "C9", "name": "Mail", "fields": {"crm": ["email"]}},
    ],
    "destinations": {"crm": {"match": "any"}},
}
SCALARS = {
    "id": "id",
    "source": constant("warehouse"),
    "level": constant(3),
    "status": consent("C1", granted="yes", otherwise="no"),
    "native": consent("C4", granted=True),
    "spent": "spent",
}
# Each function and type that an expression may have, over the types that PostgreSQL gives.
EXPRESSIONS = {
    "domain": expression("upper(split_part(email, '@', 2))"),
    "cents": expression("CAST(round(spent * 100) AS BIGINT)"),
    "ratio": expression("spent / nullif(level, 0)"),
    "band": expression(
        "CASE WHEN spent >= 10 THEN 'high' WHEN level IN (1, 2) THEN 'mid' ELSE lower(left(ads, 1)) END"
    ),
    "day": expression("strftime(seen, '%Y-%m-%d')"),
    "month": expression("date_trunc('month', seen)"),
    "hash": expression("sha256(trim(id))"),
    "key": expression("concat_ws('-', 'crm', id, CAST(level AS VARCHAR))"),
    "known": expression("ok IS NOT NULL AND prefs LIKE '%true%'"),
}
LISTS = {**SCALARS, **EXPRESSIONS, "contacts": columns("email", "prefs")}


@pytest.fixture
def answering(syncs: list[Sync], change: Callable[[str], None]) -> list[Sync]:
    change("ALTER TABLE customers ADD mail_ok boolean; UPDATE customers SET mail_ok = level = 0 WHERE level < 3")
    for sync in syncs:
        sync.consent = {**CONSENT, "C9": "mail_ok"}
        sync.told = {"crm": ["C1", "C4"]}
    return syncs


def test_the_rows_of_both_workspaces_have_the_same_values(
    answering: list[Sync], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for sync in answering:
        permitted = sync.permit(POLICY, max_released_ratio=None)
        monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", sync.workspace)
        rows = [
            row
            for batch in permitted_batches(permitted, destination="crm", fields=LISTS, policy=POLICY)
            for row in batch.to_pylist()
        ]
        found.append(sorted(rows, key=lambda row: row["id"]))

    lake, warehouse = found
    assert warehouse == lake
    assert all(len({row[name] for row in lake}) > 1 for name in EXPRESSIONS if name not in {"day", "month"})
    # Computed from the guarded address.
    assert {row["domain"] for row in lake} == {"EXAMPLE.COM", None}
    assert {(row["status"], row["native"]) for row in lake} == {("yes", None), ("yes", True), ("no", True)}
    # Where the address is withheld, the whole list is.
    assert {len(row["contacts"]) for row in lake if row["contacts"] is not None} == {1, 2}
    withheld = [row for row in lake if row["contacts"] is None]
    assert 0 < len(withheld) < len(lake)
    assert "canary" not in json.dumps([row["contacts"] for row in withheld], default=str)


@pytest.mark.long
def test_a_changed_answer_leaves_the_warehouse_and_an_unchanged_row_does_not(
    answering: list[Sync], change: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"fields": {**SCALARS, "email": "email", **EXPRESSIONS}}
    first = [sync.run(POLICY, **options) for sync in answering]
    assert first[0] == first[1]
    capsys.readouterr()
    unchanged = [sync.run(POLICY, **options) for sync in answering]
    assert [counts["updated"] for counts in unchanged] == [0, 0]
    assert "moved 0 of" in capsys.readouterr().out
    change("UPDATE customers SET ok = NOT ok WHERE id LIKE 'c1_' OR doc->'p'->>'at' = '2026'")

    lake, warehouse = (sync.run(POLICY, **options) for sync in answering)

    assert warehouse == lake
    assert lake["updated"] > 0
    assert answering[0].people() == answering[1].people()
    assert {row[3] for row in answering[0].people()} == {"yes", "no"}


def test_the_fast_lane_finds_the_same_answers_that_ended(answering: list[Sync], change: Callable[[str], None]) -> None:
    options: dict[str, Any] = {"fields": {**SCALARS, "email": "email"}}
    for sync in answering:
        sync.run(POLICY, **options)
    change("UPDATE customers SET doc = '{\"p\": {\"C4\": false}}' WHERE ok AND id LIKE 'c1%'")

    found = [
        sync.withdraw(
            policy=POLICY,
            loads={"crm": partial(LoadToSqlTableOperator, conn_id=sync.kind, table="people", **options)},
        )
        for sync in answering
    ]

    assert {**found[0], "lag_s": None} == {**found[1], "lag_s": None}
    assert found[0]["cleared"] > 0
    assert answering[0].people() == answering[1].people()
