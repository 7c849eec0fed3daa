"""Tests of the law in every workspace: the lake and a warehouse give identical results for the same model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from parity.accounts import Account
from parity.bigquery_engine import BigQueryEngine
from parity.comparing import asked_ids, assert_same, assert_same_rows
from parity.engines import Engine
from parity.law import Setup, by_agreement, decided, every_format, objects
from parity.model import Model, Person, Seeded, kinds_of
from parity.postgres_engine import PostgreSql
from parity.rounds import Script, every_change, with_ids
from parity.snowflake_engine import SnowflakeEngine
from parity.syncs import Sync
from parity.workspaces import Both, without_run_names
from support.log_lines import task_fails

from airflow_consent_retl.consent import ConsentMappingLike, ConsentObject, Literals

# `make test` compares files and warehouses by the other modules of this folder.
pytestmark = pytest.mark.long

_ENGINES = (PostgreSql, SnowflakeEngine, BigQueryEngine)
KINDS_OF_IDS = [(engine.name, kind) for engine in _ENGINES for kind in engine.id_kinds]
KINDS_OF_DELIVERED_IDS = [("postgres", kind) for kind in ("integer", "numeric", "padded", "folded", "bytes")]


@pytest.fixture(scope="module")
def extracted(warehouse: Engine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Both, Model]:
    """The seeded model in both workspaces."""
    model = Seeded(warehouse).everything()
    warehouse.create("people", model.kinds, model.rows)
    both = Both.of(warehouse, tmp_path_factory.mktemp("workspaces"))
    both.extract(model)
    return both, model


def test_a_snapshot_is_described_alike(extracted: tuple[Both, Model]) -> None:
    both, _ = extracted

    lake, inside = both.snapshots

    assert without_run_names(inside) == without_run_names(lake)
    assert both.described(both.inside.snapshot(inside)) == both.described(both.lake.snapshot(lake))


@pytest.mark.parametrize("setup", [every_format(), *objects()], ids=lambda setup: setup.name)
def test_every_row_goes_to_the_same_recipients_for_the_same_reasons(
    extracted: tuple[Both, Model], setup: Setup
) -> None:
    both, model = extracted
    asked = asked_ids(model)

    lake, inside = both.filter(setup)

    found = both.inside.decided(inside, setup, asked=asked)
    assert_same(found, both.lake.decided(lake, setup, asked=asked))
    assert_same(found, decided(setup, model.people, asked=asked))
    assert without_run_names(inside) == without_run_names(lake)
    assert both.described(both.inside.permitted(inside)) == both.described(both.lake.permitted(lake))


def test_permitted_rows_have_the_same_types_and_values(extracted: tuple[Both, Model]) -> None:
    both, _ = extracted
    setup = every_format()

    lake, inside = both.filter(setup)

    for name in ("archive", "everything", "trees"):
        assert_same_rows(both.inside.rows(inside, setup, name), both.lake.rows(lake, setup, name))


@pytest.mark.parametrize(("warehouse", "kind"), KINDS_OF_IDS, indirect=["warehouse"])
def test_ids_are_distinguished_alike(warehouse: Engine, root: Path, kind: str) -> None:
    model, setup = Seeded(warehouse).with_ids(kind), by_agreement()
    warehouse.create("ids", model.kinds, model.rows)
    both = Both.of(warehouse, root)
    both.extract(model, table="ids")

    lake, inside = both.filter(setup)

    found = both.inside.decided(inside, setup, asked=())
    assert_same(found, both.lake.decided(lake, setup, asked=()))
    assert_same(found, decided(setup, model.people, asked=()))
    assert_same_rows(both.inside.rows(inside, setup, "unheard_of"), both.lake.rows(lake, setup, "unheard_of"))


def test_every_run_sends_and_removes_the_same(warehouse: Engine, root: Path) -> None:
    script = every_change(warehouse)

    run(warehouse, root, script if warehouse.name == "postgres" else script.shortened)


@pytest.mark.parametrize(("warehouse", "kind"), KINDS_OF_DELIVERED_IDS, indirect=["warehouse"])
def test_people_are_found_again_by_ids_of_any_kind(warehouse: Engine, root: Path, kind: str) -> None:
    run(warehouse, root, with_ids(warehouse, kind))


def run(warehouse: Engine, root: Path, script: Script) -> None:
    """Run a script in both workspaces, and compare them with each other and with a plain account."""
    both = Both.of(warehouse, root)
    lake, inside = Sync(both.lake, script), Sync(both.inside, script)
    accounts = {name: Account(name, mode, script.columns(name)) for name, mode in script.modes.items()}
    for round_ in script.rounds:
        warehouse.create("runs", round_.model.kinds, round_.model.rows)
        both.extract(round_.model, table="runs")
        in_lake, in_warehouse = both.filter(round_.setup, as_first=False)
        for name in round_.destinations:
            output_of_lake, done_by_lake = lake.load(round_, in_lake, name)
            output, done = inside.load(round_, in_warehouse, name)

            where = f"{round_.name}: {name}"
            assert done == accounts[name].load(round_), where
            assert done == done_by_lake, where
            assert without_run_names(output) == without_run_names(output_of_lake), where
            assert inside.vendors[name] == lake.vendors[name], where


@pytest.mark.parametrize("warehouse", ["postgres"], indirect=True)
def test_withdrawals_are_propagated_alike_without_a_load(warehouse: Engine, root: Path) -> None:
    both, script = Both.of(warehouse, root), every_change(warehouse)
    lake, inside = Sync(both.lake, script), Sync(both.inside, script)
    account = Account("crm", "upsert", script.columns("crm"))
    before, after, *_ = script.rounds
    warehouse.create("runs", before.model.kinds, before.model.rows)
    both.extract(before.model, table="runs")
    for sync, permitted in zip((lake, inside), both.filter(before.setup), strict=True):
        sync.load(before, permitted, "crm")
    account.load(before)
    warehouse.create("runs", after.model.kinds, after.model.rows)

    output_of_lake, done_by_lake = lake.withdraw(after, "crm", table="runs")
    output, done = inside.withdraw(after, "crm", table="runs")

    # Nothing is sent. Only a load removes people who left the model.
    expected = account.load(after).removed
    assert done.removed == expected
    assert done == done_by_lake
    assert output == output_of_lake


# Refusals

_REFUSED: dict[str, Any] = {
    "a consent column with a slip": {"C0001": "agred"},
    "a consent column in another case": {"C0001": "Agreed"},
    "a consent column that is not there": {"C0001": "something_else"},
    "a boolean that is text": {"C0001": "said"},
    "a boolean that is a number": {"C0001": "coded"},
    "a boolean that is JSON": {"C0001": "native"},
    "a boolean that is a timestamp": {"C0001": "seen"},
    "text literals of a number": {"C0001": Literals("coded", granted=("1",))},
    "text literals of JSON": {"C0001": Literals("agreed", granted=("true",))},
    "whole numbers of text": {"C0001": Literals("said", granted=(1,))},
    "whole numbers of decimals": {"C0001": Literals("huge", granted=(1,))},
    "whole numbers of floats": {"C0001": Literals("ratio", granted=(1,))},
    "text literals of bytes": {"C0001": Literals("raw", granted=("1",))},
    "a document in a boolean": ConsentObject("agreed"),
    "a document in a number": ConsentObject("coded"),
    "a document with a slip": ConsentObject("documnt"),
}


@pytest.mark.parametrize("warehouse", ["postgres"], indirect=True)
@pytest.mark.parametrize("refused", _REFUSED.values(), ids=list(_REFUSED))
def test_a_mapping_that_does_not_fit_is_refused_in_the_same_words(
    extracted: tuple[Both, Model], refused: ConsentMappingLike
) -> None:
    both, _ = extracted
    setup = replace(by_agreement(), consent=refused)

    messages = [failure(partial(ws.filter, snapshot, setup)) for ws, snapshot in both.each]

    assert messages[0] == messages[1]
    assert "the consent policy cannot be applied" in messages[0]


@pytest.mark.parametrize(
    "limit",
    [
        {"on_duplicate_id": "fail"},
        {"max_denied_ratio": 0.01},
        {"max_denied_ratio": {"crm": 0.01}},
        {"max_invalid_ratio": 0.0},
    ],
    ids=str,
)
def test_an_exceeded_limit_stops_the_filter_in_the_same_words(
    extracted: tuple[Both, Model], limit: dict[str, Any]
) -> None:
    both, _ = extracted
    setup = every_format() if "max_invalid_ratio" in limit else by_agreement()

    messages = [failure(partial(ws.filter, snapshot, setup, **limit)) for ws, snapshot in both.each]

    assert messages[0] == messages[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"primary_key": "ID"},
        {"primary_key": "nobody"},
        {"primary_key": "ratio"},
        {"check_primary_key": True},
        {"primary_key": "tail", "check_primary_key": True},
    ],
    ids=str,
)
def test_a_wrong_primary_key_is_refused_in_the_same_words(extracted: tuple[Both, Model], wrong: dict[str, Any]) -> None:
    both, model = extracted

    messages = [failure(partial(ws.extract, model, **wrong)) for ws, _ in both.each]

    assert messages[0] == messages[1]


# Little or nothing to decide


@pytest.mark.parametrize("warehouse", ["postgres"], indirect=True)
def test_a_model_without_rows_is_decided_alike(warehouse: Engine, root: Path) -> None:
    both, setup = of_rows(warehouse, root, []), every_format()

    lake, inside = both.filter(setup)

    found = both.inside.decided(inside, setup, asked=())
    assert_same(found, both.lake.decided(lake, setup, asked=()))
    assert_same(found, decided(setup, [], asked=()))
    assert without_run_names(inside) == without_run_names(lake)
    assert both.described(both.inside.permitted(inside)) == both.described(both.lake.permitted(lake))


@pytest.mark.parametrize("warehouse", ["postgres"], indirect=True)
def test_a_model_of_nothing_but_null_is_decided_alike(warehouse: Engine, root: Path) -> None:
    silent = Seeded(warehouse).silent(), Seeded(warehouse).silent(given_id=None)
    both, setup = of_rows(warehouse, root, silent), every_format()

    lake, inside = both.filter(setup)

    found = both.inside.decided(inside, setup, asked=())
    assert_same(found, both.lake.decided(lake, setup, asked=()))
    assert_same(found, decided(setup, silent, asked=()))
    assert without_run_names(inside) == without_run_names(lake)


def of_rows(warehouse: Engine, root: Path, people: Sequence[Person]) -> Both:
    """Extract a model of these people in both workspaces."""
    model = Model(kinds_of(warehouse), tuple(people))
    warehouse.create("few", model.kinds, model.rows)
    both = Both.of(warehouse, root)
    both.extract(model, table="few")
    return both


def failure(action: Callable[[], object]) -> str:
    with task_fails() as failed:
        action()
    return str(failed.value)
