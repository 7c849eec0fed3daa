"""The formats of exported files: how permitted rows become the bytes of Parquet, CSV or JSON Lines."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_consent_retl.destinations.files.options import Compression  # noqa: TC001 - msgspec reads it
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.json_rows import Nulls, RowEncoder, _expressible, _values, is_utf8

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Load

# Text that a spreadsheet reads as a formula, also after normalising full-width forms.
# https://owasp.org/www-community/attacks/CSV_Injection, read 2026-11-23
_FORMULA = "^[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
_TEXT = pa.large_string()
_QUOTE = pa.scalar('"', _TEXT)
_NOTHING = pa.scalar("", _TEXT)
# The position of each row that the format cannot express, with its code.
Refused = dict[int, str]


class PartEncoder(ABC):
    """Writes one file; it leaves out rows that the format cannot express, and names them."""

    @abstractmethod
    def write(self, rows: pa.RecordBatch) -> Refused:
        """Append the rows, and return the positions and codes of those left out."""

    def close(self) -> None:  # noqa: B027 - text has no footer
        """Write the end of the file; the sink stays open."""


class FileFormat(ABC):
    """A file format with its options."""

    extension: ClassVar[str]

    @abstractmethod
    def check(self, schema: pa.Schema) -> None:
        """Raise `ConfigurationError` for fields whose type the format cannot express."""

    @abstractmethod
    def encoder(self, sink: io.RawIOBase, schema: pa.Schema) -> PartEncoder:
        """Begin a file."""

    def for_load(self, load: Load) -> FileFormat:
        """Return the format that writes what a load needs: every NULL of its `cleared` fields can be read."""
        return self

    def options(self) -> dict[str, str | bool]:
        """Return the options that decide the bytes in addition to the rows."""
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
            raise ConfigurationError(f"Parquet cannot store {', '.join(unfit)}: cast them in the model")

    def encoder(self, sink: io.RawIOBase, schema: pa.Schema) -> PartEncoder:
        """Begin a file without the source's own metadata."""
        bare = _bare(schema)
        return _ParquetEncoder(
            pq.ParquetWriter(pa.PythonFile(sink, mode="w"), bare, compression=self.compression), bare
        )


class _ParquetEncoder(PartEncoder):
    def __init__(self, writer: pq.ParquetWriter, schema: pa.Schema) -> None:
        self._writer = writer
        self._schema = schema

    def write(self, rows: pa.RecordBatch) -> Refused:
        self._writer.write_batch(rows.cast(self._schema))
        return {}

    def close(self) -> None:
        self._writer.close()


@dataclass(frozen=True, slots=True)
class JsonLines(FileFormat):
    """One JSON object a line: integers with all digits, decimals as text, nested values as JSON."""

    extension: ClassVar[str] = "jsonl"
    nulls: Nulls = "null"
    cleared: frozenset[str] = frozenset()

    def check(self, schema: pa.Schema) -> None:
        """Refuse types and names without an exact form in JSON."""
        RowEncoder(schema, nulls=self.nulls, integers="number", envelope=None)

    def encoder(self, sink: io.RawIOBase, schema: pa.Schema) -> PartEncoder:
        """Begin a file."""
        rows = RowEncoder(schema, nulls=self.nulls, integers="number", envelope=None, cleared=self.cleared)
        return _JsonLinesEncoder(sink, rows)

    def for_load(self, load: Load) -> JsonLines:
        """Return the format with the fields of which every row gets a NULL."""
        return replace(self, cleared=load.cleared)

    def options(self) -> dict[str, str | bool]:
        """Return the options that decide the bytes in addition to the rows."""
        own: dict[str, str | bool] = {"format": self.extension, "nulls": self.nulls}
        return own | ({"cleared": " ".join(sorted(self.cleared))} if self.cleared and self.nulls == "omit" else {})


