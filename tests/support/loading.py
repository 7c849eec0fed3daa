"""Loads through the interface of a destination, as the protocol of a load makes them, but without the protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pyarrow as pa

from airflow_consent_retl.contract.destination import Batch, Destination, Load
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.errors import LeaseLostError

DECIDED_AT = datetime(2026, 11, 23, 17, 51, 7, 250_000, tzinfo=UTC)


def load_of(
    rows: pa.Table,
    *,
    key_field: str | None = "id",
    destination: str = "lake",
    model: str = "customers",
    decided_at: datetime = DECIDED_AT,
    salt: str = "",
    rows_sent: int | None = None,
    before_request: Callable[[], None] = lambda: None,
) -> Load:
    """Describe a load of these rows, or of `rows_sent` of them; the same rows have the same key."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as writer:
        writer.write_table(rows)
    content = sink.getvalue().to_pybytes() + f"{destination} {decided_at} {salt}".encode()
    return Load(
        key=hashlib.sha256(content).hexdigest(),
        destination=destination,
        model=model,
        schema=rows.schema,
        key_field=key_field,
        rows=rows.num_rows if rows_sent is None else rows_sent,
        decided_at=decided_at,
        before_request=before_request,
    )


def batches_of(rows: pa.Table, *, batch_rows: int) -> Iterator[Batch]:
    """Cut rows into batches, each with a key of its own."""
    for position, batch in enumerate(rows.combine_chunks().to_batches(max_chunksize=batch_rows)):
        yield Batch(key=hashlib.sha256(str(position).encode()).hexdigest(), rows=batch)


def deliver(destination: Destination, rows: pa.Table, load: Load | None = None) -> Outcomes:
    """Open, send everything, commit, and return the outcome of each row; abort when something raises."""
    try:
        destination.open(load or load_of(rows))
        sent = [destination.send(batch) for batch in batches_of(rows, batch_rows=destination.limits.batch_rows)]
        destination.commit()
    except BaseException:
        destination.abort()
        raise
    return Outcomes.concatenated(sent)


def rejected(outcomes: Outcomes) -> dict[int, str]:
    """Return the code of each row that was not accepted."""
    return {row: outcomes[row].code for row in range(len(outcomes)) if outcomes[row].status != "accepted"}


def take_back(destination: Destination, people: pa.Table, load: Load) -> Outcomes:
    """Open, remove everyone, commit, and return the outcome of each; abort when something raises."""
    try:
        destination.open(load)
        at_once = destination.limits.removal_rows or destination.limits.batch_rows
        removed = [
            destination.remove(Batch(key=hashlib.sha256(f"remove {batch.key}".encode()).hexdigest(), rows=batch.rows))
            for batch in batches_of(people, batch_rows=at_once)
        ]
        destination.commit()
    except BaseException:
        destination.abort()
        raise
    return Outcomes.concatenated(removed)


class Lease:
    """Counts its checks, and is lost after a given number of them."""

    def __init__(self, *, lost_after: int | None = None) -> None:
        self.asked = 0
        self._lost_after = lost_after

    def check(self) -> None:
        """Count, or raise as a ledger's lease does."""
        if self._lost_after is not None and self.asked >= self._lost_after:
            raise LeaseLostError("another task has taken over")
        self.asked += 1
