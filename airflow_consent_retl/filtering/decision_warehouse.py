"""The class of each person's decisions in a warehouse's table, and its comparison with the run before by SQL.

A person is the beginning of a salted digest, a class the digest of its content: only changes leave the warehouse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import ibis
import numpy as np
import pyarrow as pa

from airflow_consent_retl.databases.dialect import Dialect, placeholder
from airflow_consent_retl.filtering.decision_classes import digest_of
from airflow_consent_retl.filtering.decision_records import DecidedPeople, NewState
from airflow_consent_retl.filtering.expressions import SIGNATURE
from airflow_consent_retl.storage.manifest import WarehouseTable
from airflow_consent_retl.storage.records.decided_state import NO_CLASS
from airflow_consent_retl.storage.records.subjects import DIGEST_DIGITS, subjects_of_digests

if TYPE_CHECKING:
    import ibis.expr.types as ir
    from numpy.typing import NDArray

    from airflow_consent_retl.databases.staging import StagingTable, Warehouse
    from airflow_consent_retl.filtering.decision_records import DecisionRecorder
    from airflow_consent_retl.filtering.expressions import WarehouseConsent
    from airflow_consent_retl.storage.records.documents import DecisionClass, DecisionRecords
    from airflow_consent_retl.storage.records.sorted_rows import SubjectRows

_SUBJECT, _DECISION, _BEFORE = "subject", "decision", "before_"
_PEOPLE: Final = {_SUBJECT: "string", _DECISION: "string"}


@dataclass(frozen=True, slots=True)
class AnsweredSnapshot:
    """A snapshot in a warehouse, all of whose signatures are decided.

    Args:
        dialect: the warehouse's dialect.
        consent: the expressions over the snapshot.
        places: the names of the snapshot's, the signatures' and the decisions' tables.
    """

    dialect: Dialect
    consent: WarehouseConsent
    places: Mapping[str, str]


class WarehousePeople(DecidedPeople):
    """The people of a run inside a warehouse.

    Args:
        warehouse: entered.
        answered: the snapshot of the run.
        recorder: of the run.
        at: the time of the run.
    """

    def __init__(
        self, warehouse: Warehouse, answered: AnsweredSnapshot, recorder: DecisionRecorder, at: datetime
    ) -> None:
        self._warehouse = warehouse
        self._dialect = answered.dialect
        self._consent = answered.consent
        self._places = answered.places
        self._recorder = recorder
        self._at = at

    def compare(
        self,
        last: DecisionRecords | None,
        classes: Sequence[DecisionClass],
        own: NDArray[np.uint64],
        rows: SubjectRows,
        name: str,
    ) -> NewState:
        """Make the table of this run, and read the rows in which it differs from the one before."""
        table = self._warehouse.table("recorded", at=self._at)
        people = self._create(table)
        before = self._table_of(last)
        numbers = {digest_of(one): number for number, one in enumerate(classes)}
        for batch in self._changed(table, before):
            rows.add(
                subjects_of_digests(batch.column(_SUBJECT)),
                _classes(batch.column(_DECISION), numbers),
                _classes(batch.column(_BEFORE), numbers),
            )
        return NewState(people, {"state_table": WarehouseTable(namespace=table.schema, name=table.name)})

    def undo(self, state: NewState) -> None:
        """Drop the table of this run."""
        table: WarehouseTable = state.described["state_table"]
        self._warehouse.drop(table.staging_table)

    def forget(self, last: DecisionRecords) -> None:
        """Drop the table of the run before."""
        if last.state_table is not None:
            self._warehouse.drop(last.state_table.staging_table)

    def _create(self, table: StagingTable) -> int:
        digests = [digest_of(one) for one in self._recorder.classes]
        numbers = self._recorder.numbers
        signatures = pa.table(
            {
                SIGNATURE: pa.array(np.arange(len(numbers), dtype=np.int32)),
                _DECISION: pa.array([digests[number] for number in numbers.tolist()], pa.string()),
            }
        )
        classes = self._warehouse.table("decided", at=self._at)
        try:
            self._warehouse.load(classes, signatures.schema, signatures.to_batches())
            people = self._consent.decided_people(self._recorder.key.warehouse_salt, _SUBJECT, _DECISION, DIGEST_DIGITS)
            places = {**self._places, "classes": self._warehouse.name_of(classes)}
            return self._warehouse.create_as(table, self._dialect.compile(people, places), expires=False)
        finally:
            self._warehouse.drop(classes)

    def _table_of(self, last: DecisionRecords | None) -> StagingTable | None:
        """Return the table of the run before, if it is still there."""
        if last is None or last.state_table is None:
            return None
        wanted = last.state_table.staging_table
        if wanted not in self._warehouse.tables():
            self._recorder.log.warning("table %s.%s is gone: everyone is recorded again", wanted.schema, wanted.name)
            return None
        return wanted

    def _changed(self, table: StagingTable, before: StagingTable | None) -> Iterator[pa.RecordBatch]:
        places = {"people": self._warehouse.name_of(table)}
        if before is not None:
            places["before"] = self._warehouse.name_of(before)
        for query in changed_people(is_first=before is None):
            with self._warehouse.read(self._dialect.compile(query, places)) as found:
                yield from found.batches


def changed_people(*, is_first: bool) -> list[ir.Table]:
    """Return the queries for the people whose class changed, and for those who are gone: subject, class, class before.

    Args:
        is_first: there is no table of a run before.
    """
    people = placeholder("people", _PEOPLE)
    if is_first:
        return [people.select(people[_SUBJECT], people[_DECISION], **{_BEFORE: ibis.literal("", "string")})]
    before = placeholder("before", _PEOPLE)
    known = before.select(**{_SUBJECT: before[_SUBJECT], _BEFORE: before[_DECISION]})
    new = people.anti_join(before, [_SUBJECT, _DECISION])
    changed = new.left_join(known, _SUBJECT).select(new[_SUBJECT], new[_DECISION], known[_BEFORE])
    gone = before.anti_join(people, _SUBJECT)
    left = gone.select(**{_SUBJECT: gone[_SUBJECT], _DECISION: ibis.literal("", "string"), _BEFORE: gone[_DECISION]})
    return [changed, left]


def _classes(digests: pa.Array, numbers: Mapping[str, int]) -> NDArray[np.int16]:
    return np.array([numbers.get(digest or "", NO_CLASS) for digest in digests.to_pylist()], dtype=np.int16)
