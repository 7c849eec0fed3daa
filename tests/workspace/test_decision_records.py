"""What is decided about each person is recorded in the same way in files and in a warehouse; only changes leave it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.postgres import Postgres
from support.warehouse_sync import Sync, in_staging

from airflow_consent_retl.reports import person_history


def told(sync: Sync, subject: str) -> list[tuple[int, str, str, str, tuple[str, ...]]]:
    sync.monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", sync.workspace)
    found = person_history(subject, verify=True).decisions
    return [(one.run, one.destination, one.before, one.decision, one.reasons) for one in found]


def test_every_person_has_the_same_history_in_files_and_in_a_warehouse(
    syncs: list[Sync], change: Callable[[str], None], customers: Postgres
) -> None:
    lake, staged = syncs
    for statement in (
        "SELECT 1",
        "SELECT 1",
        "UPDATE customers SET ok = NOT ok WHERE id IN ('c1', 'c2', 'c3')",
        "DELETE FROM customers WHERE id = 'c6'",
        "INSERT INTO customers (id, ok) VALUES ('c6', true), ('new', true)",
    ):
        change(statement)
        lake.permit(max_released_ratio=None)
        staged.permit(max_released_ratio=None)

    people = [f"c{n}" for n in range(1, 30)] + ["new", "never"]
    found = {person: told(lake, person) for person in people}

    assert {person: told(staged, person) for person in people} == found
    assert found["never"] == []
    assert [event[0] for event in found["c6"] if event[1] == "crm"] == [1, 4, 5]
    assert [event[2:4] for event in found["new"] if event[1] == "crm"] == [("not_in_model", "permitted")]
    assert any(event[0] == 3 for event in found["c1"])
    # The table of the run before is dropped, and the one of this run stays for the next.
    assert in_staging(customers).count("recorded") == 1


def test_a_run_after_the_warehouse_lost_its_table_records_everyone_again(
    syncs: list[Sync], customers: Postgres
) -> None:
    _, staged = syncs
    staged.permit()
    with customers.connect() as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'staging'").fetchall()
        for (name,) in tables:
            if "_recorded_" in str(name):
                connection.execute(f"DROP TABLE staging.{name}")
    staged.permit()

    assert {event[0] for event in told(staged, "c1")} == {1, 2}


@pytest.mark.parametrize("kind", ["lake", "warehouse"])
def test_records_hold_no_value(syncs: list[Sync], kind: str) -> None:
    (sync,) = [one for one in syncs if one.kind == kind]

    sync.permit()

    files = [file for file in sync.file.parent.joinpath(kind).glob("records/**/*") if file.is_file()]
    assert files
    assert all(b"canary" not in file.read_bytes() and b'"c1"' not in file.read_bytes() for file in files)
