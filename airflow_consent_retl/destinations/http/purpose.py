"""The purpose of requests: their target, their bodies in the vendor's own form, and the reading of their answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.http.responses import SentRows

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.contract.account_rate import AccountRate
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.values.json_rows import JsonRows

ReadAnswer = Callable[["Answer", SentRows], Outcomes | None]
"""Returns the outcome of each row from an answer (2xx or from 400); None where the answer does not mention rows.

A success that does not mention rows is uncertain. For a refusal that does not mention rows, the status counts.
"""


class BodyEncoder(Protocol):
    """An encoder of bodies: `RowEncoder`, or one of the module `bodies`. Thread-safe."""

    def rows(self, batch: pa.RecordBatch, /) -> JsonRows:
        """Return a record for each row that can be sent, and codes for the others."""

    def body(self, records: Any, /) -> bytes:
        """Return the body of a request with these records; empty: a request without a body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """The purpose of requests: to store rows, or to remove people.

    Args:
        method: such as `POST`.
        address: the target of the requests.
        encoder: makes their bodies.
        read: reads their answers.
        removes: whether a row rejected with the code `not_found` or `gone` counts as done: removed, or cleared.
        content_type: of the bodies.
        headers: further headers of these requests.
        key_header: the header that carries the idempotency key; None where the vendor takes none.
        max_rows: the most rows of a request; None: those of a batch.
        max_body_bytes: the vendor's limit, if it is below the option of this name.
        max_row_bytes: the vendor's limit on one row; a larger one is rejected. None: there is none.
        endpoint: makes the endpoint, below the host's base path, from the rows of a request, for a vendor that names a
            person there; it percent-encodes. Needs `max_rows=1`. Messages name `address` only.
        row_statuses: statuses of 401 to 410 that are about the row of a request. Without it, they stop the load.
        rates: the vendor's limits on requests of this purpose, in place of those of the destination, which None means.
        refuse: called with each answer. It raises `AttemptError` for one that asks for another try, and
            `DestinationError` for one that refuses every request, where the status alone does not say so.
        pause: returns from an answer, also of a success, the seconds in which the vendor takes no further request;
            None: it takes them.
    """

    method: str
    address: HttpAddress
    encoder: BodyEncoder
    read: ReadAnswer
    removes: bool = False
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    key_header: str | None = "Idempotency-Key"
    max_rows: int | None = None
    max_body_bytes: int | None = None
    max_row_bytes: int | None = None
    endpoint: Callable[[SentRows], str] | None = None
    row_statuses: Collection[int] = ()
    rates: Sequence[AccountRate] | None = None
    refuse: Callable[[Answer], None] | None = None
    pause: Callable[[Answer], float | None] | None = None

    @property
    def place(self) -> str:
        """The path and the connection, for messages."""
        return f"`{self.address.path}` of connection `{self.address.conn_id}`"
