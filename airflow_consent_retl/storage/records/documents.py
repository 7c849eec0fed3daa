"""Documents of records: one for each delivery and one for each filter run, with the parts that name people.

A document says what holds for all of its rows: the policy, the times, the batches. A row has a subject and refers to
it. Parts have their date in their names.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from pydantic import AwareDatetime

from airflow_consent_retl.storage.manifest import Document, Part, SourceSize, WarehouseTable


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

    kind: Literal["clear", "remove", "send"]
    number: int
    start: int
    rows: int
    key: str
    asked_at: AwareDatetime
    ended_at: AwareDatetime | None
    requests: tuple[tuple[int, str], ...]


class RecordedOutcome(Document):
    """One kind of outcome that rows of a delivery have.

    `event`: `sent` to a person who was not there, `updated`, `removed`, or `cleared`: fields of the person were set to
    NULL. `cause`: of a removal, or of clearing. `status`: one of `RowStatus`. `code`: the destination's, for rows that
    were not accepted. `field`: the field that the destination objected to; empty: it named none that the load has.
    """

    event: Literal["sent", "updated", "removed", "cleared"]
    cause: str
    status: str
    code: str
    field: str = ""


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
    # A file with a list of `RecordedBatch`: there may be thousands, and a look-up reads many documents.
    batches: Part | None
    outcomes: tuple[RecordedOutcome, ...]
    parts: tuple[SubjectPart, ...]
    rows: int


class DestinationDecision(Document):
    """The decision for one destination: the reason codes of a denial, or the fields withheld from a permitted row."""

    permitted: bool
    reasons: tuple[str, ...]
    withheld: tuple[str, ...]


class DecisionClass(Document):
    """The decisions for all destinations of a filter, which many people have in common."""

    destinations: dict[str, DestinationDecision]


class DecidedStateFile(Document):
    """The file of what is decided about everyone. The next run deletes it, so it is no part of the records."""

    file: str
    sha256: str
    people: int
    size_bytes: int

    @property
    def part(self) -> Part:
        """The file, for reading."""
        return Part(name=self.file, sha256=self.sha256, rows=self.people, size_bytes=self.size_bytes)


class DecisionRecords(Document):
    """The changes that one filter run made to what is decided about people.

    Rows: `subject`, `decision` and `before`. They are numbers of classes; -1 means none. Without a decision before, the
    person was first seen by this run. Without a decision, the model does not have the person any more.
    """

    kind: Literal["decision_records"] = "decision_records"
    version: Literal[1] = 1
    key_id: str
    recorded_at: AwareDatetime
    model: str
    destinations: tuple[str, ...]
    # The first document of a stream has the number 1; the other ones name the digest of the document before.
    number: int
    previous_sha256: str | None
    decided_at: AwareDatetime
    # The time that the rows stand for.
    data_time: AwareDatetime
    policy_digest: str
    policy_source: str
    # The document of the consent mapping. None: an earlier release.
    consent: dict[str, Any] | None = None
    snapshot_sha256: str
    # The URI of the folder of the permitted set, and the digest of its content that its manifest has. Empty: in a
    # warehouse, or an earlier release.
    permitted: str = ""
    content_sha256: str = ""
    rows_read: int
    # Of the consent sources with a limit, at the extraction of the rows.
    source_sizes: tuple[SourceSize, ...] = ()
    # A file with a list of `DecisionClass`, in the order of their numbers.
    classes: Part | None
    parts: tuple[SubjectPart, ...]
    rows: int
    # What is decided about everyone now, for the next run: a file, or a table of the warehouse. A later document
    # replaces it.
    state: DecidedStateFile | None = None
    state_table: WarehouseTable | None = None
    people: int
