"""Tests of signatures: the engine reads every raw value in the same way as `consent`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_consent_retl.consent import (
    BitMask,
    BooleanColumn,
    CategorySignal,
    ConsentObjectKey,
    GoogleConsent,
    GrantedId,
    Literals,
    OptanonConsentGroup,
)
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.filtering.signatures import SignatureReader

Signals = Sequence[CategorySignal | None]

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


@contextmanager
def reader_of(signals: Signals) -> Iterator[SignatureReader]:
    reader = SignatureReader(signals)
    yield reader
    reader.close()


def by_engine(reader: SignatureReader, rows: pa.RecordBatch) -> list[tuple[int, ...]]:
    return [reader.tokens(code) for code in reader.codes(rows).tolist()]


def by_law(signals: Signals, rows: pa.RecordBatch) -> list[tuple[int, ...]]:
    raws = rows.to_pylist()
    return [tuple(0 if signal is None else signal.token(row[signal.column]) for signal in signals) for row in raws]


def assert_agree(signals: Signals, rows: pa.RecordBatch) -> None:
    with reader_of(signals) as reader:
        assert by_engine(reader, rows) == by_law(signals, rows)


# Text

AWKWARD_TEXT = (
    "yes", "Yes", "YES", " yes", "yes ", "yes\n", "yes\x00", "\x00", "a\x00b", "a", "é", "e\u0301", "ß", "ss",
    "ﬁ", "fi", "", " ", "\ufeff", "yes\ufeff", "\u2028", "İ", "i\u0307", "😀", "'", "''", '"', "\\", "\\n", "\n", "%s",
    "{x}", ":x", "?", "$1", "--", "NULL", "null", "nan", "true", "TRUE", "1", "01", "1.0",
    "'; DROP TABLE consent_rows; --",
)  # fmt: skip
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
texts = st.sampled_from(AWKWARD_TEXT) | any_text
granting_texts = texts.filter(lambda text: bool(text.strip()))


@settings(max_examples=20, deadline=None)
@given(
    st.lists(granting_texts, min_size=1, max_size=4, unique=True), st.lists(texts, max_size=4, unique=True), st.data()
)
def test_text_has_the_right_tokens_for_any_literals_and_values(
    granted: list[str], others: list[str], data: st.DataObject
) -> None:
    signal = Literals("x", granted=granted, denied=[text for text in others if text not in granted])
    drawn = data.draw(st.lists(st.none() | texts, max_size=10))
    values = [*AWKWARD_TEXT, *granted, *others, *drawn, *(text.upper() for text in granted), None]

    assert_agree([signal], pa.record_batch({"x": pa.array(values, pa.string())}))


@pytest.mark.parametrize("encoded", [pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_text_of_every_arrow_encoding_has_the_right_tokens(encoded: pa.DataType) -> None:
    values = ["yes", "no", "Yes", None, "", '{"a": true}', '{"a": true,}']
    signals = [Literals("x", granted=("yes",), denied=("no",)), ConsentObjectKey("x", ("a",))]

    assert_agree(signals, pa.record_batch({"x": pa.array(values).cast(encoded)}))


# Integers

BORDERS = (0, 1, -1, 2, 127, 128, -128, 255, 2**31 - 1, 2**31, 2**53, 2**53 + 1, INT64_MAX, INT64_MAX - 1, INT64_MIN)
integers = st.sampled_from(BORDERS) | st.integers(INT64_MIN, INT64_MAX)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(integers, min_size=1, max_size=4, unique=True),
    st.lists(integers, max_size=3, unique=True),
    st.lists(st.none() | integers),
)
def test_integers_have_the_right_tokens_up_to_the_limits_of_64_bits(
    granted: list[int], others: list[int], drawn: list[int | None]
) -> None:
    signal = Literals("x", granted=granted, denied=[number for number in others if number not in granted])
    near = [number + step for number in granted for step in (-1, 1) if INT64_MIN <= number + step <= INT64_MAX]

    assert_agree([signal], pa.record_batch({"x": pa.array([*BORDERS, *granted, *near, *drawn, None], pa.int64())}))


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("signed", [True, False])
def test_integers_of_every_width_have_the_right_tokens(bits: int, signed: bool) -> None:
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    column = pa.array([lowest, highest, 0, 1, highest - 1, None], getattr(pa, f"{'' if signed else 'u'}int{bits}")())
    signal = Literals("x", granted=(-1, 1, 255, INT64_MAX), denied=(0, 2**31, INT64_MIN))

    assert_agree([signal], pa.record_batch({"x": column}))


# Booleans


@settings(max_examples=20, deadline=None)
@given(st.lists(st.none() | st.booleans()))
def test_booleans_have_the_right_tokens(values: list[bool | None]) -> None:
    assert_agree([BooleanColumn("x")], pa.record_batch({"x": pa.array(values, pa.bool_())}))


# JSON

OBJECT_KEYS = (
    ("a",),
    ("p", "a"),
    ("p", "q", "C1"),
    ("a/b",),
    ("~1",),
    ("a'b", 'a"b'),
    ("a.b",),
    ("*",),
    ("0",),
    ("$",),
    ("a\x00b",),
    ("\u00e9",),
    ("e\u0301",),
    ("\U0001f600",),
    ("\u2028",),
    ("\\",),
)
KEY_SIGNALS = tuple(ConsentObjectKey("x", path) for path in OBJECT_KEYS)
key_names = st.sampled_from(sorted({key for path in OBJECT_KEYS for key in path} | {"", "A", "b", "~", "~01", "/a"}))
scalars = st.sampled_from([True, False, None, 1, 0, 1.0, -0.0, 1e300, 10**30, "true", "false", "True", "", "null", "1"])
documents = st.recursive(
    scalars | any_text,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(key_names, children, max_size=4),
    max_leaves=12,
)
FRAGMENTS = (
    "{", "}", "[", "]", ",", ":", '"a"', '"p"', '"q"', '"C1"', "true", "false", "null", "1", "-0", "1e5", "01", "1.",
    ".5", "+1", '"true"', " ", "\n", "\t", "\x0b", "\xa0", "\ufeff", "//c\n", "/*c*/", "#c\n", "NaN", "Infinity",
    "-Infinity", "nan", "inf", '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u0061"', '"\\u0000"',
    "'a'", '"\x01"', "\x00", "1e999", "-1e999", "9" * 400, "0x1F", "TRUE", "True", '"\\x"', '"\\/"', "1E+2", "-",
    '"a\nb"', "\u2028", "undefined", ',"a":true', ',"p":{}', '"a":true,',
)  # fmt: skip
SEEDS = (
    '{"a":true,"p":{"a":true,"q":{"C1":true}}}',
    '{ "p" : { "q" : { "C1" : false, "z" : [1, 2, {"a": 1}] } } , "a" : null }',
    '{"a":true,"a":true}',
    '{"a":true,"\\u0061":false}',
    '{"p":{"q":{"C1":true},"q":{"C1":true}}}',
    '{"p":null,"a":false}',
    '{"p":[{"q":1}],"0":true}',
    '{"a":"true","p":{"a":1}}',
    "true",
    "[true]",
    '"a"',
    "null",
    "{}",
    "",
)


def mangled(generator: random.Random) -> str:
    """Return a document with random fragments inserted or replaced: nearly JSON, and sometimes valid JSON."""
    text = generator.choice(SEEDS)
    for _ in range(generator.randint(1, 3)):
        start = generator.randrange(len(text) + 1)
        text = text[:start] + generator.choice(FRAGMENTS) + text[start + generator.choice((0, 0, 0, 1, 2)) :]
    return text


@pytest.fixture(scope="module")
def key_reader() -> Iterator[SignatureReader]:
    with reader_of(KEY_SIGNALS) as reader:
        yield reader


@settings(max_examples=60, deadline=None)
@given(drawn=st.lists(documents, min_size=1, max_size=20), escaped=st.booleans())
def test_json_documents_have_the_right_tokens(key_reader: SignatureReader, drawn: list[Any], escaped: bool) -> None:
    texts = [json.dumps(document, ensure_ascii=escaped) for document in drawn]
    rows = pa.record_batch({"x": pa.array([*texts, None], pa.string())})

    assert by_engine(key_reader, rows) == by_law(KEY_SIGNALS, rows)


def test_text_that_is_nearly_json_has_the_right_tokens() -> None:
    signals = [ConsentObjectKey("x", path) for path in (("a",), ("p", "a"), ("p", "q", "C1"))]
    generator = random.Random(20261123)  # noqa: S311 - the same texts in every run
    texts = sorted({mangled(generator) for _ in range(20_000)})
    rows = pa.record_batch({"x": texts})

    with reader_of(signals) as reader:
        found = by_engine(reader, rows)

    expected = by_law(signals, rows)
    assert [row for row in zip(texts, found, expected, strict=True) if row[1] != row[2]] == []
    assert len([tokens for tokens in expected if 1 in tokens]) > 150


@pytest.mark.parametrize("depth", [100, 440, 2_000, 100_000])
def test_deeply_nested_json_has_the_right_tokens(depth: int) -> None:
    nested = '{"a":true,"b":' + "[" * depth + "]" * depth + "}"
    inside = '{"a":' * depth + "true" + "}" * depth

    assert_agree([ConsentObjectKey("x", ("a",))], pa.record_batch({"x": [nested, inside]}))


def test_large_json_has_the_right_tokens() -> None:
    filler = "é" * 500
    texts = ['{"a":true,"z":"%s"}', '{"a":true,"z":"%s",}', '{"a":true,"a":true,"z":"%s"}', '{"a":"true","z":"%s"}']

    assert_agree([ConsentObjectKey("x", ("a",))], pa.record_batch({"x": [text % filler for text in texts]}))


def test_the_engine_never_grants_a_value_that_consent_does_not_grant() -> None:
    deceivers = ['"true"', "1", "1.0", '"yes"', "[true]", '{"a":true}', '"True"', "TRUE", "true,", "NaN", "null", "-0"]
    texts = [f'{{"a":{value}}}' for value in deceivers] + ['{"a":false,"a":true}', '{"A":true}', '{"a ":true}', "true"]

    with reader_of([ConsentObjectKey("x", ("a",))]) as reader:
        granted = [
            text
            for text, tokens in zip(texts, by_engine(reader, pa.record_batch({"x": texts})), strict=True)
            if 1 in tokens
        ]

    assert granted == []


def test_paths_of_many_lengths_in_one_column_are_read_separately() -> None:
    signals = [ConsentObjectKey("x", path) for path in (("a",), ("a", "b"), ("a", "b", "c"), ("a",))]
    texts = ['{"a":true}', '{"a":{"b":false}}', '{"a":{"b":{"c":true}}}', '{"a":{"b":{"c":true,"c":true}}}', "{}", None]

    assert_agree(signals, pa.record_batch({"x": texts}))


# Columns and signatures


def test_a_column_of_only_null_is_token_0_in_every_format() -> None:
    signals = [
        BooleanColumn("x"),
        Literals("x", granted=("yes",)),
        Literals("x", granted=(1,)),
        ConsentObjectKey("x", ("a",)),
    ]

    with reader_of(signals) as reader:
        found = by_engine(reader, pa.record_batch({"x": pa.nulls(3)}))

    assert found == [(0, 0, 0, 0)] * 3


def test_columns_whose_names_differ_by_case_only_are_not_mixed_up() -> None:
    signals = [BooleanColumn("ads"), BooleanColumn("Ads"), BooleanColumn("ADS")]
    rows = pa.record_batch({"Ads": [True, True, False], "ads": [False, None, True], "ADS": [None, False, False]})

    assert_agree(signals, rows)


@pytest.mark.parametrize(
    "name",
    ["consent_ordinal", "CONSENT_ORDINAL", "consent_0", "token_0", "consent_rows", 'a"b', "a.b", "a b", "é", "a\x00b"],
)
def test_a_consent_column_may_have_any_name(name: str) -> None:
    signals = [BooleanColumn("other"), BooleanColumn(name)]

    assert_agree(signals, pa.record_batch({name: [True, False, None], "other": [False, True, True]}))


def test_a_category_without_a_column_is_token_0_in_every_row() -> None:
    signals = [None, BooleanColumn("x"), None]

    with reader_of(signals) as reader:
        found = by_engine(reader, pa.record_batch({"x": [True, False]}))

    assert found == [(0, 1, 0), (0, 2, 0)]


def test_without_any_consent_column_every_row_has_the_one_signature() -> None:
    with reader_of([None, None]) as reader:
        found = by_engine(reader, pa.record_batch({"id": [1, 2]}))
        nothing_asked = reader.columns

    assert found == [(0, 0), (0, 0)]
    assert nothing_asked == ()


def test_an_empty_batch_has_no_signatures() -> None:
    with reader_of([BooleanColumn("x"), ConsentObjectKey("y", ("a",))]) as reader:
        codes = reader.codes(pa.record_batch({"x": pa.array([], pa.bool_()), "y": pa.array([], pa.string())}))

    assert codes.tolist() == []


def test_rows_keep_their_order_over_many_batches() -> None:
    signal = Literals("x", granted=list(range(100)))
    values = [number * 37 % 101 for number in range(70_000)]
    rows = pa.table({"x": values})

    with reader_of([signal]) as reader:
        found = [tokens for batch in rows.to_batches(max_chunksize=30_000) for tokens in by_engine(reader, batch)]

    assert found == [(value + 1,) for value in values]


def test_each_of_many_documents_has_its_own_token() -> None:
    # So many in one batch are read by two threads. Some are left to the law: no JSON, or a key that occurs twice.
    texts = ['{"k": true}', '{"k": false}', '{"k": true,}', '{"k": true, "k": false}', "no JSON", None, '{"j": true}']
    signals = [ConsentObjectKey("x", ("a", "k"))]
    rows = pa.record_batch({"x": [None if text is None else f'{{"a": {text}}}' for text in _many(texts, 40_001)]})

    with reader_of(signals) as reader:
        found = by_engine(reader, rows)

    tokens = by_law(signals, pa.record_batch({"x": rows.column("x").slice(0, len(texts))}))
    assert len(set(tokens)) > 3
    assert found == _many(tokens, 40_001)


def _many(values: list[Any], count: int) -> list[Any]:
    return (values * (count // len(values) + 1))[:count]


def test_as_many_signatures_as_fit_into_64_bits_are_distinguished() -> None:
    # 15 alphabets of 16 tokens each: 2**60 signatures.
    signals = [Literals(f"x{number}", granted=list(range(14))) for number in range(15)]
    rows = pa.record_batch({f"x{number}": [14, 0, None] for number in range(15)})

    with reader_of(signals) as reader:
        found = by_engine(reader, rows)

    assert found == [(15,) * 15, (1,) * 15, (0,) * 15]


def test_more_than_2_to_the_61_signatures_are_refused() -> None:
    signals = [Literals(f"x{number}", granted=list(range(14))) for number in range(16)]

    with pytest.raises(ConfigurationError, match=r"16 consent values of a row have more than 2\*\*61"):
        SignatureReader(signals)


# Formats that are read


def test_values_that_are_read_have_the_right_tokens() -> None:
    signals = [
        GrantedId("list", "C4", ","),
        GrantedId("list", "C2", ","),
        BitMask("bits", 1),
        Literals("bits", granted=(2,)),
        GoogleConsent("state"),
        OptanonConsentGroup("cookie", "C4"),
        GoogleConsent("nothing"),
        None,
    ]
    rows = pa.record_batch(
        {
            "list": pa.array([",C4,", "C2", ",", "", None, "C4,C2"] * 2),
            "bits": pa.array([2, 3, 0, -1, None, 2**62] * 2, pa.int64()),
            "state": pa.array(["GRANTED", "denied", "", None, "UNKNOWN", "x"] * 2, pa.large_string()),
            "cookie": pa.array(["groups=C4:1", "groups=C4:0", "isGpcEnabled=1&groups=C4:1", None, "", "groups"] * 2),
            "nothing": pa.nulls(12),
        }
    )

    assert_agree(signals, rows)


def test_integers_of_every_width_are_read_in_the_same_way() -> None:
    for kind in (pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint64()):
        assert_agree([BitMask("x", 0)], pa.record_batch({"x": pa.array([0, 1, 2, 127, None], kind)}))
