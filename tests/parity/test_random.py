"""Tests of the law with random values: the lake, a warehouse and the law itself agree on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from parity.comparing import assert_same
from parity.engines import PADDED
from parity.law import Setup, decided, every_format
from parity.model import Model, Person
from parity.postgres_engine import PostgreSql
from parity.workspaces import Both

from airflow_consent_retl.consent import CategorySignal, parse_policy, plan_consent

# `make test` compares files and warehouses by the other modules of this folder.
pytestmark = pytest.mark.long

_KINDS = {
    "id": "text",
    "agreed": "boolean",
    "said": "text",
    "coded": "integer",
    "padded": "padded",
    "folded": "folded",
    "document": "text",
    "kept": "json_text",
    "native": "json",
}
# The letters of the literals and similar characters. PostgreSQL's text cannot contain U+0000.
_LETTERS = "yesYESnoNOjaé\u0301\u0130\u0131\u200b\u00a0 \t\n'\"\\%_{}[]:,01tru\ufeff\U0001f600"
_texts = st.one_of(
    st.sampled_from(["yes", "no", "Y", "é", "1", "true", "", "0", "NULL"]),
    st.text(_LETTERS, max_size=6),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6),
)
_short = st.one_of(st.sampled_from(["yes", "no", "ja", "ja    ", "no    "]), st.text("yesnoja ", max_size=PADDED))
_keys = st.sampled_from(["categoryPreferences", "C0004", "c0004", "", "x", 'q"', "a.b", "é"])
_scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), _texts)
_json = st.recursive(
    _scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(_keys, inner, max_size=3)),
    max_leaves=6,
)
_wrapped = st.one_of(
    _json,
    _json.map(lambda value: {"categoryPreferences": value}),
    _json.map(lambda value: {"categoryPreferences": {"C0004": value}}),
    st.booleans().map(lambda value: {"categoryPreferences": {"C0004": value}}),
)
_valid = st.builds(lambda value, ascii_: json.dumps(value, ensure_ascii=ascii_), _wrapped, st.booleans())
_pieces = st.lists(
    st.sampled_from(
        ["{", "}", "[", "]", ":", ",", '"categoryPreferences"', '"C0004"', "true", "false", "null", '"true"', "1", " "]
    ),
    max_size=12,
).map("".join)


@st.composite
def _damaged(draw: st.DrawFn) -> str:
    """Return JSON in which a part is missing or repeated."""
    text = draw(_valid)
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 8)))
    return text[:start] + text[start:end] * draw(st.sampled_from([0, 2])) + text[end:]


_rows = st.fixed_dictionaries(
    {
        "agreed": st.none() | st.booleans(),
        "said": st.none() | _texts,
        "coded": st.none() | st.sampled_from([0, 1, 2**53, 2**53 + 1, -(2**63)]) | st.integers(-(2**63), 2**63 - 1),
        "padded": st.none() | _short,
        "folded": st.none() | _texts,
        "document": st.none() | _valid | _damaged() | _pieces,
        "kept": st.none() | _valid,
        "native": st.none() | _valid,
    }
)
_ids = st.one_of(st.none(), st.sampled_from(["7", "007", "7 ", "", "é", "e\u0301"]), st.text(_LETTERS, max_size=3))
_numbers = count()


@given(st.lists(st.tuples(_ids, _rows), min_size=1, max_size=60))
@settings(
    max_examples=6,
    deadline=None,
    # A failing example is large, and the assertions show it by row.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)
def test_random_values_mean_the_same_everywhere(
    parity_postgres: PostgreSql, tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[Any, dict[str, Any]]]
) -> None:
    setup = every_format()
    people = [_person(id_, row, setup) for id_, row in drawn]
    model = Model(_KINDS, tuple(people))
    parity_postgres.create("drawn", model.kinds, model.rows)
    both = Both.of(parity_postgres, _folder(tmp_path_factory))
    both.extract(model, table="drawn")

    lake, inside = both.filter(setup)

    expected = decided(setup, people, asked=())
    assert_same(both.lake.decided(lake, setup, asked=()), expected)
    assert_same(both.inside.decided(inside, setup, asked=()), expected)


def _person(id_: Any, row: Mapping[str, Any], setup: Setup) -> Person:
    """Return a person whose statuses come from the law itself."""
    stored = {**row, "padded": row["padded"] if row["padded"] is None else row["padded"].ljust(PADDED)}
    plan = plan_consent(
        parse_policy(setup.policy), destinations=setup.destinations, mapping=setup.consent, columns=None
    )
    signals = {signal.column: signal for signal in plan.signals if isinstance(signal, CategorySignal)}
    status = {name: str(signal.status(signal.token(stored[name]))) for name, signal in signals.items()}
    return Person(id=id_, given={"id": id_, **row}, stored=stored, status=status)


def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(f"drawn-{next(_numbers)}")
