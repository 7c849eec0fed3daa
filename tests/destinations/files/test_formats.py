"""What rows look like in Parquet, CSV and JSON Lines: no value changes on the way, or its row is rejected."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.loading import deliver, load_of, rejected

from airflow_consent_retl.destinations.files.destination import FilesDestination
from airflow_consent_retl.destinations.files.options import FilesOptions
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.outcomes import Outcomes

MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)
EXACT = pa.table(
    {
        "id": pa.array([2**63 - 1, -(2**63)], pa.int64()),
        "flag": pa.array([True, None], pa.bool_()),
        "price": pa.array([Decimal("0.00000001"), Decimal("12345678901234567890.10000000")], pa.decimal128(38, 8)),
        "ratio": pa.array([0.1, None], pa.float64()),
        "name": pa.array(["Zoë 🦊 \u202e", ""], pa.string()),
        "at": pa.array([MOMENT, None], pa.timestamp("us", tz="Europe/Amsterdam")),
        "local": pa.array([datetime(2026, 2, 3, 4, 5), None], pa.timestamp("us")),  # noqa: DTZ001
        "day": pa.array([date(2026, 2, 3), None], pa.date32()),
        "hour": pa.array([time(4, 5, 6), None], pa.time64("us")),
        "raw": pa.array([b"\x00\xff", None], pa.binary()),
        "tags": pa.array([["a", None], []], pa.list_(pa.string())),
        "place": pa.array(
            [{"city": "Köln", "at": 2**63 - 1}, None], pa.struct({"city": pa.string(), "at": pa.int64()})
        ),
        "tier": pa.array(["gold", None]).dictionary_encode(),
        "nothing": pa.nulls(2),
    }
)


def written(tmp_path: Path, rows: pa.Table, **options: object) -> tuple[bytes, Outcomes]:
    outcomes = deliver(FilesDestination(FilesOptions(path=f"{tmp_path.as_uri()}/lake", **options)), rows)  # type: ignore[arg-type]
    [part] = (tmp_path / "lake").glob("*/part-00000.*")
    return part.read_bytes(), outcomes


def cells(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


def test_parquet_keeps_every_type_and_value(tmp_path: Path) -> None:
    content, _ = written(tmp_path, EXACT)

    found = pq.read_table(io.BytesIO(content))
    assert found.schema == EXACT.schema
    assert found.equals(EXACT)


def test_parquet_keeps_no_metadata_of_the_source(tmp_path: Path) -> None:
    rows = pa.table({"id": [1]}).replace_schema_metadata({"owner": "canary"})

    content, _ = written(tmp_path, rows)

    assert b"canary" not in content
    assert pq.read_table(io.BytesIO(content)).to_pydict() == {"id": [1]}


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "none"])
def test_parquet_is_compressed_as_asked(tmp_path: Path, compression: str) -> None:
    content, _ = written(tmp_path, EXACT, compression=compression)

    found = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0).column(0).compression
    assert found.lower().replace("uncompressed", "none") == compression


def test_csv_writes_every_value_in_full(tmp_path: Path) -> None:
    content, outcomes = written(tmp_path, EXACT, format="csv")

    assert rejected(outcomes) == {}
    header, first, second = cells(content)
    assert header == EXACT.schema.names
    assert first == [
        "9223372036854775807",
        "true",
        "0.00000001",
        "0.1",
        "Zoë 🦊 \u202e",
        "2026-02-03T04:05:06.789012+00:00",
        "2026-02-03T04:05:00.000000",
        "2026-02-03",
        "04:05:06.000000",
        "AP8=",
        '["a",null]',
        '{"city":"Köln","at":9223372036854775807}',
        "gold",
        "",
    ]
    assert second[:4] == ["-9223372036854775808", "", "12345678901234567890.10000000", ""]


def test_csv_tells_null_from_empty_text(tmp_path: Path) -> None:
    content, _ = written(tmp_path, pa.table({"id": [1, 2], "name": ["", None]}), format="csv")

    assert content == b'"id","name"\r\n1,""\r\n2,\r\n'


def test_csv_tells_a_null_text_from_the_same_text_in_a_cell(tmp_path: Path) -> None:
    content, _ = written(tmp_path, pa.table({"id": [1, 2], "name": ["NULL", None]}), format="csv", null_text="NULL")

    assert content == b'"id","name"\r\n1,"NULL"\r\n2,NULL\r\n'


def test_csv_quotes_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    awkward = ['a,"b"', "a\r\nb", "a\nb", ' "', "'", "\\", ";\t|", "\ufeffx", '""']

    content, _ = written(tmp_path, pa.table({'na"me, x': awkward}), format="csv")

    assert cells(content) == [['na"me, x'], *([text] for text in awkward)]


FORMULAS = ["=1+1", "+49 30 1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1", "＋1", "－1", "＠x"]  # noqa: RUF001


def test_csv_makes_formulas_harmless_in_cells_and_names(tmp_path: Path) -> None:
    rows = pa.table({"=cmd": FORMULAS, "number": [-1] * len(FORMULAS)})

    content, _ = written(tmp_path, rows, format="csv")

    assert cells(content) == [["'=cmd", "number"], *(["'" + text, "-1"] for text in FORMULAS)]


def test_csv_makes_formulas_harmless_in_dictionary_columns(tmp_path: Path) -> None:
    content, _ = written(tmp_path, pa.table({"x": pa.array(FORMULAS).dictionary_encode()}), format="csv")

    assert cells(content) == [["x"], *(["'" + text] for text in FORMULAS)]


def test_csv_leaves_formulas_as_they_are_when_told_to(tmp_path: Path) -> None:
    content, _ = written(tmp_path, pa.table({"=cmd": FORMULAS}), format="csv", escape_formulas=False)

    assert cells(content) == [["=cmd"], *([text] for text in FORMULAS)]


def test_csv_leaves_text_alone_that_only_holds_such_a_sign(tmp_path: Path) -> None:
    harmless = ["a=b", "1-2", " =1", "", "'=1"]

    content, _ = written(tmp_path, pa.table({"x": harmless}), format="csv")

    assert cells(content) == [["x"], *([text] for text in harmless)]


def test_csv_is_read_back_by_another_reader(tmp_path: Path) -> None:
    content, _ = written(tmp_path, EXACT.select(["id", "name", "price"]), format="csv")

    file = tmp_path / "copy.csv"
    file.write_bytes(content)
    found = duckdb.read_csv(
        str(file),
        header=True,
        allow_quoted_nulls=False,
        columns={"id": "BIGINT", "name": "VARCHAR", "price": "DECIMAL(38,8)"},
    ).fetchall()
    assert found == [tuple(row.values()) for row in EXACT.select(["id", "name", "price"]).to_pylist()]


def test_csv_without_rows_has_its_header(tmp_path: Path) -> None:
    content, _ = written(tmp_path, EXACT.select(["id", "name"]).slice(0, 0), format="csv")

    assert content == b'"id","name"\r\n'


def test_csv_takes_numbers_that_are_none(tmp_path: Path) -> None:
    content, outcomes = written(tmp_path, pa.table({"x": [float("nan"), float("inf")]}), format="csv")

    assert rejected(outcomes) == {}
    assert cells(content) == [["x"], ["nan"], ["inf"]]


def test_csv_rejects_rows_whose_nested_value_has_no_json(tmp_path: Path) -> None:
    rows = pa.table({"id": [1, 2, 3], "scores": [[1.5], [float("nan")], None]})

    content, outcomes = written(tmp_path, rows, format="csv")

    assert rejected(outcomes) == {1: "not_a_number"}
    assert cells(content) == [["id", "scores"], ["1", "[1.5]"], ["3", ""]]


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_text_that_is_not_utf_8_is_rejected_and_the_rest_written(tmp_path: Path, file_format: str) -> None:
    broken = pa.array([b"ok", b"\xff\xfe", b"=1", None]).view(pa.string())

    content, outcomes = written(tmp_path, pa.table({"id": range(4), "x": broken}), format=file_format)

    assert rejected(outcomes) == {1: "not_utf8"}
    assert len(content.decode().splitlines()) == (4 if file_format == "csv" else 3)
    assert (b"'=1" in content) == (file_format == "csv")


def test_json_lines_write_every_value_in_full(tmp_path: Path) -> None:
    content, outcomes = written(tmp_path, EXACT, format="jsonl")

    assert rejected(outcomes) == {}
    first, second = (json.loads(line) for line in content.splitlines())
    assert first == {
        "id": 2**63 - 1,
        "flag": True,
        "price": "0.00000001",
        "ratio": 0.1,
        "name": "Zoë 🦊 \u202e",
        "at": "2026-02-03T04:05:06.789012+00:00",
        "local": "2026-02-03T04:05:00.000000",
        "day": "2026-02-03",
        "hour": "04:05:06.000000",
        "raw": "AP8=",
        "tags": ["a", None],
        "place": {"city": "Köln", "at": 2**63 - 1},
        "tier": "gold",
        "nothing": None,
    }
    assert (second["id"], second["flag"], second["name"], second["tags"]) == (-(2**63), None, "", [])


def test_json_lines_can_leave_nulls_out(tmp_path: Path) -> None:
    content, _ = written(tmp_path, pa.table({"id": [1], "x": pa.nulls(1)}), format="jsonl", nulls="omit")

    assert content == b'{"id":1}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_json_lines_reject_rows_with_numbers_that_are_none(tmp_path: Path, value: float) -> None:
    content, outcomes = written(tmp_path, pa.table({"id": [1, 2], "x": [value, 0.5]}), format="jsonl")

    assert rejected(outcomes) == {0: "not_a_number"}
    assert content == b'{"id":2,"x":0.5}\n'


def test_json_lines_without_rows_are_an_empty_file(tmp_path: Path) -> None:
    content, _ = written(tmp_path, EXACT.slice(0, 0), format="jsonl")

    assert content == b""


@pytest.mark.parametrize("file_format", ["csv", "jsonl"])
def test_text_formats_refuse_types_without_an_exact_text(file_format: str) -> None:
    rows = pa.table({"id": [1], "took": pa.array([1], pa.duration("s"))})

    with pytest.raises(ConfigurationError, match=r"`took` \(duration\[s\]\)"):
        FilesDestination(FilesOptions(path="file:///exports/lake", format=file_format)).open(load_of(rows))  # type: ignore[arg-type]


def test_parquet_refuses_types_that_it_cannot_hold() -> None:
    rows = pa.table({"id": [1], "x": pa.array([None], pa.run_end_encoded(pa.int32(), pa.int64()))})

    with pytest.raises(ConfigurationError, match=r"Parquet cannot store `x`"):
        FilesDestination(FilesOptions(path="file:///exports/lake")).open(load_of(rows))