class _JsonLinesEncoder(PartEncoder):
    def __init__(self, sink: io.RawIOBase, rows: RowEncoder) -> None:
        self._sink = sink
        self._rows = rows
        self._json = msgspec.json.Encoder()

    def write(self, rows: pa.RecordBatch) -> Refused:
        encoded = self._rows.rows(rows)
        self._sink.write(self._json.encode_lines(encoded.records))
        return encoded.refused


@dataclass(frozen=True, slots=True)
class Csv(FileFormat):
    """RFC 4180 in UTF-8: text always in quotes, NULL never, so that empty text and NULL differ.

    Python's and Arrow's writers cannot distinguish NULL from a cell with the same text; joining columns in Arrow can,
    at Arrow's speed.
    """

    extension: ClassVar[str] = "csv"
    null_text: str = ""
    escape_formulas: bool = True

    def check(self, schema: pa.Schema) -> None:
        """Refuse types without an exact form in text."""
        unfit = [f"`{field.name}` ({field.type})" for field in schema if not _expressible(field.type)]
        if unfit:
            raise ConfigurationError(f"no exact form in text for {', '.join(unfit)}: cast them in the model")

    def encoder(self, sink: io.RawIOBase, schema: pa.Schema) -> PartEncoder:
        """Begin a file with its header."""
        encoder = CsvEncoder(sink, self)
        names, _ = encoder.cells(pa.array(schema.names, pa.string()))
        sink.write(",".join(names.to_pylist()).encode() + b"\r\n")
        return encoder


class CsvEncoder(PartEncoder):
    """Writes cells; the same value is always the same bytes, so a person can be found again.

    Args:
        sink: the target of the lines.
        options: the form of cells.
    """

    def __init__(self, sink: io.RawIOBase | io.BytesIO, options: Csv) -> None:
        self._sink = sink
        self._null = pa.scalar(options.null_text, _TEXT)
        self._escape = options.escape_formulas

    def write(self, rows: pa.RecordBatch) -> Refused:
        """Append a line for each row."""
        refused: Refused = {}
        columns = []
        for column in rows.columns:
            cells, unfit = self.cells(column)
            columns.append(pc.fill_null(cells, self._null))
            refused = {**unfit, **refused}
        lines = pc.binary_join_element_wise(*columns, pa.scalar(",", _TEXT)).to_pylist()
        if refused:
            lines = [line for row, line in enumerate(lines) if row not in refused]
        self._sink.write("\r\n".join([*lines, ""]).encode() if lines else b"")
        return refused

    def cells(self, array: pa.Array) -> tuple[pa.Array, Refused]:
        """Return the text of each cell, in quotes where it is text; NULL stays NULL."""
        kind = array.type
        if pa.types.is_dictionary(kind):
            return self.cells(array.dictionary_decode())
        if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
            return array.cast(_TEXT), {}
        if _is_text(kind) and is_utf8(array):
            return _quoted(self._harmless(array.cast(_TEXT))), {}
        text, refused = _json_text(array)
        if pa.types.is_decimal(kind) or pa.types.is_temporal(kind):
            return text, refused
        return _quoted(self._harmless(text) if _is_text(kind) else text), refused

    def _harmless(self, text: pa.Array) -> pa.Array:
        if not self._escape:
            return text
        escaped = pc.binary_join_element_wise(pa.scalar("'", _TEXT), text, _NOTHING)
        return pc.if_else(pc.match_substring_regex(text, _FORMULA), escaped, text)


def _quoted(text: pa.Array) -> pa.Array:
    doubled = pc.replace_substring(text, '"', '""')
    return pc.binary_join_element_wise(_QUOTE, doubled, _QUOTE, _NOTHING)


def _json_text(array: pa.Array) -> tuple[pa.Array, Refused]:
    """Return each value as JSON writes it, without quotes around text, and codes for values without a form in JSON."""
    values, refused = _values(array, integers="number")
    texts = [
        value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode() for value in values
    ]
    return pa.array(texts, _TEXT), refused


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _bare(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field(field.name, field.type, field.nullable) for field in schema])
