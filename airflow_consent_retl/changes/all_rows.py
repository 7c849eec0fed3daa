"""A comparison for a load that sends all permitted rows: the payloads stay where they are, in the permitted set.

The first pass keeps of each row what a delivery notes of it, in partitions by bucket; the second compares the
partitions with the state, and keeps the same by position. So no payload is read twice, or written before it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.changes.classes import PeopleCounts
from airflow_consent_retl.changes.cleared_fields import null_fields
from airflow_consent_retl.changes.matching import Partitions, StatePartitions
from airflow_consent_retl.changes.removal_values import RemovalValues, lost_values
from airflow_consent_retl.consent.removal import RemovalCause
from airflow_consent_retl.storage.delivered import HASH_TYPE
from airflow_consent_retl.values.buffers import values_of
from airflow_consent_retl.values.pipeline import in_order
from airflow_consent_retl.values.spill import Spill, partitions_for

if TYPE_CHECKING:
    from contextlib import ExitStack

    from airflow_consent_retl.changes.comparison import Compared, Comparison, Hashed
    from airflow_consent_retl.storage.delivered import DeliveredState

_PARTITION_ROWS = 65_536


class AllRows:
    """The passes over a state that has entries.

    Args:
        comparison: its inputs.
        state: with entries.
        resources: closes what is opened here.
    """

    def __init__(self, comparison: Comparison, state: DeliveredState, resources: ExitStack) -> None:
        self._c = comparison
        self._state = state
        rows = comparison.permitted.rows
        self._values = RemovalValues(
            state.shape, comparison.shape, primary_key=comparison.permitted.manifest.primary_key
        )
        self._partitions = Partitions.for_rows(max(rows, state.rows))
        self._has_removal = bool(comparison.shape.removal_schema.names)
        noted = [("id", comparison.id_type), ("bucket", pa.uint16()), ("hash", HASH_TYPE), ("position", pa.int64())]
        # What is the same for all rows, or follows from the id, would only take room.
        self._clears = bool(comparison.load.cleared)
        self._removes_by_id = self._has_removal and _is_of_id(comparison)
        if self._clears:
            noted.append(("cleared", pa.string()))
        if self._has_removal and not self._removes_by_id:
            noted.append(("removal", comparison.shape.removal_type))
        self._noted = pa.schema(noted)
        self._people = resources.enter_context(
            Spill(self._noted.append(pa.field("clears", pa.bool_())), self._partitions.count)
        )
        places = partitions_for(rows, partition_rows=_PARTITION_ROWS, at_most=4096)
        self._stretch = max(1, -(-rows // places))
        classes = [pa.field("was_delivered", pa.bool_()), pa.field("unchanged", pa.bool_())]
        self._in_order = resources.enter_context(Spill(pa.schema([*self._noted, *classes]), places))
        self._gone = comparison.gone_entries()
        self._tally = PeopleCounts()

    def run(self, hashed: Iterator[Hashed], reading: Executor, working: Executor) -> PeopleCounts:
        """Write all changes, and count them."""
        self._partition(hashed)
        with StatePartitions(self._state, self._c.id_type, self._partitions, reading) as partitions:
            pairs = ((self._people.take(partition), entries) for partition, entries in enumerate(partitions))
            for compared in in_order(self._c.compared, pairs, working, under_way=3):
                self._keep(compared)
        asked = working.submit(self._gone.remove_all)
        self._write()
        asked.result()
        self._tally.kept_left_model += self._gone.kept_left_model
        return self._tally

    def _partition(self, hashed: Iterator[Hashed]) -> None:
        comparison = self._c
        for some in hashed:
            start, ids, rows = some.read
            positions = np.arange(start, start + len(ids), dtype=np.int64)
            columns = [ids, pa.array(some.buckets), some.hashes, pa.array(positions)]
            if self._clears:
                columns.append(null_fields(rows, comparison.load.cleared, comparison.permitted.fields))
            if self._has_removal and not self._removes_by_id:
                columns.append(comparison.removal_of(rows))
            kept = pa.RecordBatch.from_arrays([*columns, pa.array(some.clears)], schema=self._people.schema)
            self._people.put(kept, self._partitions.of(some.buckets))
            comparison.progress(len(ids))

    def _keep(self, compared: Compared) -> None:
        people, entries, matched, found = compared
        self._tally += found.tally
        self._tally.delivered += matched.people
        columns = [people[name] for name in self._noted.names]
        columns += [pa.array(found.was_delivered), pa.array(found.unchanged)]
        self._in_order.put(
            pa.RecordBatch.from_arrays(columns, schema=self._in_order.schema),
            values_of(people["position"], np.int64) // self._stretch,
        )
        removal = entries["removal"] if self._state.shape.removal_schema.names else None
        if not self._values.is_same:
            removal = self._values.convert(removal, entries["id"])
        self._gone.add(entries, removal, found.gone)
        if removal is None:
            return
        changed = np.flatnonzero(found.may_lose)
        after = self._removal(people.take(pa.array(matched.owners[changed])))
        lost = changed[lost_values(removal.take(pa.array(changed)), after, len(changed))]
        if len(lost):
            rows = self._gone.rows_of(entries, removal).take(pa.array(lost))
            self._gone.remove(RemovalCause.IDENTIFIERS_CHANGED, rows)

    def _write(self) -> None:
        for partition in range(self._in_order.partitions):
            rows = self._in_order.take(partition)
            rows = rows.take(pa.array(np.argsort(values_of(rows["position"], np.int64), kind="stable")))
            if not rows.num_rows:
                continue
            self._c.writer.upsert(
                ids=rows["id"],
                buckets=rows["bucket"],
                hashes=rows["hash"],
                was_delivered=rows["was_delivered"],
                unchanged=rows["unchanged"],
                cleared=rows["cleared"] if self._clears else pa.nulls(rows.num_rows, pa.string()),
                removal=self._removal(rows),
                rows=None,
            )

    def _removal(self, rows: pa.RecordBatch) -> pa.Array | None:
        if not self._has_removal:
            return None
        if not self._removes_by_id:
            return rows["removal"]
        return pa.StructArray.from_arrays([rows["id"]], fields=list(self._c.shape.removal_schema))


def _is_of_id(comparison: Comparison) -> bool:
    """Return whether a removal needs the id, as it is compared, and nothing else."""
    shape = comparison.shape
    columns = [shape.fields.get(name) for name in shape.removal_schema.names]
    is_key = columns == [comparison.permitted.manifest.primary_key]
    return is_key and shape.removal_schema.field(0).type == comparison.id_type
