"""Every value arrives at the other side as itself, or its row is rejected."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from decimal import Decimal
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.json_rows import Integers, JsonRows, Nulls, RowEncoder, SentObjects

BERLIN = dt.timezone(dt.timedelta(hours=1))
BAD_TEXT = pa.StringArray.from_buffers(3, pa.array([0, 1, 2, 3], pa.int32()).buffers()[1], pa.py_buffer(b"a\xffb"))


def rows_of(batch: pa.RecordBatch, *, nulls: Nulls = "null", integers: Integers = "number") -> JsonRows:
    return RowEncoder(batch.schema, nulls=nulls, integers=integers, envelope="rows").rows(batch)


def read(batch: pa.RecordBatch, *, nulls: Nulls = "null", integers: Integers = "number") -> list[dict[str, object]]:
    """Return what a reader of the body finds."""
    encoder = RowEncoder(batch.schema, nulls=nulls, integers=integers, envelope="rows")
    rows = json.loads(encoder.body(encoder.rows(batch).records))["rows"]
    assert isinstance(rows, list)
    return rows


def encoded(array: pa.Array) -> list[object]:
    return [row["value"] for row in read(pa.record_batch({"value": array}))]


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (pa.array([2**63 - 1, None, -(2**63), 2**53 + 1]), [2**63 - 1, None, -(2**63), 2**53 + 1]),
        (pa.array([2**64 - 1, None], pa.uint64()), [2**64 - 1, None]),
        (pa.array([True, None, False]), [True, None, False]),
        (pa.nulls(2), [None, None]),
        (pa.array([0.1, None, 1e-300, -0.0, 5e-324]), [0.1, None, 1e-300, -0.0, 5e-324]),
        (pa.array([Decimal("12.50"), None, Decimal("-0.01")]), ["12.50", None, "-0.01"]),
        (pa.array([Decimal("0.0000000001")]), ["0.0000000001"]),
        (pa.array([Decimal("9" * 38)], pa.decimal128(38, 0)), ["9" * 38]),
        (pa.array([Decimal("9" * 70 + ".5")], pa.decimal256(71, 1)), ["9" * 70 + ".5"]),
        (pa.array(["é", None, "", '"\\\n\x00\u2028😀\ud7ff']), ["é", None, "", '"\\\n\x00\u2028😀\ud7ff']),
        (pa.array(["x", None], pa.large_string()), ["x", None]),
        (pa.array(["x", None], pa.string_view()), ["x", None]),
        (pa.array(["x", None, "x"]).dictionary_encode(), ["x", None, "x"]),
        (pa.array([b"\xff\x00", None, b""]), [base64.b64encode(b"\xff\x00").decode(), None, ""]),
        (pa.array([dt.date(1, 1, 1), None, dt.date(9999, 12, 31)]), ["0001-01-01", None, "9999-12-31"]),
        (pa.array([dt.time(1, 2, 3, 4), None]), ["01:02:03.000004", None]),
        (
            pa.array([dt.datetime(2026, 1, 1, 0, 30, 0, 1, BERLIN), None], pa.timestamp("us", "Europe/Berlin")),
            ["2025-12-31T23:30:00.000001+00:00", None],
        ),
        (pa.array([dt.datetime(2026, 1, 1), None], pa.timestamp("s")), ["2026-01-01T00:00:00", None]),  # noqa: DTZ001
        (pa.array([-62135596800, 253402300799], pa.timestamp("s")), ["0001-01-01T00:00:00", "9999-12-31T23:59:59"]),
        (pa.array([dt.date(2026, 1, 1), None], pa.date64()), ["2026-01-01", None]),
        (pa.array([1, None], pa.timestamp("ns", "UTC")), ["1970-01-01T00:00:00.000000001+00:00", None]),
        (pa.array([[1, None], None, []], pa.list_(pa.int64())), [[1, None], None, []]),
        (pa.array([[2**60, 1], None], pa.list_(pa.int64(), 2)), [[2**60, 1], None]),
        (
            pa.array([{"a": Decimal("1.0"), "b": [{"c": "x"}]}, None, {"a": None, "b": None}]),
            [{"a": "1.0", "b": [{"c": "x"}]}, None, {"a": None, "b": None}],
        ),
        (pa.array(['{"a": 1e400}', None]), ['{"a": 1e400}', None]),
    ],
)
def test_values_arrive_as_themselves(array: pa.Array, values: list[object]) -> None:
    assert encoded(array) == values
    assert encoded(array.slice(1)) == values[1:]


def test_a_negative_zero_keeps_its_sign() -> None:
    [value] = encoded(pa.array([-0.0]))

    assert isinstance(value, float)
    assert math.copysign(1, value) == -1


def test_uuids_arrive_as_their_text() -> None:
    text = "12345678-1234-5678-1234-567812345678"
    array = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([UUID(text).bytes, None], pa.binary(16)))

    assert encoded(array) == [text, None]


def test_json_columns_arrive_as_their_text() -> None:
    array = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}', None]))

    assert encoded(array) == ['{"a":1}', None]


@pytest.mark.parametrize(
    ("array", "refused"),
    [
        (pa.array([1.0, float("nan"), None, float("-inf")]), {1: "not_a_number", 3: "not_a_number"}),
        (pa.array([1.0, float("nan")], pa.float32()), {1: "not_a_number"}),
        (pa.array([[1.0], None, [2.0, float("inf")]]), {2: "not_a_number"}),
        (pa.array([{"a": {"b": float("nan")}}, None]), {0: "not_a_number"}),
        (pa.array([[{"a": [1.0]}], [{"a": None}, {"a": [float("nan")]}]]), {1: "not_a_number"}),
        (pa.array([0, 253402300800], pa.timestamp("s", "UTC")), {1: "year_out_of_range"}),
        (pa.array([0, -62135596801], pa.timestamp("s")), {1: "year_out_of_range"}),
        (pa.array([0, 2**31 - 1], pa.date32()), {1: "year_out_of_range"}),
        (BAD_TEXT, {1: "not_utf8"}),
        (BAD_TEXT.slice(1), {0: "not_utf8"}),
    ],
)
def test_rows_that_json_cannot_hold_are_rejected_and_the_others_are_not(
    array: pa.Array, refused: dict[int, str]
) -> None:
    rows = rows_of(pa.record_batch({"value": array}))

    assert rows.refused == refused
    assert list(rows.positions) == [row for row in range(len(array)) if row not in refused]
    assert len(rows.records) == len(array) - len(refused)


def test_a_value_under_a_null_list_belongs_to_no_row() -> None:
    hidden = pa.ListArray.from_arrays([0, 1, 2], pa.array([float("nan"), float("nan")]), mask=pa.array([True, False]))

    assert rows_of(pa.record_batch({"value": hidden})).refused == {1: "not_a_number"}


def test_nulls_are_left_out_where_asked_and_only_there() -> None:
    batch = pa.record_batch({"id": [1, 2], "email": ["a", None], "tags": [{"x": None}, None]})

    rows = read(batch, nulls="omit")

    assert rows == [{"id": 1, "email": "a", "tags": {"x": None}}, {"id": 2}]


def test_integers_are_text_where_asked() -> None:
    batch = pa.record_batch({"id": [2**53 + 1, None], "tags": [[1], None], "score": [1.0, 2.0], "ok": [True, None]})

    rows = read(batch, integers="string")

    assert rows == [
        {"id": "9007199254740993", "tags": ["1"], "score": 1.0, "ok": True},
        {"id": None, "tags": None, "score": 2.0, "ok": None},
    ]


def test_an_empty_batch_has_no_rows() -> None:
    batch = pa.record_batch({"id": pa.array([], pa.int64()), "tags": pa.array([], pa.list_(pa.float64()))})

    assert read(batch) == []


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "id": st.integers(-(2**63), 2**63 - 1),
                "text": st.none() | st.text(st.characters(codec="utf-8")),
                "score": st.none() | st.floats(allow_nan=False, allow_infinity=False),
                "tags": st.none() | st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)),
            }
        ),
        min_size=1,
    )
)
def test_any_row_arrives_as_itself(records: list[dict[str, object]]) -> None:
    schema = pa.schema(
        [("id", pa.int64()), ("text", pa.string()), ("score", pa.float64()), ("tags", pa.list_(pa.int64()))]
    )
    batch = pa.RecordBatch.from_pylist(records, schema=schema)

    rows = read(batch)

    assert rows == records


@pytest.mark.parametrize("name", ["e mail", "é", "class", "field_1", "__init__", "a.b", "{}", "%s", ""])
def test_any_printable_field_name_arrives_as_itself(name: str) -> None:
    batch = pa.record_batch([[1], ["x"]], names=["field_0", name])

    assert read(batch) == [{"field_0": 1, name: "x"}]
    assert SentObjects(rows_of(batch).records)[0] == {"field_0": 1, name: "x"}


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a\x00"])
def test_refuses_a_field_name_that_would_have_to_be_escaped(name: str) -> None:
    with pytest.raises(ConfigurationError, match="field names with quotes"):
        rows_of(pa.record_batch([[1]], names=[name]))


def test_refuses_a_load_without_fields() -> None:
    with pytest.raises(ConfigurationError, match="fields names nothing to send"):
        RowEncoder(pa.schema([]), nulls="null", integers="number", envelope="rows")
