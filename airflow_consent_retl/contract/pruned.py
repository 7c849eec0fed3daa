"""The record of something that reached the end of its retention."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Pruned:
    """Something that was deleted, or would be.

    Args:
        kind: `snapshots`, `permitted_sets` (rows only), `evidence`, `changes`, `staging_tables`,
            `file_versions`, `run_records` (of the ledger) or `unfinished`.
        place: the URI of its folder, or the name of its table.
        files: the number of files, or of records of a ledger; None: the whole folder, or a table.
        reason: `age`, `number`, `killed`, or `unused` for what no sync needs any more.
        made_at: when it was written; None: not known.
    """

    kind: str
    place: str
    files: int | None
    reason: str
    made_at: datetime | None
