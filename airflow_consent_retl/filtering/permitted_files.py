"""Permitted rows in files."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import pyarrow as pa

from airflow_consent_retl.contract.destination import Load
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.filtering.guarded_fields import guarded_columns, without
from airflow_consent_retl.filtering.permitted import PermittedRows, check_sum
from airflow_consent_retl.storage.parts import full_batches, read_from
from airflow_consent_retl.values.columns import declared_types

if TYPE_CHECKING:
    from airflow_consent_retl.storage.manifest import Part
    from airflow_consent_retl.storage.opening import OpenedPermitted


@dataclass(frozen=True, slots=True)
class FilePermittedRows(PermittedRows):
    """The verified rows of one destination, in files.

    Args:
        parts: the files, in the order in which they are read.
        withheld: of each file, by its name, the columns that do not go with its rows.
    """

    parts: tuple[Part, ...]
    withheld: Mapping[str, frozenset[str]]

    @property
    def place(self) -> str:
        """The number of files."""
        return f"{len(self.parts)} files"

    @property
    def key_field(self) -> str | None:
        """The destination's name for the primary key, or None where it is not mapped."""
        return next((name for name, column in self.fields.items() if column == self.manifest.primary_key), None)

    def load(self) -> Load:
        """Return what a destination is told of a load of these rows."""
        return Load(
            key=self.key,
            destination=self.destination,
            model=self.manifest.model,
            schema=self.schema(),
            key_field=self.key_field,
            rows=self.rows,
            decided_at=self.manifest.decided_at,
        )

    def schema(self) -> pa.Schema:
        """Return the rows' schema, with the destination's field names."""
        if not self.parts:
            types = {column.name: column.type for column in self.manifest.columns}
            return pa.schema([(name, _type_named(types[column])) for name, column in self.fields.items()])
        schema = self.folder.schema(self.parts)
        return pa.schema([schema.field(column).with_name(name) for name, column in self.fields.items()])

    @property
    def id_type(self) -> pa.DataType | None:
        """The type of the primary key; None where nobody was permitted anywhere and its name alone does not tell."""
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
        """Yield the rows, at most `batch_rows` at a time, with the position of the first and with all their ids.

        Only mapped columns and the primary key are read. The order never changes.

        Args:
            skip: asked with the positions at which a stretch of rows begins and ends; True leaves it out, unread.
            use_threads: decode columns side by side.
        """
        primary_key = self.manifest.primary_key
        columns = list(dict.fromkeys([*self.fields.values(), primary_key]))
        read = read_from(
            self.folder, self.parts, 0, columns=columns, batch_rows=batch_rows, skip=skip, use_threads=use_threads
        )
        for start, rows, mapped in self._mapped(read):
            yield start, rows.column(primary_key), mapped

    def batches(self, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows in an order that never changes, in batches that are full but for the last one.

        Only mapped columns are read.
        """
        columns = list(dict.fromkeys(self.fields.values()))
        read = read_from(self.folder, self.parts, 0, columns=columns, batch_rows=batch_rows)
        return full_batches((mapped for _, _, mapped in self._mapped(read)), batch_rows)

    def _mapped(
        self, read: Iterator[tuple[int, pa.RecordBatch]]
    ) -> Iterator[tuple[int, pa.RecordBatch, pa.RecordBatch]]:
        """Yield the rows as they were read, and with the destination's fields, without those that are withheld."""
        schema = self.schema()
        ends = list(accumulate(part.rows for part in self.parts))
        for start, rows in read:
            mapped = pa.RecordBatch.from_arrays([rows.column(c) for c in self.fields.values()], schema=schema)
            # INVARIANT: rows that are read together are of one file.
            part = self.parts[bisect_right(ends, start)]
            yield start, rows, without(mapped, self.fields, self.withheld.get(part.name, frozenset()))


def verified_files(opened: OpenedPermitted, *, destination: str, fields: Mapping[str, str]) -> FilePermittedRows:
    """Verify the files of a permitted set whose manifest was checked.

    Args:
        opened: the permitted set.
        destination: that the rows are for.
        fields: what `check_permitted` returned.

    Raises:
        RefusedError: a changed or missing file, numbers that do not add up.
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
    for part in parts:
        folder.verify(part)
        # The digest proves the bytes, not what the manifest says of their rows.
        folder.open_parquet(part).close()
    return FilePermittedRows(folder, manifest, opened.sha256, destination, fields, tuple(parts), withheld)


def _type_named(name: str) -> pa.DataType:
    try:
        return declared_types({name: name})[name]
    except ConfigurationError:
        # Only reached for an empty set, where a type without an alias has no value to hold.
        return pa.string()
