"""Tests of the meaning of raw values, format by format."""

from __future__ import annotations

import json
import math
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    BooleanColumn,
    CategorySignal,
    ColumnKind,
    ConsentObject,
    ConsentObjectKey,
    ConsentStatus,
    Literals,
)
from airflow_consent_retl.errors import PolicyError

TABLES = json.loads((Path(__file__).parents[1] / "cases" / "signal_values.json").read_text())

BOOLEAN = BooleanColumn("ok")
TEXT = Literals("ads", granted=("yes", "Y"), denied=("no",))
INTEGER = Literals("ads", granted=(1,), denied=(0, 2))
LISTS = Literals("ads", granted=("Yes", "YES"), denied=("No",), unknown=("Unset", "", "-"), expired=("Lapsed",))
FLAG = Literals("ads", granted=(True,), unknown=(False,))
OBJECT_KEY = ConsentObjectKey("consent", ("categoryPreferences", "C0004"))


def signal_of(declared: dict[str, Any]) -> CategorySignal:
    if "column" in declared:
        return BooleanColumn(declared["column"])
    if "key" in declared:
        return ConsentObjectKey("consent", tuple(declared["key"]))
    lists = {name: tuple(declared[name]) for name in ("granted", "denied", "unknown", "expired") if name in declared}
    return Literals(declared["literals"], **lists)


@pytest.mark.parametrize(
    ("declared", "raw", "status"),
    [(table["signal"], raw, status) for table in TABLES for raw, status in table["values"]],
)
def test_a_raw_value_has_the_status_of_the_table(declared: dict[str, Any], raw: object, status: str) -> None:
    signal = signal_of(declared)

    assert signal.status(signal.token(raw)) == status


@pytest.mark.parametrize("signal", [BOOLEAN, TEXT, INTEGER, OBJECT_KEY], ids=repr)
@pytest.mark.parametrize(
    "raw", [math.nan, Decimal(1), b"yes", b"true", object(), (True,)], ids=lambda raw: type(raw).__name__
)
def test_a_value_of_an_unforeseen_type_is_invalid(signal: CategorySignal, raw: object) -> None:
    assert signal.status(signal.token(raw)) is ConsentStatus.INVALID


@pytest.mark.parametrize(
    ("signal", "alphabet", "statuses"),
    [
        (BOOLEAN, (True, False), "unknown granted denied invalid"),
        (TEXT, ("yes", "Y", "no"), "unknown granted granted denied invalid"),
        (INTEGER, (1, 0, 2), "unknown granted denied denied invalid"),
        (
            LISTS,
            ("Yes", "YES", "No", "Unset", "", "-", "Lapsed"),
            "unknown granted granted denied unknown unknown unknown expired invalid",
        ),
        (FLAG, (True, False), "unknown granted unknown invalid"),
        (Literals("ads", granted=(1,), expired=(2,)), (1, 2), "unknown granted expired invalid"),
        (OBJECT_KEY, (True, False), "unknown granted denied invalid"),
    ],
    ids=repr,
)
def test_tokens_number_null_then_the_alphabet_then_anything_else(
    signal: CategorySignal, alphabet: tuple[object, ...], statuses: str
) -> None:
    assert signal.alphabet == alphabet
    assert signal.unlisted_token == len(alphabet) + 1
    assert [signal.status(token) for token in range(len(alphabet) + 2)] == statuses.split()


@pytest.mark.parametrize("signal", [BOOLEAN, TEXT, INTEGER, LISTS, FLAG], ids=repr)
def test_an_alphabet_value_has_the_token_of_its_position(signal: CategorySignal) -> None:
    assert [signal.token(value) for value in signal.alphabet] == list(range(1, len(signal.alphabet) + 1))
    assert signal.token(None) == 0


@pytest.mark.parametrize("token", [-1, 4, 5, True, 1.0, None])
def test_a_number_that_is_not_a_token_is_refused(token: Any) -> None:
    with pytest.raises(ValueError, match=r"^not a token of column `ok`, which has 0 to 3$"):
        BOOLEAN.status(token)


