"""Permitted rows in files."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

import pyarrow as pa

from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.filtering.field_mapping import FieldMapping
from airflow_consent_retl.filtering.guarded_fields import guarded_columns
from airflow_consent_retl.filtering.permitted import PermittedRows, check_sum
from airflow_consent_retl.storage.parts import full_batches, read_from
from airflow_consent_retl.values.columns import declared_types
from airflow_consent_retl.values.pipeline import in_order

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.storage.manifest import Part
    from airflow_consent_retl.storage.opening import OpenedPermitted

_VERIFYING = 2


@dataclass(frozen=True, slots=True)
class FilePermittedRows(PermittedRows):
    """The verified rows of one destination, in files.

    Args:
        parts: the files, in the order in which they are read.
        withheld: the columns and values that are withheld from the rows of each file, by the file's name.
        marks: by value, the column that marks the rows from which it is withheld.
    """

    parts: tuple[Part, ...]
    withheld: Mapping[str, frozenset[str]]
    marks: Mapping[str, str] = field(default_factory=dict)

    @property
    def mapping(self) -> FieldMapping:
        """The mapping of the fields, to apply to the model's rows."""
        return FieldMapping(self.fields, self.marks)

    @property
    def content_digest(self) -> str:
        """A hex digest of the files' digests, and of how their columns become fields."""
        files = [[part.sha256, sorted(self.withheld.get(part.name, ()))] for part in self.parts]
        content = [self.manifest.primary_key, list(self.fields.items()), sorted(self.marks.items()), files]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def place(self) -> str:
        """The number of files."""
        return f"{len(self.parts)} files"

    def load(self) -> Load:
        """Return the description of a load of these rows, for a destination."""
        return self.load_of(self.schema())

    def schema(self) -> pa.Schema:
        """Return the rows' schema, with the destination's field names."""
        if not self.parts:
            types = {column.name: column.type for column in self.manifest.columns}
            read = FieldMapping(self.fields).columns
            return self.mapping.schema(pa.schema([(name, _type_named(types[name])) for name in read]))
        return self.mapping.schema(self.folder.schema(self.parts))

    @property
    def id_type(self) -> pa.DataType | None:
        """The type of the primary key; None if no row was permitted and the type's name is not enough to know it."""
        name = self.manifest.primary_key
        for group in self.manifest.groups:
            if group.parts:
                return self.folder.schema(group.parts).field(name).type
        declared = {column.name: column.type for column in self.manifest.columns}[name]
        try:
            return declared_types({name: declared})[name]
        except ConfigurationError:
            return None

    def with_ids(
        self,
        batch_rows: int,
        *,
        skip: Callable[[int, int], bool] = lambda start, end: False,
        use_threads: bool = False,
    ) -> Iterator[tuple[int, pa.Array, pa.RecordBatch]]:
        """Yield the rows, at most `batch_rows` at a time, with the position of the first row and with all their ids.

        Only mapped columns and the primary key are read. The order never changes.

        Args:
            skip: called with the first and the last position of a range of rows; True omits the range, unread.
            use_threads: decode columns in parallel.
        """
        primary_key = self.manifest.primary_key
        columns = list(dict.fromkeys([*self.mapping.columns, primary_key]))
        read = read_from(
            self.folder, self.parts, 0, columns=columns, batch_rows=batch_rows, skip=skip, use_threads=use_threads
        )
        for start, rows, mapped in self._mapped(read):
            yield start, rows.column(primary_key), mapped

    def ids(self, batch_rows: int) -> Iterator[pa.Array]:
        """Yield the ids of all rows, in the order of `with_ids`, at most `batch_rows` at a time."""
        columns = [self.manifest.primary_key]
        read = read_from(self.folder, self.parts, 0, columns=columns, batch_rows=batch_rows)
        return (rows.column(0) for _, rows in read)

    def batches(self, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in an order that never changes, in batches that are full, except for the last one.

        Only mapped columns are read.
        """
        # Rows are counted by a column, also where all fields are constants.
        columns = self.mapping.columns or [self.manifest.primary_key]
        read = read_from(self.folder, self.parts, 0, columns=columns, batch_rows=batch_rows)
        return full_batches((mapped for _, _, mapped in self._mapped(read)), batch_rows)

    def _mapped(
        self, read: Iterator[tuple[int, pa.RecordBatch]]
    ) -> Iterator[tuple[int, pa.RecordBatch, pa.RecordBatch]]:
        """Yield the rows as they were read, and the rows with the destination's fields, without withheld values."""
        schema, mapping = self.schema(), self.mapping
        ends = list(accumulate(part.rows for part in self.parts))
        for start, rows in read:
            # INVARIANT: all rows of a batch come from one file.
            part = self.parts[bisect_right(ends, start)]
            yield start, rows, mapping.of(rows, schema, without=self.withheld.get(part.name, frozenset()))


def verified_files(opened: OpenedPermitted, *, destination: str, fields: Mapping[str, str]) -> FilePermittedRows:
    """Verify the files of a permitted set whose manifest was checked.

    Args:
        opened: the permitted set.
        destination: the destination of the rows.
        fields: the result of `check_permitted`.

    Raises:
        RefusedError: a file is changed or missing, or numbers do not add up.
    """
    folder, manifest = opened.folder, opened.manifest
    parts: list[Part] = []
    withheld: dict[str, frozenset[str]] = {}
    for group in manifest.groups:
        if sum(part.rows for part in group.parts) != group.rows:
            raise RefusedError(f"{folder.uri}: the parts of a group do not add up to its {group.rows:,} rows")
        if destination in group.recipients:
            parts.extend(group.parts)
            columns = guarded_columns(group.withheld.get(destination, ()), fields)
            withheld |= {part.name: columns for part in group.parts}
    check_sum(opened, destination, sum(part.rows for part in parts))

    def verify(part: Part) -> None:
        folder.verify(part)
        # The digest proves the bytes, not the manifest's number of rows.
        folder.open_parquet(part).close()

    # SHA-256 works without Python's lock (GIL).
    with ThreadPoolExecutor(_VERIFYING, thread_name_prefix="verify") as verifying:
        for _ in in_order(verify, parts, verifying, under_way=_VERIFYING):
            pass
    return FilePermittedRows(folder, manifest, opened.sha256, destination, fields, tuple(parts), withheld)


def _type_named(name: str) -> pa.DataType:
    try:
        return declared_types({name: name})[name]
    except ConfigurationError:
        # Only reached for an empty set, which has no value of the unknown type.
        return pa.string()
