"""A sync whose rows stay in the warehouse delivers, removes and counts what the same sync of files does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.log_lines import task_fails
from support.postgres import Postgres
from support.warehouse_sync import POLICY, Sync, in_staging


def both(syncs: list[Sync], **parameters: Any) -> dict[str, Any]:
    lake, warehouse = (sync.run(**parameters) for sync in syncs)
    assert warehouse == lake
    assert syncs[1].people() == syncs[0].people()
    return warehouse


def test_every_run_brings_the_destination_to_the_same_state_by_the_same_changes(
    syncs: list[Sync], change: Callable[[str], None], customers: Postgres
) -> None:
    first = both(syncs)
    quiet = both(syncs)
    change("UPDATE customers SET email = 'new-' || email WHERE id IN ('c1', 'c2', 'c6', 'c3')")
    change("UPDATE customers SET ok = false WHERE id = 'c7'; UPDATE customers SET ok = NULL WHERE id = 'c11'")
    change("DELETE FROM customers WHERE id IN ('c12', 'c16'); UPDATE customers SET level = 77 WHERE id = 'c17'")
    change("INSERT INTO customers (id, email, ok) VALUES ('x1', 'x1@example.com', true), ('x2', NULL, false)")
    second = both(syncs)
    stricter = {"categories": [{"id": "C1", "name": "Boolean", "destinations": ["other"]}, *POLICY["categories"][1:]]}
    stricter["categories"][1] = {"id": "C4", "name": "Native", "destinations": ["crm"]}
    third = both(syncs, policy=stricter)

    assert first["added"] == first["accepted"] == 800
    assert (quiet["unchanged"], quiet["accepted"], quiet["removed"]) == (800, 0, 0)
    assert (second["added"], second["updated"], second["removed"]) == (1, 3, 4)
    assert second["removals_by_cause"] == {"consent_missing": 1, "consent_withdrawn": 1, "left_model": 2}
    assert third["removed"] > 0
    # One version of who is delivered, and the tables of each run until they are dropped.
    assert in_staging(customers).count("delivered") == 1
    assert not {"compared", "asked", "touched"} & set(in_staging(customers))


@pytest.mark.long
def test_other_fields_count_everybody_as_updated_in_both(syncs: list[Sync]) -> None:
    both(syncs)

    again = both(syncs, fields={"id": "id", "email": "email", "spent": "spent"})

    assert (again["updated"], again["unchanged"]) == (800, 0)


def test_columns_of_different_collations_are_compared_together(
    syncs: list[Sync], change: Callable[[str], None]
) -> None:
    change('ALTER TABLE customers ALTER email TYPE text COLLATE "C", ALTER ads TYPE char(4) COLLATE "POSIX"')
    fields = {"id": "id", "email": "email", "ads": "ads"}
    both(syncs, fields=fields)
    change("UPDATE customers SET email = 'new-' || email WHERE id = 'c1'")

    counts = both(syncs, fields=fields)

    assert (counts["updated"], counts["unchanged"]) == (1, 799)


@pytest.mark.diagonal("mode")
@pytest.mark.parametrize("mode", ["upsert", "insert", "full"])
def test_every_mode_does_the_same(syncs: list[Sync], change: Callable[[str], None], mode: str) -> None:
    both(syncs)
    change("UPDATE customers SET spent = spent + 1 WHERE id IN ('c1', 'c2'); DELETE FROM customers WHERE id = 'c6'")
    change("UPDATE customers SET ok = false WHERE id = 'c7'")

    counts = both(syncs, mode=mode)

    assert counts["removals_by_cause"]["consent_withdrawn"] == 1


def test_who_withdraws_after_the_filter_is_withheld_and_removed(
    syncs: list[Sync], change: Callable[[str], None]
) -> None:
    both(syncs)
    change("UPDATE customers SET email = 'new-' || email WHERE id IN ('c1', 'c2')")
    permitted = [sync.permit() for sync in syncs]
    change("UPDATE customers SET ok = false WHERE id = 'c1'")

    lake, warehouse = (sync.load(handed) for sync, handed in zip(syncs, permitted, strict=True))

    assert warehouse == lake
    assert (warehouse["withheld"], warehouse["removed"], warehouse["accepted"]) == (1, 1, 1)
    assert syncs[1].people() == syncs[0].people()
    assert "c1" not in {row[0] for row in syncs[1].people()}


def test_the_fast_lane_removes_who_withdrew_and_nobody_else(syncs: list[Sync], change: Callable[[str], None]) -> None:
    both(syncs)
    change("UPDATE customers SET ok = false WHERE id IN ('c1', 'c2'); DELETE FROM customers WHERE id = 'c6'")

    lake, warehouse = (sync.withdraw() for sync in syncs)
    again = syncs[1].withdraw()

    assert {**warehouse, "lag_s": None} == {**lake, "lag_s": None}
    assert (warehouse["removed"], warehouse["delivered"]) == (2, 798)
    assert set(warehouse["lag_s"]) == {"median", "p95", "oldest"}
    assert again["removed"] == 0
    assert syncs[1].people() == syncs[0].people()
    assert both(syncs)["removals_by_cause"] == {"left_model": 1}


def test_a_guard_stops_the_run_and_explicit_withdrawals_are_carried_out(
    syncs: list[Sync], change: Callable[[str], None]
) -> None:
    both(syncs)
    change("DELETE FROM customers WHERE id LIKE '%2'; UPDATE customers SET ok = false WHERE id = 'c1'")

    for sync in syncs:
        with task_fails(match="1 explicit withdrawals were carried out"):
            sync.run(max_removed_ratio=0.01)

    assert syncs[1].people() == syncs[0].people()
    assert len(syncs[1].people()) == 799
    both(syncs)


@pytest.mark.samples(1)
@pytest.mark.parametrize(
    ("drift", "reason"),
    [
        ("ALTER COLUMN email TYPE int USING 1", "does not fit column `email`"),
        ("DROP COLUMN spent", "column `spent` is not in the model"),
        ("ALTER COLUMN id TYPE int USING substr(id, 2)::int", "was string when people were delivered"),
    ],
)
def test_a_drifted_field_does_not_delay_a_withdrawal(
    syncs: list[Sync], change: Callable[[str], None], drift: str, reason: str
) -> None:
    both(syncs)
    change("UPDATE customers SET ok = false WHERE id IN ('c1', 'c2')")
    change(f"ALTER TABLE customers {drift}")

    for sync in syncs:
        with task_fails(match=reason) as failed:
            sync.run()
        # Ids of another type cannot be matched with those delivered.
        found = "those of 800 people delivered who withdrew still wait to be removed"
        expected = found if "id TYPE" in drift else "removed first, since a removal needs only the key: 2 people"
        assert expected in str(failed.value)


def test_a_sync_of_files_goes_on_in_the_warehouse_and_is_refused_on_its_way_back(
    syncs: list[Sync], change: Callable[[str], None]
) -> None:
    both(syncs)
    change("UPDATE customers SET ok = false WHERE id = 'c1'; DELETE FROM customers WHERE id = 'c6'")
    lake = syncs[0]
    lake.kind, target = "warehouse", lake.kind
    permitted = lake.permit()
    lake.kind = target

    moved = lake.load(permitted)

    assert (moved["unchanged"], moved["removed"]) == (798, 2)
    assert moved["removals_by_cause"] == {"consent_withdrawn": 1, "left_model": 1}
    with task_fails(match="is in the warehouse"):
        lake.run()


@pytest.mark.long
def test_a_retired_sync_is_emptied_without_its_model(
    syncs: list[Sync], change: Callable[[str], None], customers: Postgres
) -> None:
    both(syncs)
    change("ALTER TABLE customers RENAME TO gone")

    counts = [sync.retire() for sync in syncs]

    assert counts == [{"removed": 800, "not_removed": 0, "delivered": 0}] * 2
    assert [sync.people() for sync in syncs] == [[], []]
    assert [sync.retire()["removed"] for sync in syncs] == [0, 0]
    change("ALTER TABLE gone RENAME TO customers")
    assert both(syncs)["added"] == 800
    # No version of the delivered state is left beside the present one.
    assert in_staging(customers).count("delivered") == 1


def test_a_permitted_table_that_was_changed_is_refused(syncs: list[Sync], customers: Postgres) -> None:
    sync = syncs[1]
    permitted = sync.permit()
    with customers.connect() as connection:
        name = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'staging' AND tablename LIKE '%permitted%'"
        ).fetchone()
        assert name is not None
        connection.execute(f"UPDATE staging.{name[0]} SET id = 'c3' WHERE id = 'c1'")

    with task_fails(match="was changed after the filter"):
        sync.load(permitted)
