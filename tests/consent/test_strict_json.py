"""Tests of the two readers of JSON text: the fast one returns what the strict one returns, for any text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_consent_retl.consent.strict_json import (
    DEEPEST,
    JsonNumber,
    JsonObject,
    MalformedJsonError,
    _in_words,
    as_number,
    read_document,
    read_json,
    repeated_keys,
)

SPACE = st.sampled_from(["", "", "", " ", "\n", "\t "])
KEYS = st.sampled_from(['"a"', '"b"', '"a:"', '":"', '"\\u0061"', '" "', '""', '"é"'])
NUMBERS = (
    "0",
    "-0",
    "1",
    "1.0",
    "1e2",
    "-7.5E-3",
    "9223372036854775808",
    "1e400",
    "9" * 45,
    "01",
    "1.",
    "NaN",
    "-Infinity",
)
OTHERS = ("true", "false", "null", '"x"', '"a:b"', '" : "', '"\\u003a"', '"\\":"', '"{"', '"\u2028"', '"\t"', "")
LEAVES = st.sampled_from([*NUMBERS, *OTHERS])


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda some, space: f"[{space}{f',{space}'.join(some)}{space}]", st.lists(values, max_size=3), SPACE
    )


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pair = st.builds(lambda key, space, value: f"{key}{space}:{space}{value}", KEYS, SPACE, values)
    return st.builds(lambda some, space: f"{{{space}{f'{space},'.join(some)}}}", st.lists(pair, max_size=4), SPACE)


TEXTS = st.recursive(LEAVES, lambda values: arrays(values) | objects(values), max_leaves=12)


def plain(found: object) -> Any:
    """Return a value in a form in which both readers' results are equal if no one could read them differently."""
    if isinstance(found, dict):
        repeated = repeated_keys(found)
        # The values of repeated keys must not be used.
        return sorted(repeated), {key: plain(value) for key, value in found.items() if key not in repeated}
    if isinstance(found, list):
        return [plain(value) for value in found]
    number = as_number(found)
    return (found if number is None else (float(number), number.whole)), type(number)


def read(text: str, *, fast: bool) -> Any:
    try:
        return plain(read_document(text) if fast else read_json(text, number=JsonNumber))
    except MalformedJsonError as error:
        return str(error)


@settings(max_examples=500, deadline=None)
@given(TEXTS)
@example('{"a":1,"a":1}')
@example('{"a":{"b":1,"b":2},"c":":"}')
@example("[" * 600 + "]" * 600)
@example("\ufeff1")
@example("1" * 5_000)
def test_both_readers_return_the_same(text: str) -> None:
    assert read(text, fast=True) == read(text, fast=False)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.integers(0, 200), st.sampled_from(["", "\0", "\x1f", "\x7f", ",", '"', ":", "}", "]", "\\", "1", "é"]))
def test_both_readers_return_the_same_with_one_character_turned(text: str, place: int, by: str) -> None:
    turned = text[: place % (len(text) + 1)] + by + text[place % (len(text) + 1) + 1 :]

    assert read(turned, fast=True) == read(turned, fast=False)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a":1,}', "a comma too many (line 1, column 7)"),
        ("[1,]", "a comma too many (line 1, column 3)"),
        ("[[1,], 2]", "a comma too many (line 1, column 4)"),
        ('[\n  {"a": 1,\n   "b": 2 ,\n  }\n]', "a comma too many (line 3, column 11)"),
        ("[1\n,\n ]", "a comma too many (line 2, column 1)"),
        ("[,1]", "Expecting value (line 1, column 2)"),
        ("]", "Expecting value (line 1, column 1)"),
        (" ],", "Expecting value (line 1, column 2)"),
        ("", "Expecting value (line 1, column 1)"),
        ("[1 2]", "Expecting ',' delimiter (line 1, column 4)"),
        ('{"a" 1}', "Expecting ':' delimiter (line 1, column 6)"),
        ('{"a": }', "Expecting value (line 1, column 7)"),
        ("[1]\n,", "Extra data (line 2, column 1)"),
        ("[1]]", "Extra data (line 1, column 4)"),
        ("[NaN]", "NaN is not JSON"),
        ("-Infinity", "-Infinity is not JSON"),
    ],
)
def test_an_error_names_its_place_and_a_comma_too_many(text: str, problem: str) -> None:
    with pytest.raises(MalformedJsonError) as caught:
        read_json(text)

    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("text", "place", "message", "problem"),
    [
        ("[\n1,]", 3, "Illegal trailing comma before end of array", "a comma too many (line 2, column 2)"),
        ("[,1]", 1, "Expecting value", "Expecting value (line 1, column 2)"),
    ],
)
def test_python_3_13_names_the_comma_itself(text: str, place: int, message: str, problem: str) -> None:
    # Its words for it, in every version that runs the tests.
    assert _in_words(text, json.JSONDecodeError(message, text, place)) == problem


SHALLOW = ",".join(["[]"] * DEEPEST)


@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        ("[" * 500 + "]" * 500, True),
        ("[" * 501 + "]" * 501, False),
        ('{"a":' * 500 + "1" + "}" * 500, True),
        ('{"a":' * 501 + "1" + "}" * 501, False),
        ('[{"a":' * 250 + "1" + "}]" * 250, True),
        ('[{"a":' * 251 + "1" + "}]" * 251, False),
        # More brackets than the limit, and never more than 500 open.
        ("[" * 499 + SHALLOW + "]" * 499, True),
        ("[" * 500 + SHALLOW + "]" * 500, False),
        (f"[{SHALLOW},{'[' * 499}{']' * 499}]", True),
        (f"[{SHALLOW},{'[' * 500}{']' * 500}]", False),
        (f"[{SHALLOW.replace('[]', '{}')},{'[' * 500}{']' * 500}]", False),
        # A bracket in a text opens nothing.
        (f'["{"[" * 999}", "\\"{"{" * 999}"]', True),
    ],
)
def test_a_text_is_read_down_to_the_deepest_level_and_no_further(text: str, is_read: bool) -> None:
    if is_read:
        assert isinstance(read_json(text), list | dict)
    else:
        with pytest.raises(MalformedJsonError, match=r"^nested too deeply$"):
            read_json(text)


def test_the_deepest_level_is_the_one_that_engines_rely_on() -> None:
    assert DEEPEST == 500


def test_repeated_keys_are_those_that_occur_twice() -> None:
    found = read_json('{"a": 1, "b": 2, "a": 3, "c": 4, "b": 5}')

    assert isinstance(found, JsonObject)
    assert found.repeated == ("a", "b")
    assert JsonObject([("a", 1), ("b", 2)]).repeated == ()


@pytest.mark.parametrize(
    "text", ['{"x": {"a":true,"a":false}}', '{"x":{"a":1,"\\u0061":1}}', '{"x":{"a":":","a":"::"}}']
)
def test_a_key_that_occurs_twice_is_seen_at_any_depth(text: str) -> None:
    found = read_document(text)

    assert isinstance(found, JsonObject)
    assert repeated_keys(found["x"]) == ("a",)  # type: ignore[arg-type]


def test_a_document_without_repeated_keys_is_read_by_the_fast_reader() -> None:
    assert type(read_document('{"row": 1, "at": "2026-11-29T10:00:00Z"}')) is dict
