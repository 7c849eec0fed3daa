"""Writing only some of the rows, for a vendor that can be asked whom it has: new people, or people who are there.

The question comes just before the request. A vendor without a request of its own for new people, or for known ones,
updates a person who appears in between.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
from airflow_consent_retl.destinations.http.http_delivery import NOT_SENT
from airflow_consent_retl.destinations.http.responses import ACCEPTED, NOT_FOUND
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.destinations.http.found_records import FoundRecords


class Writer(Protocol):
    """The part of a destination that writes."""

    def store(self, batch: Batch, /) -> Outcomes:
        """Send rows."""

    def clear(self, batch: Batch, fields: Sequence[str], /) -> Outcomes:
        """Empty fields of people."""

    def removal_rows(self, rows: pa.RecordBatch, load: Load, /) -> pa.RecordBatch:
        """Return people."""


def written(batch: Batch, load: Load, found: FoundRecords, *, destination: Writer) -> Outcomes:
    """Return the outcomes of a batch of which only the rows are sent that `Load.write` chooses.

    Args:
        batch: of the load.
        load: with `create_only`: a person who is there keeps every value, and counts as accepted; only fields that
            consent withholds from them are emptied. With `update_only`: one who is not there is `not_found`.
        found: the records of the batch's people.
        destination: writes.

    Raises:
        DestinationError, DestinationUnavailableError: nothing was applied.
    """
    there = set(found.rows)
    unclear = {row: one for row, one in enumerate(found.people) if isinstance(one, Outcome) and one != ACCEPTED}
    updates = load.write == "update_only"
    chosen = [row for row in range(batch.rows.num_rows) if (row in there) is updates and row not in unclear]
    kept = dict.fromkeys(range(batch.rows.num_rows), NOT_FOUND if updates else ACCEPTED)
    others = {**kept, **unclear, **({} if updates else _emptied(batch, load, sorted(there), destination))}
    if not chosen:
        return Outcomes(len(kept), ACCEPTED, {row: one for row, one in others.items() if one != ACCEPTED})
    try:
        sent = destination.store(_part(batch, chosen, load.write))
    except (DestinationError, DestinationUnavailableError):
        # INVARIANT: `send` raises only for a batch of which certainly nothing was applied.
        if not (load.cleared and there):
            raise
        sent = Outcomes.uncertain(len(chosen), NOT_SENT)
    return sent.at_rows(chosen, len(kept), others={row: others[row] for row in others.keys() - set(chosen)})


def _emptied(batch: Batch, load: Load, rows: Sequence[int], destination: Writer) -> dict[int, Outcome]:
    """Empty the fields that consent withholds from people who keep the others."""
    names = [name for name in batch.rows.schema.names if name in load.cleared]
    withheld: dict[tuple[str, ...], list[int]] = {}
    for row in rows:
        fields = tuple(name for name in names if not batch.rows.column(name)[row].is_valid)
        if fields:
            withheld.setdefault(fields, []).append(row)
    outcomes: dict[int, Outcome] = {}
    for fields, some in withheld.items():
        part = _part(batch, some, f"clear {fields}")
        people = Batch(key=part.key, rows=destination.removal_rows(part.rows, load))
        try:
            outcomes |= dict(zip(some, destination.clear(people, fields), strict=True))
        except (DestinationError, DestinationUnavailableError):
            if not outcomes:
                raise
            outcomes |= dict.fromkeys(some, Outcomes.uncertain(1, NOT_SENT).common)
    return outcomes


def _part(batch: Batch, rows: Sequence[int], purpose: str) -> Batch:
    key = sha256(f"{batch.key}:{purpose}:{list(rows)}".encode()).hexdigest()
    return Batch(key=key, rows=batch.rows.take(pa.array(rows, pa.int64())))
