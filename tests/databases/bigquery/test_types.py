"""Types of BigQuery: values are read exactly, by the Storage API and by REST, or they are refused."""

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

# The source reads results of more than 1,000 rows by the Storage API.
WAYS = {"rest": 1, "storage": 1_001}
FAR = dt.datetime(9999, 12, 31, 23, 59, 59, 999999)  # noqa: DTZ001
NEW_YEAR_EVE = dt.datetime(2025, 12, 31, 22, 30, tzinfo=dt.UTC)
CANARY = "canary-7f3a@example.com"


PLAIN: dict[str, tuple[pa.DataType, Any]] = {
    "CAST('9223372036854775807' AS INT64)": (pa.int64(), 2**63 - 1),
    "CAST(NULL AS INT64)": (pa.int64(), None),
    "0.1": (pa.float64(), 0.1),
    "TRUE": (pa.bool_(), True),
    "CAST(NULL AS BOOL)": (pa.bool_(), None),
    "' ü 😀 '": (pa.string(), " ü 😀 "),
    "FROM_BASE64('AP8=')": (pa.binary(), b"\x00\xff"),
    "NUMERIC '99999999999999999999999999999.999999999'": (pa.decimal128(38, 9), Decimal("9" * 29 + "." + "9" * 9)),
    "NUMERIC '-1.5'": (pa.decimal128(38, 9), Decimal("-1.5")),
    # The stand-in supports 38 of the 76 digits.
    "BIGNUMERIC '0.12345678901234567890123456789012345678'": (
        pa.decimal256(76, 38),
        Decimal("0.12345678901234567890123456789012345678"),
    ),
    "DATE '0001-01-01'": (pa.date32(), dt.date(1, 1, 1)),
    "TIME '23:59:59.999999'": (pa.time64("us"), dt.time(23, 59, 59, 999999)),
    "DATETIME '9999-12-31 23:59:59.999999'": (pa.timestamp("us"), FAR),
    "TIMESTAMP '9999-12-31 23:59:59.999999+00'": (pa.timestamp("us", "UTC"), FAR.replace(tzinfo=dt.UTC)),
    "TIMESTAMP '2026-01-01 00:30:00+02'": (pa.timestamp("us", "UTC"), NEW_YEAR_EVE),
}
NESTED: dict[str, str | None] = {
    'JSON \'{"a": true, "b": "true", "n": 9007199254740993}\'': '{"a":true,"b":"true","n":9007199254740993}',
    "JSON 'null'": "null",
    "CAST(NULL AS JSON)": None,
    "[1, 2]": "[1,2]",
    "CAST([] AS ARRAY<INT64>)": "[]",
    "STRUCT(TRUE AS ads, 'ü\"' AS `Wort`)": '{"ads":true,"Wort":"ü\\""}',
    "STRUCT(CAST(NULL AS BOOL) AS ads)": '{"ads":null}',
    "[STRUCT(9007199254740993 AS n)]": '[{"n":9007199254740993}]',
    "STRUCT(FROM_BASE64('/w==') AS o, DATE '2026-01-01' AS d)": '{"o":"/w==","d":"2026-01-01"}',
    "STRUCT(TIMESTAMP '2026-01-01 00:00:00+00' AS t)": '{"t":"2026-01-01 00:00:00+00:00"}',
    "STRUCT(NUMERIC '12345678901234567890.123456789' AS n)": '{"n":12345678901234567890.123456789}',
}


@pytest.fixture(params=WAYS)
def values(
    request: pytest.FixtureRequest, bigquery: BigQuery, extracted: Callable[..., pa.Table]
) -> Callable[..., list[tuple[pa.DataType, Any]]]:
    """Read expressions by one query, and return the type and value of each."""

    def read(*expressions: str) -> list[tuple[pa.DataType, Any]]:
        rows = WAYS[request.param]
        columns = ", ".join(f"{expression} AS v{place}" for place, expression in enumerate(expressions))
        table = extracted(f"SELECT n AS id, {columns} FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS n")
        assert table.num_rows == rows
        assert bool(bigquery.server.control()["sessions"]) == (request.param == "storage")
        found = table.drop_columns("id")
        return list(zip(found.schema.types, found.slice(0, 1).to_pylist()[0].values(), strict=True))

    return read


def test_plain_values_are_exact(values: Callable[..., list[tuple[pa.DataType, Any]]]) -> None:
    assert dict(zip(PLAIN, values(*PLAIN), strict=True)) == PLAIN


def test_nested_values_are_json_text(values: Callable[..., list[tuple[pa.DataType, Any]]]) -> None:
    found = dict(zip(NESTED, values(*NESTED), strict=True))

    assert {type_ for type_, _ in found.values()} == {pa.string()}
    assert {key: _spaceless(text) for key, (_, text) in found.items()} == {
        key: _spaceless(text) for key, text in NESTED.items()
    }


def test_geography_is_text() -> None:
    # The stand-in describes it as BYTES.
    column = BigQueryColumn.of(SchemaField("v", "GEOGRAPHY"))

    assert column.array(pa.array(["POINT(1 2)"])).to_pylist() == ["POINT(1 2)"]


def test_nan_is_no_number_but_a_float(values: Callable[..., list[tuple[pa.DataType, Any]]]) -> None:
    ((type_, number),) = values("CAST('nan' AS FLOAT64)")

    assert type_ == pa.float64()
    assert math.isnan(number)


def test_json_in_a_struct_is_json_and_not_text() -> None:
    # The stand-in reads it as text.
    inner = [SchemaField("doc", "JSON"), SchemaField("docs", "JSON", mode="REPEATED"), SchemaField("no", "JSON")]
    column = BigQueryColumn.of(SchemaField("v", "RECORD", fields=inner))
    sent = pa.array([{"doc": '{"C4":true}', "docs": ["1", '"true"'], "no": None}, None])

    texts = column.array(sent).to_pylist()

    assert texts == ['{"doc":{"C4":true},"docs":[1,"true"],"no":null}', None]


def test_what_json_has_no_form_for_is_refused_unquoted(
    values: Callable[..., list[tuple[pa.DataType, Any]]],
) -> None:
    with pytest.raises(ModelError, match=r"column `v0` is STRUCT<x FLOAT64, who STRING> and holds") as failure:
        values(f"STRUCT(CAST('inf' AS FLOAT64) AS x, '{CANARY}' AS who)")

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


def _spaceless(text: str | None) -> str | None:
    return text and text.replace(" ", "")
