"""A destination in memory that outlives the tasks that load it, and records the rows that it received."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from parity.workspaces import plain_rows

from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.operators import LoadOperator


@dataclass
class Vendor:
    """The vendor's side.

    Args:
        people: the current rows by id.
        types: the types of the fields in the latest batch.
        sent: the rows of the latest load by id.
        removed: the ids that the latest load removed, in their order.
        twice: the ids that one load sent or removed more than once.
    """

    people: dict[Any, dict[str, Any]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    sent: dict[Any, dict[str, Any]] = field(default_factory=dict)
    removed: list[Any] = field(default_factory=list)
    twice: list[Any] = field(default_factory=list)

    def begin(self) -> None:
        """Forget the latest load."""
        self.sent, self.removed = {}, []


class Recorder(Destination):
    """A client of the vendor, for one load."""

    can_remove = True

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor

    @property
    def limits(self) -> Limits:
        return Limits(batch_rows=40, removal_rows=7)

    def open(self, load: Load) -> None:
        self._load = load

    def send(self, batch: Batch) -> Outcomes:
        self._load.before_request()
        self._vendor.types = {name.name: str(name.type) for name in batch.rows.schema}
        for row in plain_rows(pa.Table.from_batches([batch.rows])):
            if row["id"] in self._vendor.sent:
                self._vendor.twice.append(row["id"])
            self._vendor.sent[row["id"]] = self._vendor.people[row["id"]] = row
        return Outcomes.accepted(batch.rows.num_rows)

    def remove(self, batch: Batch) -> Outcomes:
        self._load.before_request()
        for id_ in batch.rows.column("id").to_pylist():
            if id_ in self._vendor.removed:
                self._vendor.twice.append(id_)
            self._vendor.removed.append(id_)
            self._vendor.people.pop(id_, None)
        return Outcomes.accepted(batch.rows.num_rows)


class LoadToVendor(LoadOperator):
    """A load into a vendor in memory."""

    def __init__(self, *, vendor: Vendor, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._vendor = vendor

    def build_destination(self) -> Destination:
        return Recorder(self._vendor)
