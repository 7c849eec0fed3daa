"""The people that a destination rejected, read from the records of its deliveries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from airflow_consent_retl.values.buffers import values_of

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from airflow_consent_retl.storage.records.documents import DeliveryRecords, RecordedOutcome
    from airflow_consent_retl.storage.records.stream import RecordStream
    from airflow_consent_retl.storage.records.subjects import RecordKey

_READ_ROWS = 65_536
_REJECTED = "rejected"


def rejections(
    stream: RecordStream[DeliveryRecords], document: DeliveryRecords, *, removals: bool = False
) -> Iterator[tuple[int, RecordedOutcome]]:
    """Yield the subject and the outcome of each person whom the destination rejected in one delivery.

    Args:
        stream: of the document.
        document: of the delivery.
        removals: those who were to be removed, in place of those who were to be sent.

    Raises:
        RefusedError: a part is gone or was changed.
    """
    outcomes = {
        number: outcome
        for number, outcome in enumerate(document.outcomes)
        if outcome.status == _REJECTED and (outcome.event == "removed") is removals
    }
    if not outcomes:
        return
    wanted = np.array(sorted(outcomes), np.int16)
    for part in document.parts:
        stream.folder.verify(part.part)
        with stream.folder.open_parquet(part.part) as file:
            for rows in file.iter_batches(_READ_ROWS, columns=["subject", "outcome"], use_threads=False):
                numbers = values_of(rows["outcome"], np.int16)
                subjects = values_of(rows["subject"], np.uint64)
                for place in np.flatnonzero(np.isin(numbers, wanted)).tolist():
                    yield int(subjects[place]), outcomes[int(numbers[place])]


class RejectedPeople:
    """The people that a destination rejected in one delivery, by keyed digest.

    Args:
        stream: of the document.
        document: of the delivery.
        key: under which the document was written.
    """

    def __init__(self, stream: RecordStream[DeliveryRecords], document: DeliveryRecords, key: RecordKey) -> None:
        self._key = key
        self._subjects = np.array(sorted({subject for subject, _ in rejections(stream, document)}), np.uint64)

    def __len__(self) -> int:
        return len(self._subjects)

    def among(self, ids: pa.Array) -> NDArray[np.bool_]:
        """Return, for each id, whether the person was rejected; no id is NULL."""
        found: NDArray[np.bool_] = np.isin(self._key.subjects(ids), self._subjects)
        return found
