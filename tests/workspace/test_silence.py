"""What silence means in files and in a warehouse: nothing to do has to be proved, and absence can be a withdrawal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.log_lines import task_fails
from support.postgres import Postgres
from support.warehouse_sync import Sync, in_staging

from airflow_consent_retl.errors import ConfigurationError

ONLY_YES = "SELECT * FROM customers WHERE ok"


def refused(sync: Sync, **parameters: Any) -> str:
    with task_fails() as refusal:
        sync.withdraw(**parameters)
    return str(refusal.value)


def test_the_fast_lane_refuses_everything_that_would_make_it_find_no_one(
    syncs: list[Sync], change: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for sync in syncs:
        sync.run()
    change("UPDATE customers SET ok = false")
    other_policy = {"categories": [{"id": "C1", "name": "Boolean", "destinations": ["elsewhere"]}]}
    text_ids = "SELECT 'x' || id AS id, ok, doc, seen FROM customers"
    elsewhere = Sync(syncs[0].kind, syncs[0].file.parent, monkeypatch)
    elsewhere.workspace += "-elsewhere"

    for sync in syncs:
        assert "did you mean `customers/crm`" in refused(sync, model="Customers")
        assert "did you mean `customers/crm`" in refused(sync, model="costumers", allow_unknown=True)
        assert "not among the 1 syncs" in refused(sync, model="newsletter")
        assert "requires no consent for `crm`" in refused(sync, policy=other_policy)
        assert "with primary key `id`, now it is `email`" in refused(sync, primary_key="email")
        assert "only 0 of 800 people delivered" in refused(sync, sql="SELECT * FROM customers WHERE false")
        assert "only 0 of 800 people delivered" in refused(sync, sql=ONLY_YES)
        assert "only 0 of 800 people delivered" in refused(sync, sql=text_ids)
        assert len(sync.people()) == 800
    assert "not among the 0 syncs" in refused(elsewhere)
    assert elsewhere.withdraw(allow_unknown=True)["delivered"] == 0


def test_the_fast_lane_refuses_ids_whose_type_changed(syncs: list[Sync]) -> None:
    for sync in syncs:
        sync.run()

    for sync in syncs:
        sql = "SELECT row_number() OVER () AS id, ok, doc, seen FROM customers"
        assert "primary key `id` was " in refused(sync, sql=sql)


@pytest.mark.long
def test_the_fast_lane_says_how_many_of_the_delivered_it_found(
    syncs: list[Sync], change: Callable[[str], None]
) -> None:
    for sync in syncs:
        sync.run()
    change("UPDATE customers SET ok = false WHERE id = 'c1'; DELETE FROM customers WHERE id IN ('c2', 'c6')")

    for sync in syncs:
        counts = sync.withdraw()
        assert (counts["found"], counts["absent"], counts["removed"]) == (798, 2, 1)


def test_explicit_withdrawals_are_carried_out_even_if_most_people_are_not_in_the_answer(
    syncs: list[Sync], change: Callable[[str], None]
) -> None:
    for sync in syncs:
        sync.run()
    change("UPDATE customers SET ok = false WHERE id = 'c1'; DELETE FROM customers WHERE id NOT IN ('c1', 'c2')")

    for sync in syncs:
        assert "min_found_ratio is 0.5" in refused(sync)
        assert len(sync.people()) == 799
        assert "min_found_ratio is 0.5" in refused(sync, absent="withdrawn", max_removed_ratio=None)
        assert len(sync.people()) == 799
        assert sync.withdraw(min_found_ratio=None)["removed"] == 0


@pytest.mark.long
@pytest.mark.diagonal("mode")
@pytest.mark.parametrize("mode", ["mirror", "upsert", "insert", "full"])
def test_a_load_removes_absent_people_in_every_mode_where_absence_is_a_withdrawal(
    syncs: list[Sync], change: Callable[[str], None], mode: str
) -> None:
    for sync in syncs:
        sync.run(sql=ONLY_YES, mode=mode, absent="withdrawn")
    change("UPDATE customers SET ok = false WHERE id IN ('c1', 'c2'); UPDATE customers SET ok = NULL WHERE id = 'c6'")

    for sync in syncs:
        counts = sync.run(sql=ONLY_YES, mode=mode, absent="withdrawn")
        assert counts["removals_by_cause"] == {"withdrawn_by_absence": 3}
        assert not {"c1", "c2", "c6"} & {row[0] for row in sync.people()}


@pytest.mark.long
def test_the_fast_lane_removes_absent_people_where_absence_is_a_withdrawal(
    syncs: list[Sync], change: Callable[[str], None]
) -> None:
    for sync in syncs:
        sync.run(sql=ONLY_YES, mode="upsert")
    change("UPDATE customers SET ok = false WHERE id IN ('c1', 'c2'); DELETE FROM customers WHERE id = 'c6'")

    for sync in syncs:
        assert sync.withdraw(sql=ONLY_YES)["removed"] == 0
        counts = sync.withdraw(sql=ONLY_YES, absent="withdrawn")
        assert (counts["removals_by_cause"], counts["removed"]) == ({"withdrawn_by_absence": 3}, 3)
        assert not {"c1", "c2", "c6"} & {row[0] for row in sync.people()}
        assert sync.withdraw(sql=ONLY_YES, absent="withdrawn")["removed"] == 0


@pytest.mark.long
def test_a_wave_of_absences_is_held_back_by_the_guard(syncs: list[Sync], change: Callable[[str], None]) -> None:
    for sync in syncs:
        sync.run(sql=ONLY_YES)
    change("UPDATE customers SET ok = false WHERE id < 'c13'")

    for sync in syncs:
        limits: dict[str, Any] = {"sql": ONLY_YES, "absent": "withdrawn", "max_removed_ratio": 0.01}
        assert "withdrawn_by_absence" in refused(sync, **limits)
        with task_fails(match="withdrawn_by_absence"):
            sync.run(**limits)
        assert len(sync.people()) == 800


def test_a_choice_that_does_not_exist_is_refused(syncs: list[Sync]) -> None:
    with pytest.raises(ConfigurationError, match="absent must be `left_model` or `withdrawn`"):
        syncs[0].run(absent="gone")


OPT_OUT = {
    "categories": [
        {"id": "C1", "name": "Boolean", "destinations": ["crm"], "regime": "opt_out"},
        {"id": "C4", "name": "Native", "destinations": ["other"]},
    ]
}
# No one says yes: the answers are those of people who were never delivered.
ONLY_NO = "UPDATE customers SET ok = NULL WHERE ok"
EMPTIED = "UPDATE customers SET ok = NULL"
NO_ANSWER = (
    "`customers/crm`: no row has any answer to `C1`, which is opt_out, so that every person would be permitted: check "
    "the column, the path and the key in `consent`. If no one has answered yet, name the category in `accept_silence`"
)


def test_neither_fast_lane_nor_recheck_takes_the_silence_of_a_whole_model_for_a_proof(
    syncs: list[Sync], change: Callable[[str], None], customers: Postgres
) -> None:
    change(ONLY_NO)
    permitted = [sync.permit(OPT_OUT) for sync in syncs]
    for sync, run in zip(syncs, permitted, strict=True):
        # None of those to send has an answer: the recheck looks at the whole model.
        assert sync.load(run, OPT_OUT)["accepted"] > 0
        assert sync.withdraw(policy=OPT_OUT)["removed"] == 0
    change(EMPTIED)
    tables = in_staging(customers)

    for sync, run in zip(syncs, permitted, strict=True):
        with task_fails(match="`crm` is not sent any more people: asked again, no row has any answer to `C1`"):
            sync.load(run, OPT_OUT, mode="full")
        assert NO_ANSWER in refused(sync, policy=OPT_OUT)
        assert sync.withdraw(policy=OPT_OUT, accept_silence=["C1"])["removed"] == 0
    assert in_staging(customers) == tables
