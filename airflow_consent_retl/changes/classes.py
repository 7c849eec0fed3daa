"""The classes of matched rows and entries: which rows a sync sends, and which entries it removes.

Pure, over arrays: the rule is here, reading and writing are elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Self

import numpy as np

from airflow_consent_retl.storage.sync_mode import SyncMode

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(slots=True)
class PeopleCounts:
    """Counts of people: `permitted = added + updated + unchanged + skipped`, whatever the mode sends."""

    permitted: int = 0
    added: int = 0
    updated: int = 0
    unconfirmed: int = 0
    unchanged: int = 0
    skipped: int = 0
    kept_left_model: int = 0
    delivered: int = 0

    def __iadd__(self, other: PeopleCounts) -> Self:
        for counter in fields(self):
            setattr(self, counter.name, getattr(self, counter.name) + getattr(other, counter.name))
        return self


@dataclass(frozen=True, slots=True)
class Classes:
    """What the sync does with each row and each entry.

    Args:
        send: for each row, whether it is sent.
        was_delivered: for each row, whether the state has an entry for it.
        unchanged: for each row, whether the destination certainly has the same payload.
        may_lose: for each entry, whether its row is sent with another payload: an identifier by which the destination
            knows the person may have changed.
        gone: for each entry, whether it has no permitted row any more.
        tally: the counts of the rows.
    """

    send: NDArray[np.bool_]
    was_delivered: NDArray[np.bool_]
    unchanged: NDArray[np.bool_]
    may_lose: NDArray[np.bool_]
    gone: NDArray[np.bool_]
    tally: PeopleCounts = field(compare=False)


def classify(
    owners: NDArray[np.int64],
    is_confirmed: NDArray[np.bool_],
    is_same: NDArray[np.bool_],
    clears: NDArray[np.bool_],
    *,
    rows: int,
    mode: SyncMode,
    adds: bool = True,
    only: NDArray[np.bool_] | None = None,
) -> Classes:
    """Classify matched rows and entries.

    Args:
        owners: for each entry the row with the same id, or -1.
        is_confirmed: for each entry, whether the destination certainly accepted the payload of its hash.
        is_same: for each entry, whether its row has the same payload now.
        clears: for each row, whether a field of it is withheld, or NULL, that the destination may have a value of.
        rows: the number of permitted rows.
        mode: the sync's mode.
        adds: whether new people are sent; otherwise they count as skipped.
        only: for each row, whether it may be sent at all; otherwise it counts as skipped, unless a field has to be
            cleared. None: every row may be.
    """
    gone = owners < 0

    def entries_of_each_row(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(owners[chosen], minlength=rows)

    entries = entries_of_each_row(~gone)
    confirmed = entries_of_each_row(~gone & is_confirmed)
    same = entries_of_each_row(~gone & is_confirmed & is_same)
    was_delivered = entries > 0
    # A person with two entries was sent two payloads: it is not known which of them the destination has.
    unchanged = was_delivered & (same == entries)
    changed = was_delivered & ~unchanged
    # Without an update, the destination would keep the value of a field whose consent was withdrawn.
    skipped = changed & (confirmed > 0) & ~clears if mode is SyncMode.INSERT else np.zeros(rows, dtype=np.bool_)
    added = ~was_delivered & adds
    if only is not None:
        skipped |= changed & ~only & ~clears
        added &= only
    updated = changed & ~skipped
    send = was_delivered | added if mode is SyncMode.FULL else updated | added
    owned = np.where(gone, 0, owners)
    may_lose = ~gone & ~(is_confirmed & is_same) & (send[owned] if rows else False)
    return Classes(
        send=send,
        was_delivered=was_delivered,
        unchanged=unchanged,
        may_lose=may_lose,
        gone=gone,
        tally=PeopleCounts(
            permitted=rows,
            added=_count(added),
            updated=_count(updated),
            unconfirmed=_count(updated & (confirmed < entries)),
            unchanged=_count(unchanged),
            skipped=_count(skipped | (~was_delivered & ~added)),
        ),
    )


def _count(chosen: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(chosen))
