"""The comparison of two outcomes. A failure shows only the rows that differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from parity.law import Decided
from parity.model import Model
from parity.workspaces import plain_rows


def assert_same(found: Decided, expected: Decided) -> None:
    """Compare two filter runs, from single rows to totals."""
    assert _differences(found.recipients, expected.recipients) == {}
    assert found.counts == expected.counts
    assert found.groups == expected.groups
    assert (found.read, found.for_nobody, found.logged) == (expected.read, expected.for_nobody, expected.logged)
    assert found.lines == expected.lines
    assert _differences(found.decisions, expected.decisions) == {}


def assert_same_rows(found: pa.Table, expected: pa.Table) -> None:
    """Compare sorted rows: their types and every value."""
    assert found.schema.remove_metadata() == expected.schema.remove_metadata()
    both = zip(plain_rows(found), plain_rows(expected), strict=True)
    assert [pair for pair in both if pair[0] != pair[1]] == []


def asked_ids(model: Model) -> list[Any]:
    """Return ids to look up in the decision log: unusual ones and some others."""
    known = [person.id for person in model.people if person.id is not None]
    odd = sorted({id_ for id_ in known if not id_.startswith("p-")})
    return [*odd[::3], *[id_ for id_ in known if id_.startswith("p-")][:20]]


def _differences(found: Mapping[Any, Any], expected: Mapping[Any, Any]) -> dict[Any, tuple[Any, Any]]:
    return {
        id_: (found.get(id_), expected.get(id_))
        for id_ in found.keys() | expected.keys()
        if found.get(id_) != expected.get(id_)
    }
