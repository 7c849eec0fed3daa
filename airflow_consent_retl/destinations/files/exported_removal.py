"""The removal of people, or of fields of theirs, from the current version of exported files.

Every part is read and written without them. It keeps its form, its order and, in text, the bytes of each line that
loses nothing. Memory is bounded by a block of rows and by the keys of the people.
"""

from __future__ import annotations

import hashlib
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_consent_retl.destinations.files.export_manifest import ExportedFile, ExportManifest
from airflow_consent_retl.destinations.files.formats import Csv, CsvEncoder, Parquet
from airflow_consent_retl.errors import DestinationError
from airflow_consent_retl.progress import module_log
from airflow_consent_retl.values.json_rows import _values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.destinations.files.part import PartFile
    from airflow_consent_retl.destinations.files.versions import Versions

log = module_log(__name__)

_BLOCK_BYTES = 1 << 20
_INTEGER = re.compile(r"u?int(8|16|32|64)")
_TEXT = {"string", "large_string", "string_view"}
_DICTIONARY = re.compile(r"dictionary<values=(.+), indices=\w+, ordered=\w+>")
_QUOTED = rb'"[^"]*+(?:""[^"]*+)*+"'


@dataclass(frozen=True, slots=True)
class Leaving:
    """The people whose rows, or some of whose fields, are removed.

    Args:
        people: the keys of the people to remove, none of them NULL; None: no one.
        cleared: the keys of the people who lose fields, by these fields.
    """

    people: pa.ChunkedArray | None
    cleared: Mapping[tuple[str, ...], pa.ChunkedArray]

    def sha256(self) -> str:
        """Return a digest of the people and of the fields."""
        digests = [] if self.people is None else [_sha256(self.people)]
        digests += [f"{' '.join(fields)}:{_sha256(keys)}" for fields, keys in sorted(self.cleared.items())]
        return digests[0] if len(digests) == 1 else hashlib.sha256(" ".join(digests).encode()).hexdigest()


