"""Drives a destination through its interface, as the protocol of a load does, without the protocol."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa

from airflow_consent_retl.delivery.outcomes import Outcomes
from airflow_consent_retl.destinations.base import Batch, Destination, Load

DECIDED_AT = datetime(2026, 11, 23, 17, 51, 7, 250_000, tzinfo=UTC)


def load_of(
    rows: pa.Table,
    *,
    key_field: str | None = "id",
    destination: str = "lake",
    model: str = "customers",
    decided_at: datetime = DECIDED_AT,
    salt: str = "",
) -> Load:
    """Describe a load of these rows; the same rows have the same key."""
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
        rows=rows.num_rows,
        decided_at=decided_at,
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
