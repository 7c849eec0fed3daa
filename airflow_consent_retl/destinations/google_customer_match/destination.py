"""The Google Customer Match destination: permitted rows as members of an audience, through the Data Manager API.

Limits, on https://developers.google.com/data-manager/api/devguides/limits, read 2026-11-23:

- 10,000 members a request, to add as to remove; 10 identifiers a member;
- 300 requests a minute and 100,000 a day for each Google Cloud project, polls of request states included.

The API accepts or refuses a request as a whole and processes it later: each row is `pending` under the request's id
until `confirm` returns its outcome. The API reports counts, never rows: after a partial success every row is uncertain.
It knows people only by their identifiers. Adding a person again changes nothing; removing one of two people who share
an e-mail removes that e-mail for both, until the other is sent again. It stores no NULL: to clear a field is to remove
the identifiers that it makes.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.google_customer_match.audience import (
    OVER_QUOTA,
    SIGNALS,
    CustomerMatchAudience,
    CustomerMatchOptions,
)
from airflow_consent_retl.destinations.google_customer_match.members import (
    NO_IDENTIFIER,
    EncodedRows,
    MemberEncoder,
    field_of,
    identified_by,
)
from airflow_consent_retl.destinations.http.pace import Pace
from airflow_consent_retl.errors import ConfigurationError, DestinationError

if TYPE_CHECKING:
    import pyarrow as pa
    from google.ads.datamanager_v1 import IngestionServiceClient

    from airflow_consent_retl.destinations.google_customer_match.api import Action
    from airflow_consent_retl.destinations.google_customer_match.member_batches import CustomerMatchDelivery

log = logging.getLogger(__name__)


class GoogleCustomerMatchDestination(Destination):
    """Adds people to one audience, and removes them by the identifiers with which they were added.

    Args:
        connect: returns the official client; `commit` and `abort` close it.
        audience: from `customer_match_audience`.
        options: see there.
        consent_granted: whether everyone who is sent granted `ad_user_data` and `ad_personalization`. If not,
            no one is sent; removing people and asking for outcomes need no consent.
        endpoint: returns the endpoint of the API; None: Google's own.
        pace: for loads that share a quota; by default one of its own.
    """

    can_remove: ClassVar[bool] = True
    can_clear: ClassVar[bool] = True

    def __init__(
        self,
        connect: Callable[[], IngestionServiceClient],
        audience: CustomerMatchAudience,
        options: CustomerMatchOptions,
        *,
        consent_granted: bool,
        pace: Pace | None = None,
        endpoint: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._connect = connect
        self._audience = audience
        self._options = options
        self._consent_granted = consent_granted
        self._endpoint = endpoint
        self.pace = pace or Pace(requests=options.requests_per_minute, code=OVER_QUOTA)
        self._lock = threading.Lock()
        self._connected: CustomerMatchDelivery | None = None
        self._load: Load | None = None
        self._encoder: MemberEncoder | None = None
        self._omitted: Counter[str] = Counter()

    @property
    def limits(self) -> Limits:
        """The limits on members in a request, and on requests at the same time."""
        return Limits(batch_rows=self._options.batch_rows, concurrency=self._options.concurrency)

    @property
    def target(self) -> str:
        """The audience, its account, and the endpoint of the API if it is not Google's own."""
        linked = self._audience.linked_account
        through = f" linked to {linked.account_type} account {linked.account_id}" if linked else ""
        endpoint = self._endpoint()
        return f"{self._audience}{through}{f' at {endpoint}' if endpoint else ''}"

    @property
    def former_targets(self) -> Sequence[str]:
        """The audience and its account, which was all that was recorded."""
        return [str(self._audience)]

    def is_own_code(self, code: str) -> bool:
        """Return whether a code is a name of one of Google's enumerations."""
        from airflow_consent_retl.destinations.google_customer_match.request_states import is_google_code

        return is_google_code(code)

    def open(self, load: Load) -> None:
        """Check the fields and the connection's credentials; nothing is sent or contacted."""
        self._encoder = self._encoder_of(load)
        self._load = load
        self._delivery()

    def check(self, load: Load) -> None:
        """Check as `open` does: nothing is sent or contacted."""
        try:
            self.open(load)
        finally:
            self.abort()

    def sent_as(self, rows: pa.RecordBatch, load: Load) -> list[dict[str, object]]:
        """Return the identifiers, hashed except region and postal code."""
        return [dict(row) for row in self._encoder_of(load).removal_rows(rows).to_pylist()]

    def send(self, batch: Batch) -> Outcomes:
        """Add a batch's rows; each accepted row is pending under its request's id."""
        if self._encoder is None or self._load is None:
            raise DestinationError("the audience was not opened")
        if not self._consent_granted:
            raise ConfigurationError(
                f"it was not checked that the people sent to `{self._load.destination}` granted {' and '.join(SIGNALS)}"
            )
        encoded = self._encoder.encode(batch.rows)
        if encoded.omitted:
            with self._lock:
                self._omitted.update(encoded.omitted)
        return self._change("ingest", encoded, batch.rows.num_rows, self._load)

    def removal_schema(self, load: Load) -> pa.Schema:
        """Return each mapped field, as it is sent: hashed, except region and postal code."""
        return self._encoder_of(load).removal_schema

    def removal_rows(self, rows: pa.RecordBatch, load: Load) -> pa.RecordBatch:
        """Return the identifiers as they are sent; all NULL for a row that is rejected."""
        return self._encoder_of(load).removal_rows(rows)

    def remove(self, batch: Batch) -> Outcomes:
        """Remove people by the identifiers with which they were added; a person without any was never there."""
        return self._removed(batch, batch.rows.schema.names)

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        """Remove the identifiers of these fields with which people were added; an address goes as a whole.

        Whether Google counts the person as a member by the other identifiers until the next load, which sends them
        again without the field, is Google's choice.
        """
        return self._removed(batch, identified_by(fields, batch.rows.schema.names))

    def _removed(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        if self._load is None:
            raise DestinationError("the audience was not opened")
        columns = {name: batch.rows.column(name).to_pylist() for name in fields}
        encoded = EncodedRows(columns=columns, refused={}, omitted={})
        return self._change("remove", encoded, batch.rows.num_rows, self._load)

    def confirm(self, request_id: str, rows: int) -> Outcomes | None:
        """Ask for the outcomes of a request."""
        return self._delivery().confirm(request_id, rows)

    def is_processed(self, request_id: str) -> bool:
        """Ask for the state of a request."""
        return self._delivery().is_processed(request_id)

    def commit(self) -> None:
        """Close the connection: each request was final when the API accepted it."""
        self._close(give_up=False)

    def abort(self) -> None:
        """End waits and running calls, and close the connection."""
        self._close(give_up=True)

    def _change(self, action: Action, encoded: EncodedRows, rows: int, load: Load) -> Outcomes:
        from airflow_consent_retl.destinations.google_customer_match.api import members_of

        members = members_of(encoded, with_consent=action == "ingest")
        changed = self._delivery().change(action, members, before_request=load.before_request)
        names = load.schema.names
        changed |= {row: replace(one, field=field_of(one.field, names)) for row, one in changed.items() if one.field}
        changed |= {
            row: Outcome(RowStatus.REJECTED, code, encoded.fields.get(row, "")) for row, code in encoded.refused.items()
        }
        # A person without an identifier was never added, and cannot be.
        unnamed = Outcome(RowStatus.ACCEPTED) if action == "remove" else Outcome(RowStatus.REJECTED, NO_IDENTIFIER)
        every = [changed.get(row, unnamed) for row in range(rows)]
        common = Counter(every).most_common(1)[0][0] if every else unnamed
        return Outcomes(rows, common, {row: outcome for row, outcome in enumerate(every) if outcome != common})

    def _encoder_of(self, load: Load) -> MemberEncoder:
        return MemberEncoder(load.schema, hashed=self._options.hashed, on_invalid=self._options.on_invalid)

    def _delivery(self) -> CustomerMatchDelivery:
        with self._lock:
            if self._connected is None:
                client = self._connect()
                # Imported after the client: without the extra, the client's hook raises an error that names it.
                from airflow_consent_retl.destinations.google_customer_match.api import DataManagerApi
                from airflow_consent_retl.destinations.google_customer_match.member_batches import CustomerMatchDelivery

                api = DataManagerApi(client, pace=self.pace, timeout_s=self._options.timeout_s)
                self._connected = CustomerMatchDelivery(api, self._audience, self._options)
            return self._connected

    def _close(self, *, give_up: bool) -> None:
        with self._lock:
            connected, self._connected = self._connected, None
            if self._omitted:
                listed = ", ".join(f"{code} {count:,}" for code, count in self._omitted.most_common())
                log.warning("people were sent without their invalid values (%s)", listed)
                self._omitted.clear()
        if connected is not None:
            connected.close(give_up=give_up)
