"""The fast lane clears withdrawn fields in a warehouse as in files, and only these rows leave the warehouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.postgres import Postgres
from support.warehouse_sync import CONSENT, POLICY, Sync

from airflow_consent_retl.changes.warehouse_comparison import next_delivered
from airflow_consent_retl.databases.dialect import dialect_of

GUARDED: dict[str, Any] = {
    "categories": [*POLICY["categories"], {"id": "C9", "name": "Mail", "fields": {"crm": ["email", "spent"]}}]
}


def guarded(syncs: list[Sync], change: Callable[[str], None]) -> None:
    """Deliver 800 people, all of whom permit their address."""
    change("ALTER TABLE customers ADD mail_ok boolean DEFAULT true")
    for sync in syncs:
        sync.consent = {**CONSENT, "C9": "mail_ok"}
        assert sync.run(GUARDED)["accepted"] == 800


@pytest.mark.long
def test_withdrawn_fields_are_cleared_and_the_next_load_and_a_new_consent_send_the_rows(
    syncs: list[Sync], change: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    guarded(syncs, change)
    before = syncs[0].people()
    change(
        "UPDATE customers SET mail_ok = false WHERE id IN ('c1', 'c2'); UPDATE customers SET ok = false WHERE id = 'c6'"
    )

    lake, warehouse = (sync.withdraw(policy=GUARDED) for sync in syncs)
    again = [sync.withdraw(policy=GUARDED)["cleared"] for sync in syncs]

    assert {**warehouse, "lag_s": None} == {**lake, "lag_s": None}
    assert (warehouse["cleared"], warehouse["removed"], warehouse["delivered"]) == (2, 1, 799)
    assert warehouse["removals_by_cause"] == {"field_withdrawn": 2, "consent_withdrawn": 1}
    assert again == [0, 0]
    expected = [
        (id_, None, None, seen) if id_ in {"c1", "c2"} else (id_, email, spent, seen)
        for id_, email, spent, seen in before
        if id_ != "c6"
    ]
    assert [sync.people() for sync in syncs] == [expected, expected]
    lake, warehouse = (sync.run(GUARDED) for sync in syncs)
    assert warehouse == lake
    assert warehouse["updated"] == 2
    assert [sync.people() for sync in syncs] == [expected, expected]
    change("UPDATE customers SET mail_ok = true, ok = true")
    for sync in syncs:
        sync.run(GUARDED)
    assert sorted(syncs[1].people()) == sorted(syncs[0].people())
    assert set(before) <= set(syncs[1].people())


def test_nothing_leaves_the_warehouse_for_people_whose_fields_were_never_sent(
    syncs: list[Sync], change: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    change(
        "ALTER TABLE customers ADD mail_ok boolean DEFAULT false; UPDATE customers SET mail_ok = true WHERE id = 'c1'"
    )
    warehouse = syncs[1]
    warehouse.consent = {**CONSENT, "C9": "mail_ok"}
    warehouse.run(GUARDED)
    capsys.readouterr()

    assert warehouse.withdraw(policy=GUARDED)["cleared"] == 0

    assert "moved 0 of 800 rows" in capsys.readouterr().out


def test_a_state_of_an_earlier_release_is_taken_over_without_a_word_about_fields(customers: Postgres) -> None:
    before, after = ["id", "hash", "row_hash"], ["id", "hash", "row_hash", "cleared"]
    tables = {"delivered": "old", "touched": "touched", "entries": "new"}
    sql = dialect_of("postgres").compile(next_delivered(dialect_of("postgres"), after, before=before), tables)

    with customers.connect() as connection:
        connection.execute("CREATE TEMP TABLE old AS SELECT id, 'h' AS hash, 'r' AS row_hash FROM customers LIMIT 0")
        connection.execute("INSERT INTO old VALUES ('c1', 'h', 'r'), ('c2', 'h', 'r')")
        connection.execute("CREATE TEMP TABLE touched AS SELECT id FROM old WHERE id = 'c2'")
        connection.execute("CREATE TEMP TABLE new AS SELECT *, '[\"email\"]' AS cleared FROM old WHERE id = 'c2'")
        found = connection.execute(sql).fetchall()

    assert sorted(found) == [("c1", "h", "r", None), ("c2", "h", "r", '["email"]')]
