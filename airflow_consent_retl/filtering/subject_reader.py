"""The reader of the rows' ids: which are missing, occur twice, or belong to people who were forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.consent import SubjectCode

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.storage.forgotten import ForgottenPeople


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
