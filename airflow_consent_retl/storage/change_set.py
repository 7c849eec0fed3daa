"""A set of changes: the people to send and to remove at one destination, published before the first request.

Rows have positions: the first of all upserts is at 0, and so is the first of all removals. Positions never change, so
they can name batches.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent.removal import CauseCode, RemovalCause
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.parts import full_batches, read_from
from airflow_consent_retl.storage.shape import Shape
from airflow_consent_retl.storage.sync_manifests import ChangesCounts, ChangesManifest, RemovalGroup
from airflow_consent_retl.values.buffers import values_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import Part

_COPY_BYTES = 1 << 20
_DECODED_ROWS = 8_192
_CAUSES = pa.array([str(code.cause) for code in CauseCode])


@dataclass(frozen=True, slots=True)
class Removals:
    """Entries of the delivered state to remove. All members have the same length.

    Args:
        start: the position of the first row.
        ids: by the model's primary key; a person with several entries occurs several times.
        causes: values of `RemovalCause`, as text.
        rows: with the destination's `removal_schema`.
        entries: their numbers in the delivered state.
        buckets: of the ids.
    """

    start: int
    ids: pa.Array
    causes: pa.Array
    rows: pa.RecordBatch
    entries: NDArray[np.int64]
    buckets: pa.Array


@dataclass(frozen=True, slots=True)
class Clears:
    """Entries of the delivered state of which some fields are to be cleared. All arrays have the same length.

    Args:
        start: the position of the first row among all rows of which fields are cleared.
        fields: the destination's names of the fields.
        ids, rows, entries, buckets: as in `Removals`.
    """

    start: int
    fields: tuple[str, ...]
    ids: pa.Array
    rows: pa.RecordBatch
    entries: NDArray[np.int64]
    buckets: pa.Array


class PermittedSet(Protocol):
    """The rows of one destination in a permitted set, as far as changes need them."""

    @property
    def manifest_sha256(self) -> str: ...  # noqa: D102
    @property
    def rows(self) -> int: ...  # noqa: D102
    def batches(self, batch_rows: int) -> Iterator[pa.RecordBatch]: ...  # noqa: D102


class Changes:
    """Published changes, opened by the digest of their manifest.

    Where the rows to send are left in the permitted set, they are known only after `with_permitted`.

    Raises:
        RefusedError: the manifest is gone, changed, or of another kind.
    """

    def __init__(self, folder: Folder, *, sha256: str) -> None:
        self.folder = folder
        self.sha256 = sha256
        self.manifest = ChangesManifest.from_json(folder.read_manifest(sha256=sha256))
        self.shape = Shape.from_manifest(self.manifest.shape)
        self.sent_from, self.sent_to = 0, self.manifest.upsert_rows
        self._permitted: PermittedSet | None = None

    def with_permitted(self, permitted: PermittedSet) -> Self:
        """Take the rows to send from the permitted set that was compared, if they were left there.

        Raises:
            RefusedError: it is another set.
        """
        manifest = self.manifest
        if manifest.rows_are_permitted:
            # INVARIANT: the people of the changes and the rows of the set have the same positions.
            if (manifest.permitted_sha256, manifest.upsert_rows) != (permitted.manifest_sha256, permitted.rows):
                raise RefusedError(f"{self.folder.uri}: these changes were found for another permitted set")
            self._permitted = permitted
        return self

    def between(self, sent_from: int, sent_to: int) -> Changes:
        """Return the same changes, of which the rows to send are those from one position to another.

        Positions, counts and removals are those of the whole.
        """
        part = copy(self)
        part.sent_from, part.sent_to = sent_from, min(sent_to, self.manifest.upsert_rows)
        return part

    @property
    def counts(self) -> ChangesCounts:
        """The counts that the comparison found."""
        return self.manifest.counts

    @property
    def id_type(self) -> pa.DataType | None:
        """The ids' type, None where there is nothing to do."""
        parts = [*self.manifest.upserts, *self._removal_parts, *self._clear_parts]
        return self.folder.schema(parts).field("id").type if parts else None

    def verify(self) -> None:
        """Compare every part's bytes with the manifest, except parts of which no row is sent.

        Raises:
            RefusedError: a file is gone or changed.
        """
        end = 0
        for part in self.manifest.upserts:
            start, end = end, end + part.rows
            if start < self.sent_to and end > self.sent_from:
                self.folder.verify(part)
        for part in [*self._removal_parts, *self._clear_parts]:
            self.folder.verify(part)

    def rows_to_send(self, batch_rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the rows that the destination gets, with the position of the first, in batches full except the last.

        The same call always yields the same batches. Call `verify` once before.

        Raises:
            RefusedError: the rows are in a permitted set, and `with_permitted` was not called.
        """
        decoded_rows = _decoded_rows(batch_rows)
        rows: Iterator[pa.RecordBatch]
        if not self.manifest.rows_are_permitted:
            parts, start = self.manifest.upserts, self.sent_from
            read = read_from(self.folder, parts, start, columns=["row"], batch_rows=decoded_rows)
            rows = (_unfolded(some.column("row"), self.shape.load_schema) for some in _until(read, self.sent_to))
        elif self._permitted is None:
            raise RefusedError(f"{self.folder.uri}: the rows of these changes are in a permitted set that is not open")
        else:
            # A load that leaves its rows there is not sent in slices.
            rows = self._permitted.batches(decoded_rows)
        return _with_positions(full_batches(rows, batch_rows), self.sent_from)

    def removals(self, batch_rows: int, *, start: int = 0) -> Iterator[Removals]:
        """Yield the entries to remove, withdrawals first, from a position on, in batches as those of `rows_to_send`."""
        for position, rows in self._read(self._removal_parts, start, batch_rows):
            values = rows.column("removal") if "removal" in rows.schema.names else None
            yield Removals(
                start=position,
                ids=rows.column("id"),
                causes=_CAUSES.take(rows.column("cause")),
                rows=_unfolded(values, self.shape.removal_schema, rows=rows.num_rows),
                entries=values_of(rows.column("entry"), np.int64),
                buckets=rows.column("bucket"),
            )

    def clears(self, batch_rows: int) -> Iterator[Clears]:
        """Yield the entries with fields to clear; each batch has the same fields, and may be smaller than others."""
        start = 0
        for group in self.manifest.clears:
            for position, rows in self._read(group.parts, 0, batch_rows):
                values = rows.column("removal") if "removal" in rows.schema.names else None
                yield Clears(
                    start=start + position,
                    fields=group.fields,
                    ids=rows.column("id"),
                    rows=_unfolded(values, self.shape.removal_schema, rows=rows.num_rows),
                    entries=values_of(rows.column("entry"), np.int64),
                    buckets=rows.column("bucket"),
                )
            start += group.rows

    def people_to_send(self, batch_rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the id of each person to send, whether they were delivered, and whether they are sent unchanged.

        With positions, in any batches; the columns are `id`, `was_delivered` and `unchanged`. Changes of an earlier
        release have no `unchanged`.
        """
        parts = self.manifest.upserts
        there = self.folder.schema(parts).names if parts else []
        columns = [name for name in ("id", "was_delivered", "unchanged") if name in there]
        return read_from(self.folder, parts, 0, columns=columns, batch_rows=batch_rows)

    def ids_to_send(self, batch_rows: int) -> Iterator[tuple[int, pa.Array]]:
        """Yield the ids of the rows of `rows_to_send`, with the position of the first, in any batches."""
        read = read_from(self.folder, self.manifest.upserts, self.sent_from, columns=["id"], batch_rows=batch_rows)
        for start, rows in read:
            if start >= self.sent_to:
                return
            yield start, rows.column(0).slice(0, self.sent_to - start)

    def people_to_remove(self, batch_rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the id of each entry to remove, and the number of the `cause`, with positions, in any batches."""
        return read_from(self.folder, self._removal_parts, 0, columns=["id", "cause"], batch_rows=batch_rows)

    def kept_of_upserts(self, batch_rows: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield the columns of the upserts that the next delivered state needs, with positions, in any batches."""
        parts = self.manifest.upserts
        columns = ["bucket", "id", "hash", *(["removal"] if self.shape.removal_schema.names else [])]
        # Changes of an earlier release do not say which fields are NULL because consent is missing.
        columns += [name for name in (self.folder.schema(parts).names if parts else []) if name == "cleared"]
        return read_from(self.folder, parts, 0, columns=columns, batch_rows=batch_rows)

    def only(self, causes: Collection[RemovalCause], folder: Folder) -> Changes:
        """Publish a set of changes with these removals and all fields to clear, in another folder, and return it.

        Raises:
            RefusedError: a file was changed.
        """
        kept: list[RemovalGroup] = []
        for group in self.manifest.removals:
            if group.cause in causes:
                self._copy(group.parts, folder)
                kept.append(group)
        self._copy(self._clear_parts, folder)
        manifest = self.manifest.model_copy(
            update={
                "upserts": (),
                "upsert_rows": 0,
                "rows_are_permitted": False,
                "removals": tuple(kept),
                "removal_rows": sum(group.rows for group in kept),
                "counts": removal_counts(kept, delivered=self.counts.delivered, cleared=self.manifest.clear_rows),
            }
        )
        return Changes(folder, sha256=folder.publish(manifest.to_json()))

    def _copy(self, parts: Iterable[Part], folder: Folder) -> None:
        for part in parts:
            self.folder.verify(part)
            source = self.folder.fs.open(self.folder.file_path(part.name), "rb")
            with source, folder.create(part.name) as target:
                shutil.copyfileobj(source, target, _COPY_BYTES)

    def _read(
        self, parts: Sequence[Part], start: int, batch_rows: int, *, end: int | None = None
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        read = read_from(self.folder, parts, start, batch_rows=_decoded_rows(batch_rows))
        rows = _until(read, sum(part.rows for part in parts) if end is None else end)
        return _with_positions(full_batches(rows, batch_rows), start)

    @property
    def _removal_parts(self) -> list[Part]:
        return [part for group in self.manifest.removals for part in group.parts]

    @property
    def _clear_parts(self) -> list[Part]:
        return [part for group in self.manifest.clears for part in group.parts]


def removal_counts(groups: Sequence[RemovalGroup], *, delivered: int, cleared: int) -> ChangesCounts:
    """Return the counts of changes that only remove and clear."""
    return ChangesCounts(
        permitted=0,
        added=0,
        updated=0,
        unconfirmed=0,
        unchanged=0,
        skipped=0,
        removed={group.cause: group.rows for group in groups},
        kept_left_model=0,
        delivered=delivered,
        fields_changed=False,
        cleared=cleared,
    )


def _decoded_rows(batch_rows: int) -> int:
    """Return how many rows to decode at once: whole batches, because few rows take as long as a few thousand."""
    return batch_rows * max(1, _DECODED_ROWS // batch_rows)


def _until(read: Iterable[tuple[int, pa.RecordBatch]], end: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows before a position."""
    for start, rows in read:
        if start >= end:
            return
        yield rows.slice(0, end - start)


def _with_positions(batches: Iterable[pa.RecordBatch], start: int) -> Iterator[tuple[int, pa.RecordBatch]]:
    for batch in batches:
        yield start, batch
        start += batch.num_rows


def _unfolded(column: pa.Array | None, schema: pa.Schema, *, rows: int = 0) -> pa.RecordBatch:
    if column is None:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    # A dictionary inside a struct comes back as its values.
    columns = [
        values if values.type == field.type else values.cast(field.type)
        for values, field in zip(column.flatten(), schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
