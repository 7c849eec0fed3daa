"""Tests of the law over time: each run of a sync sends and removes what a plain account expects."""

from __future__ import annotations

from pathlib import Path

import pytest
from parity.accounts import Account
from parity.engines import Engine
from parity.rounds import Script, every_change, with_ids
from parity.syncs import Sync
from parity.workspaces import Workspace

# `make test` compares files and warehouses by the other modules of this folder.
pytestmark = pytest.mark.long


@pytest.mark.parametrize("source", ["duckdb"], indirect=True)
def test_every_run_sends_and_removes_the_expected_people(source: Engine, root: Path) -> None:
    run(source, root, every_change(source))


@pytest.mark.parametrize(("source", "kind"), [("sqlite", "text"), ("duckdb", "huge")], indirect=["source"])
def test_people_are_found_again_by_ids_of_any_kind(source: Engine, root: Path, kind: str) -> None:
    run(source, root, with_ids(source, kind))


def run(source: Engine, root: Path, script: Script) -> None:
    sync = Sync(Workspace(source, "lake", root), script)
    accounts = {name: Account(name, mode, script.columns(name)) for name, mode in script.modes.items()}
    for round_ in script.rounds:
        source.create("runs", round_.model.kinds, round_.model.rows)
        snapshot = sync.workspace.extract(round_.model, table="runs")
        permitted = sync.workspace.filter(snapshot, round_.setup, as_first=False)
        for name in round_.destinations:
            _, done = sync.load(round_, permitted, name)

            assert done == accounts[name].load(round_), f"{round_.name}: {name}"
