"""Writing only some of the rows, or of their fields, for a vendor that can be asked for people and their values.

The question comes just before the request. A vendor without a request of its own for new people, or for known ones,
updates a person who appears in between; a value that is typed in between is overwritten. So it suits only vendors that
apply a request before they answer it.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
from airflow_consent_retl.destinations.http.http_delivery import NOT_SENT
from airflow_consent_retl.destinations.http.responses import ACCEPTED, NOT_FOUND
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.destinations.http.found_records import FoundRecords, Record


APPLIED_LATER: Final[Mapping[str, str]] = {
    "fill_empty": "it applies a request some time after it answered, so what people type in the meantime would be lost"
}
"""For a vendor with a queue or with jobs: see `Destination.write_refusals`."""


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


def filled(
    batch: Batch,
    load: Load,
    found: FoundRecords,
    *,
    key: str,
    fields: Sequence[str],
    is_empty: Callable[[Record, str], bool],
    destination: Writer,
) -> Outcomes:
    """Return the outcomes of a batch of which people get only the fields that are empty at the vendor.

    Args:
        batch: of the load.
        load: a field that consent withholds from a person is emptied, whoever filled it.
        found: the records of the batch's people, with the present values of these fields.
        key: the field by which the vendor knows people.
        fields: which are filled; others, such as states of subscriptions, are sent in any case.
        is_empty: returns whether a record certainly has no value in a field.
        destination: writes; a NULL leaves the field as it is.

    Raises:
        DestinationError, DestinationUnavailableError: nothing was applied.
    """
    rows, people = batch.rows, found.people
    outcomes = {row: one for row, one in enumerate(people) if isinstance(one, Outcome) and one != ACCEPTED}
    emptied = _emptied(batch, load, found.rows, destination)
    outcomes |= {row: one for row, one in emptied.items() if one != ACCEPTED}
    has_fields = set(range(rows.num_rows)) - set(found.rows)
    for name in set(rows.schema.names) - {key, *fields}:
        has_fields.update(pc.indices_nonzero(rows.column(name).is_valid()).to_pylist())
    for name in fields:
        places: list[int | None] = []
        for row, one in enumerate(people):
            is_kept = not isinstance(one, Outcome) and not is_empty(one, name)
            places.append(None if is_kept else row)
            if not is_kept and rows.column(name)[row].is_valid:
                has_fields.add(row)
        column = rows.schema.names.index(name)
        # INVARIANT: a value that a person may have typed is not in the request.
        rows = rows.set_column(column, rows.schema.field(column), rows.column(name).take(pa.array(places, pa.int64())))
    chosen = sorted(has_fields - outcomes.keys())
    if not chosen:
        return Outcomes(rows.num_rows, ACCEPTED, outcomes)
    try:
        sent = destination.store(_part(Batch(key=batch.key, rows=rows), chosen, load.write))
    except (DestinationError, DestinationUnavailableError):
        # INVARIANT: `send` raises only for a batch of which certainly nothing was applied.
        if not emptied:
            raise
        sent = Outcomes.uncertain(len(chosen), NOT_SENT)
    kept = {row: outcomes.get(row, ACCEPTED) for row in range(rows.num_rows) if row not in set(chosen)}
    return sent.at_rows(chosen, rows.num_rows, others=kept)


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
