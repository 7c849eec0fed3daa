"""The removal of people from the current version of exported files: every part is read and written without them.

A part keeps its form, its order and, in text, the bytes of each line. Memory is bounded by a block of rows and by the
keys of the people.
"""

from __future__ import annotations

import hashlib
import io
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_consent_retl.destinations.files.formats import Csv, CsvEncoder, Parquet
from airflow_consent_retl.destinations.files.manifest import ExportedFile, ExportManifest
from airflow_consent_retl.errors import DestinationError
from airflow_consent_retl.values.json_rows import _values

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.files.part import PartFile
    from airflow_consent_retl.destinations.files.versions import Versions

log = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 20
_INTEGER = re.compile(r"u?int(8|16|32|64)")
_TEXT = {"string", "large_string", "string_view"}
_DICTIONARY = re.compile(r"dictionary<values=(.+), indices=\w+, ordered=\w+>")
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'


def take_out(versions: Versions, people: pa.ChunkedArray, *, key_field: str) -> None:
    """Publish the current version without these people; a version that contains none of them stays.

    All older versions are deleted: they contain people who were removed.

    Args:
        versions: begun, with nothing staged.
        people: their keys, none of them NULL.
        key_field: the field of the keys.

    Raises:
        DestinationError: the current version has no usable keys, or its bytes differ from those published.
        DestinationUnavailableError: the storage did not answer.
        LeaseLostError: from the load's `before_request`; nothing was published.
    """
    folder = versions.folder
    with folder.storage("read from"):
        base = versions.current()
    if base is None:
        log.info("%s contains no version: no one has to be removed", folder.uri)
        return
    copier = _copier(base, people, key_field=key_field, place=f"{folder.uri}/{base.name}")
    versions.stage_from(base, _sha256(people))
    if versions.kept is not None:
        versions.publish(versions.kept.files, keep=1)
        return
    files = tuple(_copied(versions, base, file, copier) for file in base.files)
    removed = base.rows - sum(file.rows for file in files)
    log.info("%s/%s: removing %s rows", folder.uri, base.name, f"{removed:,}")
    if removed:
        versions.publish(files, keep=1)
    else:
        versions.keep_current(base)


def _copied(versions: Versions, base: ExportManifest, file: ExportedFile, copier: _Copier) -> ExportedFile:
    with versions.folder.storage("write to"):
        part = versions.create(file.name)
        with ExitStack() as undo:
            undo.callback(part.give_up)
            with versions.folder.opened(f"{base.name}/{file.name}") as source:
                rows = copier.copy(source, part, before_write=versions.load.before_request)
            sha256 = part.finish()
            undo.pop_all()
    return ExportedFile(name=file.name, rows=rows, size_bytes=part.size_bytes, sha256=sha256)


class _Copier(ABC):
    @abstractmethod
    def copy(self, source: IO[bytes], sink: PartFile, *, before_write: Callable[[], None]) -> int:
        """Copy a part without the people, and return its number of rows after that."""


class _ParquetCopier(_Copier):
    def __init__(self, people: pa.ChunkedArray, *, key_field: str, compression: str) -> None:
        self._people = people
        self._key_field = key_field
        self._compression = compression

    def copy(self, source: IO[bytes], sink: PartFile, *, before_write: Callable[[], None]) -> int:
        """Copy by row groups, which are as large as the batches that made them."""
        rows = 0
        with (
            pq.ParquetFile(source, pre_buffer=False) as file,
            pq.ParquetWriter(pa.PythonFile(sink, mode="w"), file.schema_arrow, compression=self._compression) as writer,
        ):
            for number in range(file.num_row_groups):
                group = file.read_row_group(number)
                keys, people = _comparable(group.column(self._key_field), self._people)
                staying = group.filter(pc.invert(pc.is_in(keys, value_set=people)))
                if staying.num_rows:
                    before_write()
                    writer.write_table(staying, row_group_size=staying.num_rows)
                    rows += staying.num_rows
        return rows


class _TextCopier(_Copier):
    """Copies records of text; `goes` returns, for a record's bytes, whether it belongs to one of the people."""

    def __init__(self, goes: Callable[[bytes], bool], *, has_header: bool, has_quotes: bool) -> None:
        self._goes = goes
        self._has_header = has_header
        self._has_quotes = has_quotes

    def copy(self, source: IO[bytes], sink: PartFile, *, before_write: Callable[[], None]) -> int:
        """Copy by blocks of records, each with the same bytes as before."""
        lines = _lines(source)
        records = _whole_records(lines) if self._has_quotes else lines
        if self._has_header:
            sink.write(next(records, b""))
        rows = size_bytes = 0
        block: list[bytes] = []
        for record in records:
            if self._goes(record):
                continue
            block.append(record)
            size_bytes += len(record)
            if size_bytes >= _BLOCK_BYTES:
                before_write()
                sink.write(b"".join(block))
                rows, size_bytes, block = rows + len(block), 0, []
        if block:
            before_write()
            sink.write(b"".join(block))
        return rows + len(block)


