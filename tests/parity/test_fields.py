"""Tests of guarded fields: in every workspace, a row without the consent is sent without the field."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from parity.engines import Engine
from parity.law import Setup
from parity.model import Model, Person
from parity.recorder import LoadToVendor, Vendor
from parity.workspaces import Both, Workspace, without_run_names
from support.log_lines import task_fails

from airflow_consent_retl.operators import permitted_batches

# `make test` compares files and warehouses by the other modules of this folder.
pytestmark = pytest.mark.long

KINDS = {"id": "text", "email": "text", "mobile": "text", "ads": "boolean", "calls": "boolean"}
FIELDS = {"id": "id", "email": "email", "phone": "mobile"}
CANARY = "+49-30-canary-"


def setup(guarded: str = "phone") -> Setup:
    return Setup(
        name="fields",
        policy={
            "categories": [
                {"id": "C0004", "name": "Advertising", "destinations": ["crm"]},
                {"id": "C0005", "name": "Telephone", "fields": {"crm": [guarded]}},
            ]
        },
        consent={"C0004": "ads", "C0005": "calls"},
        columns={},
        destinations=("crm", "elsewhere"),
    )


def extracted(warehouse: Engine, root: Path, calls: Mapping[str, bool | None]) -> Both:
    people = tuple(
        Person(
            who,
            {"id": who, "email": f"{who}@example.org", "mobile": f"{CANARY}{who}", "ads": who != "no", "calls": answer},
            {},
            {},
        )
        for who, answer in calls.items()
    )
    model = Model(KINDS, people)
    warehouse.create("guarded", model.kinds, model.rows)
    both = Both.of(warehouse, root)
    both.extract(model, table="guarded")
    return both


def load(workspace: Workspace, permitted: dict[str, Any], vendor: Vendor, setup: Setup) -> dict[str, Any]:
    vendor.begin()
    operator = LoadToVendor(
        task_id="load",
        vendor=vendor,
        permitted=permitted,
        destination="crm",
        fields=FIELDS,
        policy=setup.policy,
        max_removed_ratio=None,
    )
    return without_run_names(workspace.carry_out(operator))


def test_a_row_goes_without_the_fields_that_its_person_did_not_consent_to(warehouse: Engine, root: Path) -> None:
    first = {"both": True, "row only": False, "silent": None, "no": True}
    vendors = Vendor(), Vendor()
    both = extracted(warehouse, root, first)
    outputs = both.filter(setup())

    counts = [w.permitted(o).destinations["crm"] for (w, _), o in zip(both.each, outputs, strict=True)]
    loaded = [load(w, o, vendor, setup()) for (w, _), o, vendor in zip(both.each, outputs, vendors, strict=True)]

    assert loaded[0] == loaded[1]
    assert counts[0] == counts[1]
    assert (counts[0].permitted, counts[0].withheld_fields) == (3, {"phone": 2})
    for vendor in vendors:
        assert {who: row["phone"] for who, row in vendor.people.items()} == {
            "both": f"{CANARY}both",
            "row only": None,
            "silent": None,
        }
        assert {row["email"] for row in vendor.people.values()} == {f"{who}@example.org" for who in vendor.people}


def test_withdrawing_a_field_clears_it_and_consenting_again_sends_it_again(warehouse: Engine, root: Path) -> None:
    vendors = Vendor(), Vendor()
    seen: list[list[tuple[dict[str, Any], dict[str, Any]]]] = [[], []]
    for calls in ({"a": True, "b": True}, {"a": False, "b": True}, {"a": False, "b": True}, {"a": True, "b": True}):
        both = extracted(warehouse, root, calls)
        for (workspace, _), output, vendor, outcomes in zip(
            both.each, both.filter(setup()), vendors, seen, strict=True
        ):
            counts = load(workspace, output, vendor, setup())
            phones = {who: row["phone"] for who, row in vendor.people.items()}
            outcomes.append((phones, {name: counts[name] for name in ("added", "updated", "unchanged", "removed")}))

    everything, less = {"a": f"{CANARY}a", "b": f"{CANARY}b"}, {"a": None, "b": f"{CANARY}b"}
    one_changed = {"added": 0, "updated": 1, "unchanged": 1, "removed": 0}
    assert seen[0] == seen[1]
    assert seen[0] == [
        (everything, {"added": 2, "updated": 0, "unchanged": 0, "removed": 0}),
        (less, one_changed),
        (less, {"added": 0, "updated": 0, "unchanged": 2, "removed": 0}),
        (everything, one_changed),
    ]


def test_a_field_withdrawn_before_the_load_leaves_the_row_to_the_next_run(warehouse: Engine, root: Path) -> None:
    both = extracted(warehouse, root, {"a": True, "b": True, "c": False})
    outputs = both.filter(setup())

    extracted(warehouse, root / "later", {"a": False, "b": True, "c": False})

    for (workspace, _), output in zip(both.each, outputs, strict=True):
        vendor = Vendor()
        counts = load(workspace, output, vendor, setup())
        assert {who: row["phone"] for who, row in vendor.people.items()} == {"b": f"{CANARY}b", "c": None}
        assert (counts["withheld"], counts["accepted"]) == (1, 2)


@pytest.mark.parametrize("guarded", ["phone", "mobile"])
def test_another_field_name_or_a_second_field_of_the_column_cannot_evade_the_guard(
    warehouse: Engine, root: Path, guarded: str
) -> None:
    both = extracted(warehouse, root, {"a": False})

    for (workspace, _), output in zip(both.each, both.filter(setup(guarded)), strict=True):
        with workspace.engine.environment(AIRFLOW__CONSENT_RETL__WORKSPACE=workspace.root.as_uri()):
            batches = permitted_batches(
                output,
                destination="crm",
                fields={"id": "id", "phone": "mobile", "contact": "mobile"},
                policy=setup(guarded).policy,
            )
            assert [row for rows in batches for row in rows.to_pylist()] == [
                {"id": "a", "phone": None, "contact": None}
            ]


@pytest.mark.parametrize(
    ("guarded", "message"),
    [("id", "which is the row's primary key"), ("phones", "does not have, did you mean `phone`")],
)
def test_refuses_to_load_where_a_guarded_field_cannot_be_left_out(
    warehouse: Engine, root: Path, guarded: str, message: str
) -> None:
    both = extracted(warehouse, root, {"a": False})

    for (workspace, _), output in zip(both.each, both.filter(setup(guarded)), strict=True):
        with task_fails(kind=Exception, match=message):
            load(workspace, output, Vendor(), setup(guarded))
