"""How permitted rows become the bytes of a Parquet, CSV or JSON Lines file; knows nothing of where the file lies."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import IO, ClassVar, Literal

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_consent_retl.destinations._json_rows import Nulls, check_fields, json_rows
from airflow_consent_retl.errors import ConfigurationError

Compression = Literal["zstd", "snappy", "gzip", "lz4", "none"]

# What a spreadsheet takes for a formula, also after normalising full-width forms.
# https://owasp.org/www-community/attacks/CSV_Injection, read 2026-11-23
_FORMULA = "^[=+\\-@\t\r\n＝＋－＠]"
_TEXT = pa.large_string()
_QUOTE = pa.scalar('"', _TEXT)
_NOTHING = pa.scalar("", _TEXT)
# Position in the rows of each one that the format cannot hold, with its code.
Refused = dict[int, str]


class PartEncoder(ABC):
    """Writes one file; rows that the format cannot hold are left out and named."""

    @abstractmethod
    def write(self, rows: pa.RecordBatch) -> Refused:
        """Append the rows, and return the positions and codes of those left out."""

    def close(self) -> None:  # noqa: B027 - text has no footer
        """Write what comes last; the sink stays open."""


class FileFormat(ABC):
    """A file format with its options."""

    extension: ClassVar[str]

    @abstractmethod
    def check(self, schema: pa.Schema) -> None:
        """Raise `ConfigurationError` for fields whose type the format cannot hold."""

    @abstractmethod
    def encoder(self, sink: IO[bytes], schema: pa.Schema) -> PartEncoder:
        """Begin a file."""

    def options(self) -> dict[str, str | bool]:
        """Return what, beside the rows, decides the bytes."""
        return {"format": self.extension, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True, slots=True)
class Parquet(FileFormat):
    """Native types; one row group per batch."""

    extension: ClassVar[str] = "parquet"
    compression: Compression = "zstd"

    def check(self, schema: pa.Schema) -> None:
        """Ask the writer itself."""
        unfit = []
        for field in schema:
            try:
                pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([field])).close()
            except pa.ArrowException:
                unfit.append(f"`{field.name}` ({field.type})")
        if unfit:
            raise ConfigurationError(f"Parquet cannot hold {', '.join(unfit)}: cast them in the model")

    def encoder(self, sink: IO[bytes], schema: pa.Schema) -> PartEncoder:
        """Begin a file without the source's own metadata."""
        return _ParquetEncoder(pq.ParquetWriter(sink, _bare(schema), compression=self.compression))


class _ParquetEncoder(PartEncoder):
    def __init__(self, writer: pq.ParquetWriter) -> None:
        self._writer = writer

    def write(self, rows: pa.RecordBatch) -> Refused:
        self._writer.write_batch(rows.replace_schema_metadata(None))
        return {}

    def close(self) -> None:
        self._writer.close()


@dataclass(frozen=True, slots=True)
class JsonLines(FileFormat):
    """One JSON object a line: integers with all digits, decimals as text, nested values as JSON."""

    extension: ClassVar[str] = "jsonl"
    nulls: Nulls = "null"

    def check(self, schema: pa.Schema) -> None:
        """Refuse types without an exact form in JSON."""
        check_fields(schema)

    def encoder(self, sink: IO[bytes], schema: pa.Schema) -> PartEncoder:
        """Begin a file."""
        return _JsonLinesEncoder(sink, self.nulls)


class _JsonLinesEncoder(PartEncoder):
    def __init__(self, sink: IO[bytes], nulls: Nulls) -> None:
        self._sink = sink
        self._nulls = nulls

    def write(self, rows: pa.RecordBatch) -> Refused:
        encoded = json_rows(rows, nulls=self._nulls, integers="number")
        self._sink.write(b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in encoded.records))
        return encoded.refused


@dataclass(frozen=True, slots=True)
class Csv(FileFormat):
    """RFC 4180 in UTF-8: text always in quotes, NULL never, so that empty text and NULL differ.

    Python's and Arrow's writers give NULL no text of its own that differs from the same text in a cell; joining
    columns in Arrow does, at Arrow's speed.
    """

    extension: ClassVar[str] = "csv"
    null_text: str = ""
    escape_formulas: bool = True

    def check(self, schema: pa.Schema) -> None:
        """Refuse types without a form in text."""
        check_fields(schema)

    def encoder(self, sink: IO[bytes], schema: pa.Schema) -> PartEncoder:
        """Begin a file with its header."""
        encoder = _CsvEncoder(sink, self)
        names = encoder.cells(pa.array(schema.names, pa.string()))
        sink.write(",".join(names.to_pylist()).encode() + b"\r\n")
        return encoder


class _CsvEncoder(PartEncoder):
    def __init__(self, sink: IO[bytes], options: Csv) -> None:
        self._sink = sink
        self._null = pa.scalar(options.null_text, _TEXT)
        self._escape = options.escape_formulas

    def write(self, rows: pa.RecordBatch) -> Refused:
        refused = _not_text(rows)
        if refused:
            keep = [row for row in range(rows.num_rows) if row not in refused]
            rows = rows.take(pa.array(keep, pa.int64()))
        if rows.num_rows:
            columns = [pc.fill_null(self.cells(column), self._null) for column in rows.columns]
            lines = pc.binary_join_element_wise(*columns, pa.scalar(",", _TEXT))
            self._sink.write("\r\n".join([*lines.to_pylist(), ""]).encode())
        return refused

    def cells(self, array: pa.Array) -> pa.Array:
        """Return the text of each cell, quoted where it is text; NULL stays NULL."""
        kind = array.type
        if isinstance(kind, pa.DictionaryType):
            return self.cells(array.dictionary_decode())
        if _is_binary(kind):
            encoded = [raw if raw is None else base64.b64encode(raw).decode() for raw in array.to_pylist()]
            return _quoted(pa.array(encoded, _TEXT))
        if _is_text(kind):
            text = array.cast(_TEXT)
            if self._escape:
                escaped = pc.binary_join_element_wise(pa.scalar("'", _TEXT), text, _NOTHING)
                text = pc.if_else(pc.match_substring_regex(text, _FORMULA), escaped, text)
            return _quoted(text)
        values = pa.array(_as_json(array), _TEXT)
        return values if pa.types.is_decimal(kind) or pa.types.is_temporal(kind) else _quoted(values)


def _as_json(array: pa.Array) -> list[str | None]:
    """Return each value as the text that JSON Lines has for it, nested values as JSON."""
    rows = pa.RecordBatch.from_arrays([array], names=["cell"])
    records = json_rows(rows, nulls="null", integers="number").records
    return [_json_text(record["cell"]) for record in records]


def _json_text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _not_text(rows: pa.RecordBatch) -> Refused:
    refused: Refused = {}
    for column in rows.columns:
        if not _is_plain(column.type) and not _is_binary(column.type):
            lone = pa.RecordBatch.from_arrays([column], names=["cell"])
            refused = {**json_rows(lone, nulls="null", integers="number").refused, **refused}
    return refused