def _lines(source: IO[bytes]) -> Iterator[bytes]:
    # Not wrapped in a reader of Python's own: the files of different storages close differently.
    rest: list[bytes] = []
    while block := source.read(_BLOCK_BYTES):
        *lines, last = block.split(b"\n")
        for line in lines:
            yield b"".join([*rest, line, b"\n"])
            rest = []
        rest.append(last)
    if any(rest):
        yield b"".join(rest)


def _whole_records(lines: Iterable[bytes]) -> Iterator[bytes]:
    # Only text has quotes around it, and quotes inside are doubled: a record ends at an even number of quotes.
    pending: list[bytes] = []
    quotes = 0
    for line in lines:
        quotes += line.count(b'"')
        pending.append(line)
        if quotes % 2 == 0:
            yield pending[0] if len(pending) == 1 else b"".join(pending)
            pending, quotes = [], 0


def _copier(base: ExportManifest, people: pa.ChunkedArray, *, key_field: str, place: str) -> _Copier:
    types = {field.name: field.type for field in base.fields}
    if key_field not in types:
        raise DestinationError(
            f"{place} has no field `{key_field}`, so people in it cannot be found: a load of all rows replaces it"
        )
    if _family(types[key_field]) != _family(str(people.type)):
        raise DestinationError(
            f"`{key_field}` is {types[key_field]} in {place}, but {people.type} here: a load of all rows replaces it"
        )
    match base.options.get("format"):
        case "parquet":
            parquet = msgspec.convert(base.options, Parquet)
            return _ParquetCopier(people, key_field=key_field, compression=parquet.compression)
        case "csv":
            cells = _by_cell(people, msgspec.convert(base.options, Csv), list(types).index(key_field))
            return _TextCopier(cells, has_header=True, has_quotes=True)
        case "jsonl":
            return _TextCopier(_by_field(people, key_field), has_header=False, has_quotes=False)
    raise DestinationError(f"{place} is in a format that this version does not know")


def _by_cell(people: pa.ChunkedArray, options: Csv, position: int) -> Callable[[bytes], bool]:
    encoder = CsvEncoder(io.BytesIO(), options)
    going: set[bytes] = set()
    for chunk in people.chunks:
        cells, _ = encoder.cells(chunk)
        going.update(cell.encode() for cell in cells.to_pylist() if cell is not None)
    before = rb"(?:(?:" + _QUOTED + rb'|[^,"]*+),){%d}' % position
    cell_of = re.compile(before + rb"(" + _QUOTED + rb'|[^,"\r\n]*+)')

    def goes(record: bytes) -> bool:
        found = cell_of.match(record)
        return found is not None and found[1] in going

    return goes


def _by_field(people: pa.ChunkedArray, key_field: str) -> Callable[[bytes], bool]:
    going: set[object] = set()
    for chunk in people.chunks:
        values, _ = _values(chunk, integers="number")
        going.update(value for value in values if value is not None)
    line: Any = msgspec.defstruct("Line", [("key", Any, None)], rename={"key": key_field})
    decode = msgspec.json.Decoder(line).decode
    return lambda record: decode(record).key in going


def _comparable(keys: pa.ChunkedArray, people: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.Array]:
    keys, people = _plain(keys), _plain(people)
    if keys.type != people.type:
        # Integers of other widths, or text of another type: the digits or letters are the same.
        keys, people = keys.cast(pa.large_string()), people.cast(pa.large_string())
    return keys, people.combine_chunks()


def _plain(array: pa.ChunkedArray) -> pa.ChunkedArray:
    chunks = [chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk for chunk in array.chunks]
    chunks = [chunk.storage if isinstance(chunk.type, pa.BaseExtensionType) else chunk for chunk in chunks]
    return pa.chunked_array(chunks) if chunks else array


def _family(kind: str) -> str:
    """Return the family of a type; values of two types can be compared if their families are equal."""
    dictionary = _DICTIONARY.fullmatch(kind)
    if dictionary is not None:
        return _family(dictionary[1])
    if _INTEGER.fullmatch(kind):
        return "integer"
    return "text" if kind in _TEXT else kind


def _sha256(people: pa.ChunkedArray) -> str:
    sink = pa.BufferOutputStream()
    rows = pa.table({"key": people})
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    return hashlib.sha256(sink.getvalue()).hexdigest()
