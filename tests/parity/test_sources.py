"""Tests of the law for every source: the lake permits exactly what the case files say about the seeded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from parity.comparing import asked_ids, assert_same
from parity.engines import DuckDb, Engine, Sqlite
from parity.law import Setup, by_agreement, decided, every_format, objects
from parity.model import Model, Seeded
from parity.workspaces import Workspace

_KINDS_OF_IDS = [(class_.name, kind) for class_ in (DuckDb, Sqlite) for kind in class_.id_kinds]


@pytest.fixture(scope="module")
def extracted(source: Engine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Model, dict[str, Any]]:
    """The seeded model in the engine, and its snapshot."""
    model = Seeded(source).everything()
    source.create("people", model.kinds, model.rows)
    lake = Workspace(source, "lake", tmp_path_factory.mktemp("lake"))
    return lake, model, lake.extract(model)


@pytest.mark.parametrize("setup", [every_format(), *objects()], ids=lambda setup: setup.name)
def test_every_row_goes_where_the_case_files_say(
    extracted: tuple[Workspace, Model, dict[str, Any]], setup: Setup
) -> None:
    lake, model, snapshot = extracted
    asked = asked_ids(model)

    output = lake.filter(snapshot, setup)

    expected = decided(setup, model.people, asked=asked)
    assert_same(lake.decided(output, setup, asked=asked), expected)
    assert output["permitted"] == {name: counts.permitted for name, counts in expected.counts.items()}
    assert output["rows"] == expected.read - expected.for_nobody


@pytest.mark.parametrize(("source", "kind"), _KINDS_OF_IDS, indirect=["source"])
def test_ids_are_distinguished_exactly_as_the_source_stores_them(source: Engine, root: Path, kind: str) -> None:
    model, setup = Seeded(source).with_ids(kind), by_agreement()
    source.create("ids", model.kinds, model.rows)
    lake = Workspace(source, "lake", root)

    output = lake.filter(lake.extract(model, table="ids"), setup)

    assert_same(lake.decided(output, setup, asked=()), decided(setup, model.people, asked=()))


def test_the_seeded_model_leaves_out_only_values_that_an_engine_declares_as_impossible(source: Engine) -> None:
    reasons = {reason for some in source.cannot.values() for reason in some.values()}

    left_out = Seeded(source).everything().left_out

    assert {reason.partition(": ")[2] for reason in left_out} <= reasons
