"""The filter of a snapshot in files: it applies a consent plan in two passes, for any number of destinations.

The first pass reads only the consent columns, notes each row's signature and counts signatures; `consent` then decides
each signature once. The second pass joins the decisions back by the rows' positions, writes each row at most once into
the group of its recipients, and logs the denials. It decodes only bytes that the first pass verified, and must find the
same numbers.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Self

import msgspec
import numpy as np
import pyarrow as pa

from airflow_consent_retl import __version__
from airflow_consent_retl.consent import (
    CLUSTER,
    NOTHING_SAID,
    ColumnKind,
    ConsentPlan,
    SubjectCode,
)
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.filtering.clusters import LinkedSignatures, outsider_codes
from airflow_consent_retl.filtering.decided import DecidedSignatures
from airflow_consent_retl.filtering.partition import ROW_GROUP_ROWS, PartitionedWriter
from airflow_consent_retl.filtering.signature_codes import CodeCounts, SignatureCodes
from airflow_consent_retl.filtering.signatures import SignatureReader
from airflow_consent_retl.filtering.subject_reader import SubjectReader
from airflow_consent_retl.storage.decision_log import DecisionLogWriter, SubjectKey
from airflow_consent_retl.storage.forgotten import NOBODY, ForgottenPeople
from airflow_consent_retl.storage.manifest import Column, DecisionLog, RecipientsGroup
from airflow_consent_retl.storage.part_writer import incompressible_columns, repeating_columns
from airflow_consent_retl.values.keys import find_duplicate_ids
from airflow_consent_retl.values.pipeline import lean_memory_pool, read_ahead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.consent import Said, Signature, Subject, SubjectStatus
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import SnapshotManifest

_COUNTING_ROWS = 131_072
# More rows of each group in one batch make larger row groups, and need more memory.
_FILTERING_ROWS = 4 * ROW_GROUP_ROWS
_SAMPLE_ROWS = 32_768
# Computing digests occupies Python's lock (GIL). The threads that read and write often need it for a short time; by
# default, each of them would wait 5 ms for it.
_SWITCH_INTERVAL_S = 0.0002
_ANY_CODE = (1 << 63) - 1

Progress = Callable[[int], None]
Record = Callable[[pa.Array, "NDArray[np.int64]"], None]


def column_kinds(columns: Iterable[Column]) -> dict[str, ColumnKind]:
    """Return the kind of each column of a manifest, by the name of its Arrow type."""
    return {column.name: _kind(column.type) for column in columns}


def _kind(type_: str) -> ColumnKind:
    if _TIMESTAMP.fullmatch(type_):
        return ColumnKind.MOMENT
    return ColumnKind.JSON if _LIST_OF_TEXT.fullmatch(type_) else _KINDS.get(type_, ColumnKind.OTHER)


_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_KINDS = {
    "bool": ColumnKind.BOOLEAN,
    "string": ColumnKind.TEXT,
    "large_string": ColumnKind.TEXT,
    # A column of only NULL has no type yet: it fits any format, and grants nothing.
    "null": ColumnKind.EMPTY,
    **dict.fromkeys(_INTEGERS, ColumnKind.INTEGER),
}
_LIST_OF_TEXT = re.compile(r"(large_)?list<\w+: (large_)?string( not null)?>")
_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns), tz=.+\]")


class SnapshotFilter:
    """One filter run over one snapshot.

    Args:
        folder: the snapshot's folder.
        snapshot: its manifest.
        plan: the policy, checked against the snapshot's columns.
        duplicates: the ids that occur more than once, or None if no id does.
        at: the time of the run.
        forgotten: the people of the model who were forgotten.
    """

    def __init__(
        self,
        folder: Folder,
        snapshot: SnapshotManifest,
        plan: ConsentPlan,
        *,
        duplicates: pa.Array | None,
        at: datetime,
        forgotten: ForgottenPeople = NOBODY,
    ) -> None:
        self._folder = folder
        self._snapshot = snapshot
        self.plan = plan
        self._at = at
        self._forgotten = forgotten
        self._reader = SignatureReader(plan.signals)
        self._subjects = SubjectReader(snapshot.primary_key, duplicates, forgotten)
        self._reads_ids = bool(forgotten) or not snapshot.primary_key_checked
        linked = snapshot.linked
        self._links = None if linked is None else LinkedSignatures(plan, linked.clusters)
        # What people are linked to makes further codes, whose number is not known yet.
        self._highest_code = _ANY_CODE if linked else self._reader.combinations * len(SubjectCode) - 1
        self._row_codes = SignatureCodes(self._highest_code)

    def decide(self, progress: Progress = lambda rows: None) -> DecidedSignatures:
        """Verify the snapshot, count its signatures and decide each of them. Only ids and consent columns are read.

        Raises:
            RefusedError: a file of the snapshot is missing or changed, or the number of rows differs from the manifest.
        """
        counted = CodeCounts(self._highest_code)
        columns = self._columns
        with (
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="verify") as verifying,
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as reading,
        ):
            linked = () if self._snapshot.linked is None else self._snapshot.linked.parts
            verified = [verifying.submit(self._folder.verify, part) for part in (*self._snapshot.parts, *linked)]
            try:
                self._see_links(reading)
                for rows in read_ahead(self._read(columns, _COUNTING_ROWS), reading):
                    codes = self._codes(rows)
                    counted.add(codes)
                    self._row_codes.add(codes)
                    progress(rows.num_rows)
            finally:
                # Also after an error in reading: the verification's error names the cause.
                for verification in verified:
                    verification.result()
        self._subjects.settle()
        clashes = {} if self._links is None else self._links.clashes
        decided = DecidedSignatures(self.plan, counted.histogram(), self._read_code, self._at, clashes=clashes)
        if decided.counts.read != self._snapshot.rows:
            raise RefusedError(
                f"the snapshot's files contain {decided.counts.read:,} rows, its manifest says {self._snapshot.rows:,}"
            )
        return decided

    def said_in(self, cluster: int | None) -> Said:
        """Return what a cluster says, after `decide`."""
        return NOTHING_SAID if self._links is None else self._links.said_in(cluster)

    def write(
        self,
        decided: DecidedSignatures,
        folder: Folder,
        key: SubjectKey,
        progress: Progress = lambda rows: None,
        record: Record = lambda ids, signatures: None,
    ) -> tuple[tuple[RecipientsGroup, ...], DecisionLog]:
        """Write the permitted rows and the decision log into a folder, which the caller publishes or removes.

        Args:
            decided: the result of `decide`.
            folder: of the new files.
            key: of the decision log.
            progress: called with the number of rows of each batch.
            record: called with the ids of the rows, and the numbers of their signatures.
        """
        with (
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as reading,
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="write") as writing,
        ):
            batches = read_ahead(self._read(None, _FILTERING_ROWS), reading)
            return self._write(decided, batches, folder, key, progress, record, writing)

    def content_sha256(self, decided: DecidedSignatures, key_id: str) -> str:
        """Return a hex digest of all that decides what `write` writes, after `decide`.

        Two runs with the same digest have the same rows in the same order, and decided the same about each of them.

        Args:
            decided: the result of `decide`.
            key_id: of the decision log's key.
        """
        snapshot = self._snapshot
        content = [
            __version__,
            key_id,
            snapshot.primary_key,
            self._links is not None,
            [(part.sha256, part.rows) for part in snapshot.parts],
            self._row_codes.sha256,
            self.plan.destinations,
            decided.recipients,
        ]
        sha256, encode = hashlib.sha256(), msgspec.json.Encoder().encode
        sha256.update(encode(content))
        for line in zip(decided.codes.tolist(), decided.groups.tolist(), decided.table, strict=True):
            sha256.update(encode(line))
        return sha256.hexdigest()

    def read_again(self, decided: DecidedSignatures, record: Record) -> None:
        """Read the ids of all rows, after `decide`, and call `record` as `write` does.

        Raises:
            RefusedError: the snapshot was changed.
        """
        self._row_codes.rewind()
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as reading:
            for rows in read_ahead(self._read([self._snapshot.primary_key], _COUNTING_ROWS), reading):
                record(rows.column(0), decided.find(self._row_codes.take(rows.num_rows)))

    def _write(
        self,
        decided: DecidedSignatures,
        batches: Iterator[pa.RecordBatch],
        folder: Folder,
        key: SubjectKey,
        progress: Progress,
        record: Record,
        writing: Executor,
    ) -> tuple[tuple[RecipientsGroup, ...], DecisionLog]:
        first = next(batches, None)
        log = DecisionLogWriter(folder, key)
        if first is None:
            return (), log.close(decided.table)
        sample = self._sent(first).slice(0, _SAMPLE_ROWS)
        repeating = repeating_columns(sample)
        writer = PartitionedWriter(
            folder,
            self._sent(first).schema,
            {number: f"group-{number:05d}" for number in range(len(decided.recipients))},
            dictionary_columns=repeating,
            plain_columns=incompressible_columns(sample, repeating),
        )
        batches = _chain([first], batches)
        # Nothing else may refer to the first rows: they would stay in memory until the last ones are written.
        del first, sample
        # Arrow selects, encodes and compresses without Python's lock (GIL). Waiting batches occupy memory.
        under_way: deque[Future[None]] = deque()
        with ExitStack() as undo:
            # Threads and files must not outlive the task's failure.
            for end in (log.abort, writer.abort, partial(wait, under_way)):
                undo.callback(end)
            written = np.zeros(len(decided.codes), dtype=np.int64)
            self._row_codes.rewind()
            for rows in batches:
                # INVARIANT: the rows of verified parts have the positions that they had when they were counted.
                numbers = decided.find(self._row_codes.take(rows.num_rows))
                written += np.bincount(numbers, minlength=len(written))
                # INVARIANT: a row leaves this loop only into the group of its own decision.
                under_way.append(writing.submit(writer.write, self._sent(rows), decided.groups[numbers]))
                if len(under_way) > 1:
                    under_way.popleft().result()
                record(rows.column(self._snapshot.primary_key), numbers)
                logged = np.flatnonzero(decided.denied_somewhere[numbers])
                ids = rows.column(self._snapshot.primary_key).take(pa.array(logged))
                log.write(ids, numbers[logged].astype(np.int32))
                progress(rows.num_rows)
            while under_way:
                under_way.popleft().result()
            if not np.array_equal(written, decided.rows):
                raise RefusedError("the snapshot changed while it was filtered: the counts of its signatures differ")
            parts = writer.close()
            groups = tuple(
                RecipientsGroup(
                    recipients=recipients,
                    withheld=dict(withheld),
                    parts=tuple(parts[number]),
                    rows=int(decided.rows[decided.groups == number].sum()),
                )
                for number, (recipients, withheld) in enumerate(decided.recipients)
            )
            described = log.close(decided.table)
            undo.pop_all()
            return groups, described

    def __enter__(self) -> Self:
        self._memory_pool = pa.default_memory_pool()
        pa.set_memory_pool(lean_memory_pool())
        self._switch_interval_s = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.setswitchinterval(self._switch_interval_s)
        pa.set_memory_pool(self._memory_pool)
        self._reader.close()
        self._row_codes.close()

    def _read(self, columns: list[str] | None, batch_rows: int) -> Iterator[pa.RecordBatch]:
        return self._folder.read_rows(self._snapshot.parts, columns=columns, batch_rows=batch_rows)

    @property
    def _columns(self) -> list[str]:
        """The columns that decide a row."""
        columns = [*self._reader.columns]
        if self._snapshot.primary_key not in columns and self._reads_ids:
            columns.append(self._snapshot.primary_key)
        return columns if self._links is None else [*columns, CLUSTER]

    def _see_links(self, reading: Executor) -> None:
        """Find what each cluster says, in a pass of its own: a row is decided only when all its cluster is known."""
        links, linked = self._links, self._snapshot.linked
        if links is None or linked is None:
            return
        for rows in read_ahead(self._read(self._columns, _COUNTING_ROWS), reading):
            links.see(links.signatures(self._own_codes(rows), self._read_own), rows.column(CLUSTER))
        for rows in self._folder.read_rows(linked.parts, batch_rows=_COUNTING_ROWS):
            codes = outsider_codes(rows, self._reader, self._forgotten)
            links.see(links.signatures(codes, self._read_own), rows.column(CLUSTER))
        links.settle()

    def _codes(self, rows: pa.RecordBatch) -> NDArray[np.int64]:
        codes, links = self._own_codes(rows), self._links
        return codes if links is None else links.codes(links.signatures(codes, self._read_own), rows.column(CLUSTER))

    def _own_codes(self, rows: pa.RecordBatch) -> NDArray[np.int64]:
        codes = self._reader.codes(rows) * len(SubjectCode)
        return codes + self._subjects.read(rows) if self._reads_ids else codes

    def _read_code(self, code: int) -> tuple[Subject, Signature]:
        return self._read_own(code) if self._links is None else self._links.read(code)

    def _read_own(self, code: int) -> tuple[SubjectStatus, Signature]:
        signature, subject = divmod(code, len(SubjectCode))
        return SubjectCode(subject).status, self._reader.tokens(signature)

    def _sent(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows without what only the filter needs."""
        return rows if self._links is None else rows.drop_columns(CLUSTER)


def repeated_ids(folder: Folder, snapshot: SnapshotManifest) -> tuple[pa.Array | None, int]:
    """Return the ids that occur more than once in a snapshot (None if no id does) and the number of rows without an id.

    Raises:
        RefusedError: a file of the snapshot is missing or changed.
    """
    if snapshot.primary_key_checked or not snapshot.parts:
        return None, 0
    # The parts are read before the filter verifies them, so they are verified here too.
    for part in snapshot.parts:
        folder.verify(part)
    key = snapshot.primary_key
    duplicates, missing = find_duplicate_ids(
        lambda: folder.read_rows(snapshot.parts, columns=[key], batch_rows=_COUNTING_ROWS)
    )
    return duplicates if len(duplicates) else None, missing


def _chain(first: list[pa.RecordBatch], rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    while first:
        yield first.pop()
    yield from rest
