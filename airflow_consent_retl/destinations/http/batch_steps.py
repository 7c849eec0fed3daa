"""The requests of one batch that follow each other, such as a question about people and then their removal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcomes, RowStatus
from airflow_consent_retl.destinations.http.http_delivery import NOT_SENT, HttpDelivery
from airflow_consent_retl.destinations.http.purpose import Purpose
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError
from airflow_consent_retl.values.json_rows import JsonRows

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.contract.account_rate import AccountRate
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.purpose import ReadAnswer


@dataclass(frozen=True, slots=True)
class ReadyRecords:
    """An encoder of records that are made already: objects or texts.

    Args:
        records: in the order of the outcomes.
        around: makes the body's document from the records of a request; None: there is no body.
        refused: the batch's rows without a record, each with its code.
    """

    records: Sequence[Any]
    around: Callable[[Sequence[Any]], object] | None
    refused: dict[int, str]

    def rows(self, batch: pa.RecordBatch) -> JsonRows:
        """Return the records; the batch is not looked at."""
        count = len(self.records) + len(self.refused)
        return JsonRows(
            list(self.records), [row for row in range(count) if row not in self.refused], dict(self.refused)
        )

    def body(self, records: Sequence[Any]) -> bytes:
        """Return a request's body; none where there is nothing around the records."""
        return b"" if self.around is None else msgspec.json.encode(self.around(records))


class BatchSteps:
    """Sends the steps of one batch. The vendor takes no idempotency key, so a step that is repeated changes nothing.

    Args:
        delivery: of the load.
        address: names the host.
        batch: the rows or people that the steps are about.
        refuse: see `Purpose`.
        has_changed: whether an earlier request of the batch may have changed something.
        content_type: of the bodies.
    """

    def __init__(
        self,
        delivery: HttpDelivery,
        address: HttpAddress,
        batch: Batch,
        *,
        refuse: Callable[[Answer], None] | None = None,
        has_changed: bool = False,
        content_type: str = "application/json",
    ) -> None:
        self._content_type = content_type
        self._delivery = delivery
        self._address = address
        self._batch = batch
        self._refuse = refuse
        self._has_changed = has_changed

    def take(
        self,
        name: str,
        endpoint: str | HttpAddress,
        records: Sequence[Any],
        read: ReadAnswer,
        *,
        around: Callable[[Sequence[Any]], object] | None,
        method: str = "POST",
        max_rows: int | None = None,
        refused: dict[int, str] | None = None,
        changes: bool = True,
        rates: Sequence[AccountRate] | None = None,
    ) -> Outcomes:
        """Send one step, and return an outcome for each record and each refused row, in the batch's order.

        Args:
            name: of the step; a batch takes no two steps of the same name.
            endpoint: below the host's base path, or the address of another target.
            records: the objects or texts of the step.
            read: reads the answers.
            around: makes a request's document from records; None: the address says it all.
            method: of the request.
            max_rows: the most records of a request.
            refused: the batch's rows without a record, each with its code.
            changes: False for a question: after its failure, it is still certain that nothing was applied.
            rates: see `Purpose`.

        Raises:
            DestinationError, DestinationUnavailableError: as `Destination.send`. After a step that may have changed
                something the records are uncertain instead.
        """
        step = Batch(key=sha256(f"{self._batch.key}:{name}".encode()).hexdigest(), rows=self._batch.rows)
        encoder = ReadyRecords(records, around, refused or {})
        purpose = Purpose(
            method=method,
            address=self._address.at(endpoint) if isinstance(endpoint, str) else endpoint,
            encoder=encoder,
            read=read,
            key_header=None,
            max_rows=max_rows,
            refuse=self._refuse,
            rates=rates,
            content_type=self._content_type,
        )
        try:
            outcomes = self._delivery.deliver(step, purpose)
        except (DestinationError, DestinationUnavailableError):
            # INVARIANT: `send` and `remove` raise only for a batch of which certainly nothing was applied.
            if not self._has_changed:
                raise
            return Outcomes.uncertain(len(records), NOT_SENT)
        if changes and any(outcome.status is not RowStatus.REJECTED for outcome in outcomes.counts()):
            self._has_changed = True
        return outcomes

    def ask(
        self,
        name: str,
        endpoint_of: Callable[[Sequence[str]], str],
        texts: Sequence[str],
        read: ReadAnswer,
        *,
        most: int,
        around: Callable[[Sequence[str]], object] | None = None,
        rates: Sequence[AccountRate] | None = None,
    ) -> Outcomes:
        """Ask about texts, some at a time; a failure raises, as nothing was changed by it.

        Args:
            name: of the step.
            endpoint_of: makes the endpoint of a question, with its query.
            texts: to ask about.
            read: reads the answers.
            most: the most texts of a question.
            around: makes the document of a question; None: the texts are in the address.
            rates: see `Purpose`.
        """
        pieces = [texts[start : start + most] for start in range(0, len(texts), most)]
        method = "GET" if around is None else "POST"
        return Outcomes.concatenated(
            self.take(
                f"{name} {number}",
                endpoint_of(some),
                some,
                read,
                around=around,
                method=method,
                changes=False,
                rates=rates,
            )
            for number, some in enumerate(pieces)
        )
