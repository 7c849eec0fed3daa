"""Every type of BigQuery comes out exactly, by the Storage API and by REST alike, or not at all."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from google.cloud.bigquery import SchemaField
from google.cloud.bigquery.enums import TimestampPrecision
from support.bigquery_server import BigQuery

from airflow_consent_retl.databases.bigquery.types import BigQueryColumn
from airflow_consent_retl.errors import ModelError

# By the Storage API come results of more than 1,000 rows.
WAYS = {"rest": 1, "storage": 1_001}
FAR = dt.datetime(9999, 12, 31, 23, 59, 59, 999999)  # noqa: DTZ001
NEW_YEAR_EVE = dt.datetime(2025, 12, 31, 22, 30, tzinfo=dt.UTC)
CANARY = "canary-7f3a@example.com"


@pytest.fixture(params=WAYS)
def value(
    request: pytest.FixtureRequest, bigquery: BigQuery, extracted: Callable[..., pa.Table]
) -> Callable[[str], tuple[pa.DataType, Any]]:
    """Read one expression, and return its type and value."""

    def read(expression: str) -> tuple[pa.DataType, Any]:
        rows = WAYS[request.param]
        table = extracted(f"SELECT n AS id, {expression} AS v FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS n")
        assert table.num_rows == rows
        assert bool(bigquery.server.control()["sessions"]) == (request.param == "storage")
        return table.schema.field("v").type, table["v"][0].as_py()

    return read


@pytest.mark.parametrize(
    ("expression", "type_", "expected"),
    [
        ("CAST('9223372036854775807' AS INT64)", pa.int64(), 2**63 - 1),
        ("CAST(NULL AS INT64)", pa.int64(), None),
        ("0.1", pa.float64(), 0.1),
        ("TRUE", pa.bool_(), True),
        ("CAST(NULL AS BOOL)", pa.bool_(), None),
        ("' ü 😀 '", pa.string(), " ü 😀 "),
        ("FROM_BASE64('AP8=')", pa.binary(), b"\x00\xff"),
        ("NUMERIC '99999999999999999999999999999.999999999'", pa.decimal128(38, 9), Decimal("9" * 29 + "." + "9" * 9)),
        ("NUMERIC '-1.5'", pa.decimal128(38, 9), Decimal("-1.5")),
        ("DATE '0001-01-01'", pa.date32(), dt.date(1, 1, 1)),
        ("TIME '23:59:59.999999'", pa.time64("us"), dt.time(23, 59, 59, 999999)),
        ("DATETIME '9999-12-31 23:59:59.999999'", pa.timestamp("us"), FAR),
        ("TIMESTAMP '9999-12-31 23:59:59.999999+00'", pa.timestamp("us", "UTC"), FAR.replace(tzinfo=dt.UTC)),
        ("TIMESTAMP '2026-01-01 00:30:00+02'", pa.timestamp("us", "UTC"), NEW_YEAR_EVE),
    ],
)  # fmt: skip
def test_a_plain_value_is_exact(
    expression: str, type_: pa.DataType, expected: object, value: Callable[[str], tuple[pa.DataType, Any]]
) -> None:
    assert value(expression) == (type_, expected)


def test_a_big_number_is_exact(value: Callable[[str], tuple[pa.DataType, Any]]) -> None:
    # Of 76 digits the stand-in holds 38.
    type_, number = value("BIGNUMERIC '0.12345678901234567890123456789012345678'")

    assert type_ == pa.decimal256(76, 38)
    assert number == Decimal("0.12345678901234567890123456789012345678")


def test_geography_is_text() -> None:
    # The stand-in describes it as BYTES.
    column = BigQueryColumn.of(SchemaField("v", "GEOGRAPHY"))

    assert column.array(pa.array(["POINT(1 2)"])).to_pylist() == ["POINT(1 2)"]


def test_nan_is_no_number_but_a_float(value: Callable[[str], tuple[pa.DataType, Any]]) -> None:
    type_, number = value("CAST('nan' AS FLOAT64)")

    assert type_ == pa.float64()
    assert math.isnan(number)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('JSON \'{"a": true, "b": "true", "n": 9007199254740993}\'', '{"a":true,"b":"true","n":9007199254740993}'),
        ("JSON 'null'", "null"),
        ("CAST(NULL AS JSON)", None),
        ("[1, 2]", "[1,2]"),
        ("CAST([] AS ARRAY<INT64>)", "[]"),
        ("STRUCT(TRUE AS ads, 'ü\"' AS `Wort`)", '{"ads":true,"Wort":"ü\\""}'),
        ("STRUCT(CAST(NULL AS BOOL) AS ads)", '{"ads":null}'),
        ("[STRUCT(9007199254740993 AS n)]", '[{"n":9007199254740993}]'),
        ("STRUCT(FROM_BASE64('/w==') AS o, DATE '2026-01-01' AS d)", '{"o":"/w==","d":"2026-01-01"}'),
        ("STRUCT(TIMESTAMP '2026-01-01 00:00:00+00' AS t)", '{"t":"2026-01-01 00:00:00+00:00"}'),
    ],
)  # fmt: skip
def test_a_nested_value_is_json_text(
    expression: str, expected: str | None, value: Callable[[str], tuple[pa.DataType, Any]]
) -> None:
    type_, text = value(expression)

    assert type_ == pa.string()
    assert text is None if expected is None else _spaceless(text) == _spaceless(expected)


def test_json_in_a_struct_is_json_and_not_text() -> None:
    # The stand-in takes it for text.
    inner = [SchemaField("doc", "JSON"), SchemaField("docs", "JSON", mode="REPEATED"), SchemaField("no", "JSON")]
    column = BigQueryColumn.of(SchemaField("v", "RECORD", fields=inner))
    sent = pa.array([{"doc": '{"C4":true}', "docs": ["1", '"true"'], "no": None}, None])

    texts = column.array(sent).to_pylist()

    assert texts == ['{"doc":{"C4":true},"docs":[1,"true"],"no":null}', None]


def test_a_number_in_a_struct_keeps_its_digits(value: Callable[[str], tuple[pa.DataType, Any]]) -> None:
    _, text = value("STRUCT(NUMERIC '12345678901234567890.123456789' AS n)")

    assert text == '{"n":12345678901234567890.123456789}'


def test_what_json_has_no_form_for_is_refused_unquoted(value: Callable[[str], tuple[pa.DataType, Any]]) -> None:
    with pytest.raises(ModelError, match=r"column `v` is STRUCT<x FLOAT64, who STRING> and holds") as failure:
        value(f"STRUCT(CAST('inf' AS FLOAT64) AS x, '{CANARY}' AS who)")

    assert "canary" not in repr(failure.value)
    assert failure.value.__context__ is None


@pytest.mark.parametrize(
    "field",
    [
        SchemaField("v", "INTERVAL"),
        SchemaField("v", "RANGE"),
        SchemaField("v", "TIMESTAMP", timestamp_precision=TimestampPrecision.PICOSECOND),
        SchemaField("v", "RECORD", fields=[SchemaField("x", "INTERVAL", mode="REPEATED")]),
        SchemaField("v", "A_NEW_ONE"),
    ],
    ids=lambda field: str(field.field_type),
)
def test_what_cannot_be_held_exactly_is_refused(field: SchemaField) -> None:
    with pytest.raises(ModelError, match=r"column `v` is .*cast it in the SQL"):
        BigQueryColumn.of(field)


def test_a_column_that_comes_as_another_type_is_refused() -> None:
    column = BigQueryColumn.of(SchemaField("v", "INTEGER"))

    with pytest.raises(ModelError, match="column `v` is INT64, but came as double"):
        column.array(pa.array([1.0]))


def _spaceless(text: str) -> str:
    return text.replace(" ", "")