@pytest.mark.parametrize(
    ("signal", "kinds"),
    [
        (BOOLEAN, ["boolean"]),
        (TEXT, ["text"]),
        (INTEGER, ["integer"]),
        (FLAG, ["boolean"]),
        (OBJECT_KEY, ["json", "text"]),
    ],
    ids=repr,
)
def test_a_format_accepts_only_columns_that_can_contain_it(signal: CategorySignal, kinds: list[str]) -> None:
    assert {kind for kind in ColumnKind if signal.accepts(kind)} == {*kinds, "empty"}


@pytest.mark.parametrize(
    ("granted", "denied", "problems"),
    [
        ((), (), ["expected at least one literal that grants @ Literals.granted"]),
        ("yes", ("no",), ["expected a tuple of literals, found text @ Literals.granted"]),
        (("yes",), "no", ["expected a tuple of literals, found text @ Literals.denied"]),
        (
            "yes",
            {"no"},
            [
                "expected a tuple of literals, found text @ Literals.granted",
                "expected a tuple of literals, found a set @ Literals.denied",
            ],
        ),
        ((1,), (False,), ["literals are either all text, all integers or all booleans @ Literals"]),
        ((True,), (0,), ["literals are either all text, all integers or all booleans @ Literals"]),
        ((True,), ("no",), ["literals are either all text, all integers or all booleans @ Literals"]),
        ((True, True), (), ["a literal is declared twice @ Literals"]),
        ((1.0,), (), ["a literal is neither text nor a 64-bit integer nor a boolean @ Literals.granted"]),
        ((None,), (), ["a literal is neither text nor a 64-bit integer nor a boolean @ Literals.granted"]),
        ((2**63,), (), ["a literal is neither text nor a 64-bit integer nor a boolean @ Literals.granted"]),
        ((1,), (-(2**63) - 1,), ["a literal is neither text nor a 64-bit integer nor a boolean @ Literals.denied"]),
        (("\ud800",), (), ["a literal is neither text nor a 64-bit integer nor a boolean @ Literals.granted"]),
        (("x\udfff",), (), ["a literal is neither text nor a 64-bit integer nor a boolean @ Literals.granted"]),
        (
            ("yes", ""),
            (),
            ["blank text cannot grant: missing values are often written as blank text @ Literals.granted"],
        ),
        ((" ",), (), ["blank text cannot grant: missing values are often written as blank text @ Literals.granted"]),
        (("yes",), (0,), ["literals are either all text, all integers or all booleans @ Literals"]),
        (("yes", 1), (), ["literals are either all text, all integers or all booleans @ Literals"]),
        (("yes",), ("no", "yes"), ["a literal is declared twice @ Literals"]),
        ((1, 1), (), ["a literal is declared twice @ Literals"]),
    ],
)
def test_refuses_literals_that_could_mislead(granted: Any, denied: Any, problems: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        Literals("ads", granted=granted, denied=denied)

    assert [str(problem) for problem in caught.value.problems] == problems


@pytest.mark.parametrize("name", ["denied", "unknown", "expired"])
@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ("maybe", "expected a tuple of literals, found text @ Literals.{}"),
        ((None,), "a literal is neither text nor a 64-bit integer nor a boolean @ Literals.{}"),
        ((0,), "literals are either all text, all integers or all booleans @ Literals"),
        (("yes",), "a literal is declared twice @ Literals"),
        (("maybe", "maybe"), "a literal is declared twice @ Literals"),
    ],
)
def test_refuses_a_list_that_could_mislead(name: str, values: Any, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Literals("ads", granted=("yes",), **{name: values})

    assert [str(problem) for problem in caught.value.problems] == [problem.format(name)]


def test_a_value_in_two_lists_has_no_meaning_of_its_own() -> None:
    with pytest.raises(PolicyError, match="a literal is declared twice"):
        Literals("ads", granted=("yes",), unknown=("unset",), expired=("unset",))


def test_literals_at_the_limits_are_accepted() -> None:
    integers = Literals("ads", granted=[2**63 - 1], denied=[-(2**63)], unknown=[0])
    texts = Literals("ads", granted=["\ud7ff", "\ue000", "a\tb"], denied=["", " "])

    assert integers.alphabet == (2**63 - 1, -(2**63), 0)
    assert texts.alphabet == ("\ud7ff", "\ue000", "a\tb", "", " ")


def test_refuses_a_column_without_a_name() -> None:
    for make, path in (
        (lambda: BooleanColumn(""), "BooleanColumn"),
        (lambda: BooleanColumn(1), "BooleanColumn"),  # type: ignore[arg-type]
        (lambda: Literals("", granted=(1,)), "Literals"),
        (lambda: ConsentObject(""), "ConsentObject"),
        (lambda: ConsentObjectKey("", ("C0004",)), "ConsentObjectKey"),
    ):
        with pytest.raises(PolicyError) as caught:
            make()

        assert [str(problem) for problem in caught.value.problems] == [f"expected the name of a column @ {path}.column"]


def test_a_consent_object_gives_each_category_its_key() -> None:
    by_id = ConsentObject("consent")
    by_name = ConsentObject("consent", path="context.consent", key_by="name")

    assert by_id.for_category("C0004", "Ads") == ConsentObjectKey("consent", ("categoryPreferences", "C0004"))
    assert by_name.for_category("C0004", "Ads") == ConsentObjectKey("consent", ("context", "consent", "Ads"))


@pytest.mark.parametrize(
    ("path", "keys"), [("a.b", ("a", "b")), (("a.b",), ("a.b",)), (["a"], ("a",)), ("", ()), ((), ())]
)
def test_a_consent_object_takes_its_path_dotted_or_as_keys(path: Any, keys: tuple[str, ...]) -> None:
    assert ConsentObject("consent", path=path).path == keys


@pytest.mark.parametrize("path", ["a..b", ".a", "a.", ("",), (1,), None, 1, {"a"}])
def test_refuses_a_path_with_a_gap(path: Any) -> None:
    with pytest.raises(PolicyError) as caught:
        ConsentObject("consent", path=path)

    assert [str(problem) for problem in caught.value.problems] == [
        "expected dotted text or a tuple of keys, none of them empty @ ConsentObject.path"
    ]


@pytest.mark.parametrize("path", [(), ("",), "C0004", ["C0004"]])
def test_refuses_an_object_key_without_a_path(path: Any) -> None:
    with pytest.raises(PolicyError) as caught:
        ConsentObjectKey("consent", path)

    assert [str(problem) for problem in caught.value.problems] == [
        "expected a tuple of keys, none of them empty @ ConsentObjectKey.path"
    ]


def test_refuses_a_consent_object_keyed_by_something_else() -> None:
    with pytest.raises(PolicyError) as caught:
        ConsentObject("", path=None, key_by="ID")  # type: ignore[arg-type]

    assert [problem.path for problem in caught.value.problems] == [
        "ConsentObject.column",
        "ConsentObject.path",
        "ConsentObject.key_by",
    ]
    assert caught.value.problems[2].message == "expected `id` or `name`"


def test_json_nested_without_end_is_invalid() -> None:
    assert OBJECT_KEY.token("[" * 100_000) == OBJECT_KEY.unlisted_token


@pytest.mark.parametrize(
    "format_", [BOOLEAN, TEXT, INTEGER, LISTS, FLAG, OBJECT_KEY, ConsentObject("consent")], ids=repr
)
def test_a_format_survives_being_a_parameter(format_: object) -> None:
    copy = pickle.loads(pickle.dumps(format_))  # noqa: S301

    assert copy == format_
    assert hash(copy) == hash(format_)
    assert repr(copy) == repr(format_)


def test_literals_of_another_type_are_another_format() -> None:
    assert Literals("ads", granted=(True,)) != Literals("ads", granted=(1,))
    assert Literals("ads", granted=(1,), denied=(0,)) == Literals("ads", granted=[1], denied=[0])


def test_formats_read_as_they_are_written() -> None:
    assert repr(TEXT) == "Literals(column='ads', granted=('yes', 'Y'), denied=('no',), unknown=(), expired=())"
    assert Literals("ads", granted=["yes", "Y"], denied=["no"]) == TEXT
    assert repr(ConsentObject("consent")) == (
        "ConsentObject(column='consent', path=('categoryPreferences',), key_by='id', missing='unknown')"
    )