def take_out(versions: Versions, leaving: Leaving, *, key_field: str) -> None:
    """Publish the current version without some people or fields; a version that contains none of them stays.

    All older versions are deleted: they contain people who were removed, or their fields.

    Args:
        versions: begun, with nothing staged.
        leaving: the people.
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
    copier = _copier(base, leaving, key_field=key_field, place=f"{folder.uri}/{base.name}")
    versions.stage_from(base, leaving.sha256())
    if versions.kept is not None:
        versions.publish(versions.kept.files, keep=1)
        return
    files = tuple(_copied(versions, base, file, copier) for file in base.files)
    log.info(
        "%s/%s: removing %s rows, clearing fields of %s",
        folder.uri,
        base.name,
        f"{copier.removed:,}",
        f"{copier.changed:,}",
    )
    if copier.removed or copier.changed:
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
    """Copies parts, and counts the rows that it left out (`removed`), and those of which it cleared a field."""

    removed = 0
    changed = 0

    @abstractmethod
    def copy(self, source: IO[bytes], sink: PartFile, *, before_write: Callable[[], None]) -> int:
        """Copy a part without the people and fields, and return its number of rows after that."""


class _ParquetCopier(_Copier):
    def __init__(self, leaving: Leaving, *, key_field: str, compression: str) -> None:
        self._leaving = leaving
        self._key_field = key_field
        self._compression = compression

    def copy(self, source: IO[bytes], sink: PartFile, *, before_write: Callable[[], None]) -> int:
        """Copy by row groups, which are as large as the batches that made them."""
        rows = 0
        with pq.ParquetFile(source, pre_buffer=False) as file:
            schema = self._nullable(file.schema_arrow)
            with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), schema, compression=self._compression) as writer:
                for number in range(file.num_row_groups):
                    staying = self._staying(file.read_row_group(number), schema)
                    if staying.num_rows:
                        before_write()
                        writer.write_table(staying, row_group_size=staying.num_rows)
                        rows += staying.num_rows
        return rows

    def _nullable(self, schema: pa.Schema) -> pa.Schema:
        cleared = {name for fields in self._leaving.cleared for name in fields}
        return pa.schema([field.with_nullable(True) if field.name in cleared else field for field in schema])

    def _staying(self, group: pa.Table, schema: pa.Schema) -> pa.Table:
        columns = dict(zip(group.column_names, group.columns, strict=True))
        everyone = np.arange(group.num_rows)
        is_changed = np.zeros(group.num_rows, dtype=np.bool_)
        for fields, people in self._leaving.cleared.items():
            chosen = self._are_among(group, people)
            for name in columns.keys() & set(fields):
                is_changed |= chosen & np.asarray(columns[name].is_valid())
                # Nested and encoded values have no other way to become NULL.
                columns[name] = columns[name].take(pa.array(everyone, mask=chosen))
        self.changed += int(np.count_nonzero(is_changed))
        altered = pa.table(list(columns.values()), schema=schema)
        if self._leaving.people is None:
            return altered
        staying = altered.filter(pa.array(~self._are_among(group, self._leaving.people)))
        self.removed += group.num_rows - staying.num_rows
        return staying

    def _are_among(self, group: pa.Table, people: pa.ChunkedArray) -> NDArray[np.bool_]:
        keys, known = _comparable(group.column(self._key_field), people)
        return np.asarray(pc.is_in(keys, value_set=known))


class _TextCopier(_Copier):
    """Copies records of text.

    Args:
        left: returns what is left of a record: the same bytes, others, or None where it belongs to one of the people.
        has_header: whether the first record is one.
        has_quotes: whether a record may contain line ends between quotes.
    """

    def __init__(self, left: Callable[[bytes], bytes | None], *, has_header: bool, has_quotes: bool) -> None:
        self._left = left
        self._has_header = has_header
        self._has_quotes = has_quotes

    def copy(self, source: IO[bytes], sink: PartFile, *, before_write: Callable[[], None]) -> int:
        """Copy by blocks of records; a record that loses nothing keeps its bytes."""
        lines = _lines(source)
        records = _whole_records(lines) if self._has_quotes else lines
        if self._has_header:
            sink.write(next(records, b""))
        rows = size_bytes = 0
        block: list[bytes] = []
        for record in records:
            left = self._left(record)
            if left is None:
                self.removed += 1
                continue
            self.changed += left != record
            block.append(left)
            size_bytes += len(left)
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


def _copier(base: ExportManifest, leaving: Leaving, *, key_field: str, place: str) -> _Copier:
    types = {field.name: field.type for field in base.fields}
    if key_field not in types:
        raise DestinationError(
            f"{place} has no field `{key_field}`, so people in it cannot be found: a load of all rows replaces it"
        )
    for people in [*([] if leaving.people is None else [leaving.people]), *leaving.cleared.values()]:
        if _family(types[key_field]) != _family(str(people.type)):
            raise DestinationError(
                f"`{key_field}` is {types[key_field]} in {place}, but {people.type} here: a load of all rows replaces "
                "it"
            )
    match base.options.get("format"):
        case "parquet":
            parquet = msgspec.convert(base.options, Parquet)
            return _ParquetCopier(leaving, key_field=key_field, compression=parquet.compression)
        case "csv":
            cells = _left_of_cells(leaving, msgspec.convert(base.options, Csv), list(types), key_field)
            return _TextCopier(cells, has_header=True, has_quotes=True)
        case "jsonl":
            return _TextCopier(_left_of_fields(leaving, key_field), has_header=False, has_quotes=False)
    raise DestinationError(f"{place} is in a format that this version does not know")


def _left_of_cells(
    leaving: Leaving, options: Csv, names: Sequence[str], key_field: str
) -> Callable[[bytes], bytes | None]:
    encoder = CsvEncoder(io.BytesIO(), options)

    def cells_of(people: pa.ChunkedArray | None) -> set[object]:
        chunks = [] if people is None else people.chunks
        cells = [cell for chunk in chunks for cell in encoder.cells(chunk)[0].to_pylist()]
        return {cell.encode() for cell in cells if cell is not None}

    going, losing = _by_person(leaving, cells_of)
    position = names.index(key_field)
    before = rb"(?:(?:" + _QUOTED + rb'|[^,"]*+),){%d}' % position
    cell_of = re.compile(before + rb"(" + _QUOTED + rb'|[^,"\r\n]*+)')
    each = re.compile(_QUOTED + rb'|[^,"\r\n]*+')
    null = options.null_text.encode()

    def left(record: bytes) -> bytes | None:
        found = cell_of.match(record)
        if found is None:
            return record
        if found[1] in going:
            return None
        lost = losing.get(found[1])
        if lost is None:
            return record
        cells: list[bytes] = []
        at = 0
        while cell := each.match(record, at):
            cells.append(null if len(cells) < len(names) and names[len(cells)] in lost else cell[0])
            at = cell.end()
            if record[at : at + 1] != b",":
                break
            at += 1
        return b",".join(cells) + record[at:]

    return left


def _left_of_fields(leaving: Leaving, key_field: str) -> Callable[[bytes], bytes | None]:
    def values_of(people: pa.ChunkedArray | None) -> set[object]:
        chunks = [] if people is None else people.chunks
        values = [value for chunk in chunks for value in _values(chunk, integers="number")[0]]
        return {value for value in values if value is not None}

    going, losing = _by_person(leaving, values_of)
    line: Any = msgspec.defstruct("Line", [("key", Any, None)], rename={"key": key_field})
    decode = msgspec.json.Decoder(line).decode
    # Each value keeps its bytes.
    decode_all = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

    def left(record: bytes) -> bytes | None:
        key = decode(record).key
        if key in going:
            return None
        lost = losing.get(key)
        if lost is None:
            return record
        return msgspec.json.encode(decode_all(record) | dict.fromkeys(lost, msgspec.Raw(b"null"))) + b"\n"

    return left


def _by_person(
    leaving: Leaving, keys_of: Callable[[pa.ChunkedArray | None], set[object]]
) -> tuple[set[object], dict[object, set[str]]]:
    """Return the keys of people to remove, and the fields that each of the others loses, by their keys in the file."""
    losing: dict[object, set[str]] = {}
    for fields, people in leaving.cleared.items():
        for key in keys_of(people):
            losing.setdefault(key, set()).update(fields)
    return keys_of(leaving.people), losing


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
