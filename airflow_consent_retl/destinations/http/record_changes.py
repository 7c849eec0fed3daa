"""Changes of the vendor's records of people, as data: one kind of request for each way to take a person back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.contract.outcomes import Outcomes

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.batch_steps import BatchSteps
    from airflow_consent_retl.destinations.http.found_records import FoundRecords, Record
    from airflow_consent_retl.destinations.http.purpose import ReadAnswer


@dataclass(frozen=True, slots=True)
class RecordChange:
    """One kind of request about records.

    Args:
        name: of the step.
        endpoint: below the host's base path.
        of_record: returns the object of a record in the request.
        around: makes the document of a request from its objects.
        read: reads the answers.
        method: of the requests.
        max_rows: the most records of a request; None: those of a batch.
        apart: whether each record is a step of its own, so that one that fails keeps no other.
    """

    name: str
    endpoint: str
    of_record: Callable[[Record], Any]
    around: Callable[[Sequence[Any]], object]
    read: ReadAnswer
    method: str = "POST"
    max_rows: int | None = None
    apart: bool = False

    def apply(self, steps: BatchSteps, found: FoundRecords, *, among: Sequence[Record] | None = None) -> Outcomes:
        """Change records, and return the outcomes of the people.

        Args:
            steps: of the batch.
            found: the records of the people.
            among: the records to change; None: all. A person whose record is left as it is counts as done.
        """
        records = found.records if among is None else among
        groups = [[one] for one in records] if self.apart else [records]
        taken = Outcomes.concatenated(self._take(steps, some) for some in groups if some)
        return found.after({one["id"]: outcome for one, outcome in zip(records, taken, strict=True)})

    def _take(self, steps: BatchSteps, records: Sequence[Record]) -> Outcomes:
        name = f"{self.name} {records[0]['id']}" if self.apart else self.name
        objects = [self.of_record(one) for one in records]
        return steps.take(
            name, self.endpoint, objects, self.read, around=self.around, method=self.method, max_rows=self.max_rows
        )
