"""The filter of a snapshot in files: it applies a consent plan in two passes, for any number of destinations.

The first pass reads only the consent columns and counts signatures; `consent` then decides each signature once. The
second pass joins the decisions back, writes each row at most once into the group of its recipients, and logs the
denials. Both passes must find the same numbers.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.consent import (
    ColumnKind,
    ConsentPlan,
    Denied,
    DestinationName,
    SignatureDecision,
    SubjectCode,
    count_decisions,
)
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.filtering.partition import ROW_GROUP_ROWS, PartitionedWriter
from airflow_consent_retl.filtering.signatures import SignatureReader
from airflow_consent_retl.storage.decision_log import DecisionLogWriter, SignatureRow, SubjectKey
from airflow_consent_retl.storage.folder import Folder, repeating_columns
from airflow_consent_retl.storage.forgotten import NOBODY, ForgottenPeople
from airflow_consent_retl.storage.manifest import Column, DecisionLog, RecipientsGroup
from airflow_consent_retl.values.keys import find_duplicate_ids
from airflow_consent_retl.values.pipeline import lean_memory_pool

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.consent import DecisionCounts, Signature, SubjectStatus
    from airflow_consent_retl.storage.manifest import SnapshotManifest

_COUNTING_ROWS = 131_072
# A query to the engine takes some milliseconds, even for few rows.
_FILTERING_ROWS = 2 * ROW_GROUP_ROWS
_TABLE_CODES = 1 << 20
# Computing digests occupies Python's lock (GIL). The threads that read and write often need it for a short time; by
# default, each of them would wait 5 ms for it.
_SWITCH_INTERVAL_S = 0.0002
NO_GROUP = -1

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


class SubjectReader:
    """The reader of the rows' ids: identified, missing, duplicate or forgotten.

    Args:
        primary_key: the column with the ids.
        duplicates: the ids that occur more than once, or None if no id does.
        forgotten: the people who were forgotten.
    """

    def __init__(self, primary_key: str, duplicates: pa.Array | None, forgotten: ForgottenPeople) -> None:
        self.primary_key = primary_key
        self.duplicates = duplicates
        self._forgotten = forgotten
        self._found: list[pa.Array] = []
        self._known: pa.Array | None = None

    def settle(self) -> None:
        """From now on, recognise forgotten people by the ids read so far: no digest is computed a second time."""
        if self._forgotten:
            self._known = pa.concat_arrays(self._found) if self._found else pa.array([])

    def read(self, rows: pa.RecordBatch) -> NDArray[np.int64]:
        """Return the `SubjectCode` of each row."""
        ids = rows.column(self.primary_key)
        statuses = np.full(rows.num_rows, SubjectCode.IDENTIFIED, dtype=np.int64)
        if self.duplicates is not None:
            twice = pc.is_in(ids, value_set=self.duplicates, skip_nulls=True)
            statuses[np.asarray(twice)] = SubjectCode.DUPLICATE_ID
        if ids.null_count:
            statuses[np.asarray(ids.is_null())] = SubjectCode.MISSING_ID
        if self._forgotten:
            statuses[self._are_forgotten(ids)] = SubjectCode.FORGOTTEN
        return statuses

    def _are_forgotten(self, ids: pa.Array) -> NDArray[np.bool_]:
        if self._known is not None:
            if not len(self._known):
                return np.zeros(len(ids), dtype=np.bool_)
            return np.asarray(pc.is_in(ids, value_set=self._known, skip_nulls=True))
        found = self._forgotten.among(ids)
        if found.any():
            self._found.append(ids.filter(pa.array(found)))
        return found


# Destinations, and the fields that are withheld from some of them.
Recipients = tuple[tuple[DestinationName, ...], tuple[tuple[DestinationName, tuple[str, ...]], ...]]


def _recipients(decided: SignatureDecision) -> Recipients:
    return decided.recipients, tuple(sorted(decided.withheld.items()))


class DecidedSignatures:
    """Every signature of a snapshot, with its number of rows and its decision."""

    def __init__(self, plan: ConsentPlan, histogram: Mapping[int, int], reader: SignatureReader, at: datetime) -> None:
        self.codes = np.array(sorted(histogram), dtype=np.int64)
        self.rows = np.array([histogram[code] for code in self.codes.tolist()], dtype=np.int64)
        # A table, if the codes are small enough: a look-up instead of a search for each row.
        self._number_of: NDArray[np.int64] | None = None
        if len(self.codes) and self.codes[-1] < _TABLE_CODES:
            self._number_of = np.zeros(self.codes[-1] + 1, dtype=np.int64)
            self._number_of[self.codes] = np.arange(len(self.codes))
        self._plan = plan
        self._keys: list[tuple[SubjectStatus, Signature]] = []
        for code in self.codes.tolist():
            signature_code, subject = divmod(code, len(SubjectCode))
            self._keys.append((SubjectCode(subject).status, reader.tokens(signature_code)))
        self.decisions: list[SignatureDecision] = [
            plan.decide_signature(tokens, subject, at=at) for subject, tokens in self._keys
        ]
        self.counts: DecisionCounts = count_decisions(
            dict(zip(self._keys, self.rows.tolist(), strict=True)), plan, at=at
        )
        # The distinct sets of recipients with their withheld fields.
        self.recipients: list[Recipients] = sorted(
            {_recipients(decided) for decided in self.decisions if decided.recipients}
        )
        numbers = {recipients: number for number, recipients in enumerate(self.recipients)}
        self.groups = np.array(
            [numbers.get(_recipients(decided), NO_GROUP) for decided in self.decisions], dtype=np.int64
        )
        self.denied_somewhere = np.array(
            [len(decision.recipients) < len(plan.destinations) for decision in self.decisions], dtype=bool
        )

    def find(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of each row's signature.

        Raises:
            RefusedError: a row has a signature that was not counted before.
        """
        if self._number_of is not None:
            numbers = self._number_of.take(codes, mode="clip")
        else:
            numbers = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        if not np.array_equal(self.codes[numbers], codes):
            raise RefusedError("the snapshot changed while it was filtered: a signature appeared that was not counted")
        return numbers

    def signatures(self) -> Iterator[tuple[SubjectStatus, Signature, int]]:
        """Yield the status of the rows' ids, their signature, and their number."""
        for (subject, tokens), rows in zip(self._keys, self.rows.tolist(), strict=True):
            yield subject, tokens, rows

    def table(self) -> list[SignatureRow]:
        """Return the table of signatures for the decision log."""
        return [
            SignatureRow(
                subject=str(subject),
                statuses={c: str(s) for c, s in zip(self._plan.categories, decision.statuses, strict=True)},
                recipients=decision.recipients,
                denied={
                    name: [reason.code for reason in answer.reasons]
                    for name, answer in decision.decisions.items()
                    if isinstance(answer, Denied)
                },
                rows=rows,
            )
            for (subject, _), decision, rows in zip(self._keys, self.decisions, self.rows.tolist(), strict=True)
        ]


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
        self._reader = SignatureReader(plan.signals)
        self._subjects = SubjectReader(snapshot.primary_key, duplicates, forgotten)
        self._reads_ids = bool(forgotten) or not snapshot.primary_key_checked

    def decide(self, progress: Progress = lambda rows: None) -> DecidedSignatures:
        """Verify the snapshot, count its signatures and decide each of them. Only ids and consent columns are read.

        Raises:
            RefusedError: a file of the snapshot is missing or changed, or the number of rows differs from the manifest.
        """
        histogram: dict[int, int] = {}
        columns = [*self._reader.columns]
        if self._snapshot.primary_key not in columns and self._reads_ids:
            columns.append(self._snapshot.primary_key)
        with (
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="verify") as verifying,
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as reading,
        ):
            verified = [verifying.submit(self._folder.verify, part) for part in self._snapshot.parts]
            try:
                for rows in read_ahead(self._read(columns, _COUNTING_ROWS), reading):
                    codes, counts = np.unique(self._codes(rows), return_counts=True)
                    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
                        histogram[code] = histogram.get(code, 0) + count
                    progress(rows.num_rows)
            finally:
                # Also after an error in reading: the verification's error names the cause.
                for verification in verified:
                    verification.result()
        self._subjects.settle()
        decided = DecidedSignatures(self.plan, histogram, self._reader, self._at)
        if decided.counts.read != self._snapshot.rows:
            raise RefusedError(
                f"the snapshot's files contain {decided.counts.read:,} rows, its manifest says {self._snapshot.rows:,}"
            )
        return decided

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
            return (), log.close(decided.table())
        writer = PartitionedWriter(
            folder,
            first.schema,
            {number: f"group-{number:05d}" for number in range(len(decided.recipients))},
            dictionary_columns=repeating_columns(first),
        )
        # Arrow selects, encodes and compresses without Python's lock (GIL). Waiting batches occupy memory.
        under_way: deque[Future[None]] = deque()
        with ExitStack() as undo:
            # Threads and files must not outlive the task's failure.
            for end in (log.abort, writer.abort, partial(wait, under_way)):
                undo.callback(end)
            written = np.zeros(len(decided.codes), dtype=np.int64)
            for rows in _chain(first, batches):
                numbers = decided.find(self._codes(rows))
                written += np.bincount(numbers, minlength=len(written))
                # INVARIANT: a row leaves this loop only into the group of its own decision.
                under_way.append(writing.submit(writer.write, rows, decided.groups[numbers]))
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
            described = log.close(decided.table())
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

    def _read(self, columns: list[str] | None, batch_rows: int) -> Iterator[pa.RecordBatch]:
        return self._folder.read_rows(self._snapshot.parts, columns=columns, batch_rows=batch_rows)

    def _codes(self, rows: pa.RecordBatch) -> NDArray[np.int64]:
        codes = self._reader.codes(rows) * len(SubjectCode)
        return codes + self._subjects.read(rows) if self._reads_ids else codes


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


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def read_ahead(batches: Iterator[pa.RecordBatch], reading: Executor) -> Iterator[pa.RecordBatch]:
    """Yield batches, each read in another thread while the caller processes the one before it."""
    coming = reading.submit(next, batches, None)
    while (rows := coming.result()) is not None:
        coming = reading.submit(next, batches, None)
        yield rows
