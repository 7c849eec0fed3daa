"""Documents of records: one for each delivery and one for each filter run, with the parts that name people.

A document says what holds for all of its rows: the policy, the times, the batches. A row has a subject and refers to
it. Parts have their date in their names.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import AwareDatetime  # noqa: TC002 - pydantic reads the annotations

from airflow_consent_retl.storage.manifest import Document, Part


class SubjectPart(Document):
    """One Parquet file of rows in ascending order of their subjects.

    `prefix`: the first hexadecimal digits that all of its subjects have; empty: any.
    """

    prefix: str
    part: Part

    def among(self, subjects: Collection[int]) -> list[int]:
        """Return those subjects that the part may have, in ascending order."""
        return sorted(one for one in subjects if f"{one:016x}".startswith(self.prefix))


class RecordedBatch(Document):
    """One batch of a delivery.

    `start` is the position of its first row, `rows` their number. `asked_at`: no request with an accepted row was made
    before. `ended_at`: when its last answer was recorded; None: no answer. `requests`: the vendor's ids of its
    requests, each with the index in the batch of its first row.
    """

    kind: Literal["remove", "send"]
    number: int
    start: int
    rows: int
    key: str
    asked_at: AwareDatetime
    ended_at: AwareDatetime | None
    requests: tuple[tuple[int, str], ...]


class RecordedOutcome(Document):
    """One kind of outcome that rows of a delivery have.

    `event`: `sent` to a person who was not there, `updated`, or `removed`. `cause`: of a removal. `status`: one of
    `RowStatus`. `code`: the destination's, for rows that were not accepted.
    """

    event: Literal["sent", "updated", "removed"]
    cause: str
    status: str
    code: str


class DeliveryRecords(Document):
    """What one delivery did with each person. Rows: `subject`, `position` among the rows of its kind, `outcome`."""

    kind: Literal["delivery_records"] = "delivery_records"
    version: Literal[1] = 1
    key_id: str
    recorded_at: AwareDatetime
    sync: str
    model: str
    destination: str
    target: str
    dag: str
    # The ledger's number of the delivery, and the epoch of the lease that recorded it.
    delivery: int
    epoch: int
    # `load` or `withdrawals`.
    purpose: str
    began_at: AwareDatetime
    decided_at: AwareDatetime
    # Empty: unknown.
    policy_digest: str
    changes_sha256: str
    batches: tuple[RecordedBatch, ...]
    outcomes: tuple[RecordedOutcome, ...]
    parts: tuple[SubjectPart, ...]
    rows: int
