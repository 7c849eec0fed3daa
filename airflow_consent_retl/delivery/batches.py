"""Batches of one delivery: cut at fixed positions, each with its own key, without the rows that are withheld."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.attempts import BatchKind, IntendedBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.delivery.recheck import Recheck

T = TypeVar("T")
PERMISSION_ENDED = Outcome(RowStatus.WITHHELD, "permission_ended")


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """The rows at fixed positions of a set of changes.

    Args:
        intended: as the ledger records it; its key identifies the positions.
        rows: all rows at these positions.
        withheld: which of them are not sent, ascending.
        fields: the fields to clear.
    """

    intended: IntendedBatch
    rows: pa.RecordBatch
    withheld: NDArray[np.int64]
    fields: tuple[str, ...] = ()

    @property
    def sent_rows(self) -> int:
        """The number of rows that are sent."""
        return int(self.rows.num_rows - len(self.withheld))

    def without(self, recheck: Recheck) -> PlannedBatch:
        """Return the batch without the rows that are withheld by now."""
        return PlannedBatch(self.intended, self.rows, recheck.withheld_among(self.intended.start, self.rows.num_rows))

    def to_send(self) -> Batch:
        """Return the rows to send, with a key. The same rows always have the same key, other rows another one."""
        if not len(self.withheld):
            return Batch(key=self.intended.key, rows=self.rows)
        kept = np.ones(self.rows.num_rows, dtype=np.bool_)
        kept[self.withheld] = False
        key = hashlib.sha256(f"{self.intended.key}:without:{self.withheld.tolist()}".encode()).hexdigest()
        return Batch(key=key, rows=self.rows.filter(pa.array(kept)))

    def outcomes(self, sent: Outcomes) -> Outcomes:
        """Return an outcome for every row, given the outcomes of the rows that were sent."""
        if not len(self.withheld):
            return sent
        withheld = set(self.withheld.tolist())
        places = [row for row in range(self.rows.num_rows) if row not in withheld]
        return sent.at_rows(places, self.rows.num_rows, others=dict.fromkeys(withheld, PERMISSION_ENDED))


def planned(
    rows: Iterable[tuple[int, pa.RecordBatch]], *, kind: BatchKind, changes_sha256: str, first: int = 0
) -> Iterator[PlannedBatch]:
    """Yield the batches of one kind.

    Args:
        rows: all batches of the kind with the position of their first row, cut in the same way in every try.
        kind: clearing, removal or sending.
        changes_sha256: the digest of the changes' manifest: the same changes give the same keys in every try.
        first: the number of the first batch.
    """
    for number, (start, some) in enumerate(rows, first):
        key = hashlib.sha256(f"{changes_sha256}:{kind}:{start}:{some.num_rows}".encode()).hexdigest()
        intended = IntendedBatch(kind=kind, number=number, start=start, rows=some.num_rows, key=key)
        yield PlannedBatch(intended, some, np.empty(0, dtype=np.int64))


def grouped(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of this size; the last one may be shorter."""
    remaining = iter(items)
    while group := list(islice(remaining, size)):
        yield group
