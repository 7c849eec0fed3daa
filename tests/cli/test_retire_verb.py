"""`retire` removes everyone of a sync, and only after a yes."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from support.crm_sync import CrmSync

from .conftest import Run


@pytest.fixture
def loads(crm: CrmSync, monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType("loads_of_tests")
    module.LOADS = {"crm": crm.load_of()}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    crm.sync()
    return "loads_of_tests:LOADS"


def test_a_sync_is_emptied_after_a_yes(run: Run, crm: CrmSync, loads: str) -> None:
    asked = run("retire", "people/crm", "--loads", loads)
    assert asked.code == 2
    assert "Remove the 2 people of `people/crm`" in asked.err
    assert "--yes" in asked.err
    assert crm.there() == [1, 2]

    done = run("retire", "people/crm", "--loads", loads, "--yes", "--json")

    assert done.document == {"removed": 2, "not_removed": 0, "delivered": 0}
    assert crm.there() == []


def test_a_sync_without_a_load_and_an_unknown_one_are_refused(run: Run, loads: str) -> None:
    without = run("retire", "people/crn", "--loads", loads, "--yes")
    unknown = run("retire", "poeple/crm", "--loads", loads, "--yes")

    assert (without.code, unknown.code) == (2, 2)
    assert "did you mean `crm`" in without.err
    assert "did you mean `people/crm`" in unknown.err
