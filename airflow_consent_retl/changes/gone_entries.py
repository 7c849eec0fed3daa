"""The entries of a delivered state whose people are not among the permitted rows any more: removals by cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent.removal import CauseRank, RemovalCause

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.changes.causes import Causes
    from airflow_consent_retl.storage.changes_writer import ChangesWriter
    from airflow_consent_retl.storage.sync_mode import SyncMode

# The decision log is read once for this many bytes of people who are gone.
_GONE_BYTES = 48 << 20


@dataclass(slots=True, kw_only=True)
class GoneEntries:
    """Entries that are collected, and removed for the causes that the decision log has.

    Args:
        writer: writes the removals.
        causes: finds why people are not permitted any more.
        mode: the sync's mode.
        has_removal: whether the destination needs values to remove a person.
    """

    writer: ChangesWriter
    causes: Causes
    mode: SyncMode
    has_removal: bool
    kept_left_model: int = 0
    _gone: list[pa.RecordBatch] = field(default_factory=list)
    _gone_bytes: int = 0

    def add(self, entries: pa.RecordBatch, removal: pa.Array | None, gone: NDArray[np.bool_]) -> None:
        """Add some of the entries, with the values that their removal needs."""
        rows = self.rows_of(entries, removal).take(pa.array(np.flatnonzero(gone)))
        if rows.num_rows:
            self._gone.append(rows)
            self._gone_bytes += rows.nbytes
        if self._gone_bytes > _GONE_BYTES:
            self.remove_all()

    def rows_of(self, entries: pa.RecordBatch, removal: pa.Array | None) -> pa.RecordBatch:
        """Return the columns of entries that their removal needs."""
        values = {"removal": removal} if self.has_removal else {}
        columns = {name: entries[name] for name in ("id", "bucket", "entry")} | values
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))

    def remove_all(self) -> None:
        """Find in the decision log why people are gone, and write their removal by cause."""
        if not self._gone:
            return
        rows = pa.concat_batches(self._gone)
        self._gone, self._gone_bytes = [], 0
        found = self.causes.of(rows["id"])
        for rank in np.unique(found).tolist():
            chosen = np.flatnonzero(found == rank)
            cause = CauseRank(rank).cause
            if cause is RemovalCause.LEFT_MODEL and not self.mode.removes_left_model:
                self.kept_left_model += len(chosen)
                continue
            self.remove(cause, rows.take(pa.array(chosen)))

    def remove(self, cause: RemovalCause, rows: pa.RecordBatch) -> None:
        """Write the removal of entries with the columns of `rows_of`."""
        self.writer.remove(
            cause,
            ids=rows["id"],
            buckets=rows["bucket"],
            entries=rows["entry"],
            removal=rows["removal"] if self.has_removal else None,
        )
