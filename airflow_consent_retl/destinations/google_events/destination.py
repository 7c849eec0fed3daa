"""The destination for events at Google: permitted events, each with the consent of its person, through Data Manager.

    IngestEvents
    {"destinations": [{"operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "1234567890"},
                       "productDestinationId": "987654321"}],
     "encoding": "HEX",
     "events": [{"transactionId": "order-7", "eventTimestamp": "2026-11-28T09:00:00Z", "eventSource": "WEB",
                 "conversionValue": 12.5, "currency": "EUR", "adIdentifiers": {"gclid": "…"},
                 "userData": {"userIdentifiers": [{"emailAddress": "62a1…"}]},
                 "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_DENIED"}}]}

The API accepts or refuses a request as a whole and processes it later, as for members of an audience. It reports
counts, never rows, so events with equal consent go together: where Google takes none of those who denied, the others
are still accepted. An event cannot be taken back by this API. A transaction id that Google Ads knows already is no
second conversion: it restates the value (…/devguides/events/google-ads/conversion-adjustments, read 2026-11-29).

Without a granted `ad_user_data`, an event goes without the e-mail, phone number and address of its person; if nothing
else identifies it, it is rejected as `ad_user_data_denied`.

Limits, on https://developers.google.com/data-manager/api/devguides/limits, read 2026-11-29: 2,000 events a request, 10
identifiers an event; 300 requests a minute and 100,000 a day for each Google Cloud project, polls included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.data_manager.consent_signals import pieces_by_consent
from airflow_consent_retl.destinations.data_manager.destination import DataManagerDestination
from airflow_consent_retl.destinations.google_events.events import EventEncoder
from airflow_consent_retl.destinations.http.counted_destination import outcomes_of
from airflow_consent_retl.destinations.http.people_encoder import NO_IDENTIFIER
from airflow_consent_retl.errors import DestinationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from airflow_consent_retl.contract.destination import Batch, Load


class GoogleEventsDestination(DataManagerDestination):
    """Sends events to one source of events. It removes no one. The parameters are those of `DataManagerDestination`."""

    can_remove: ClassVar[bool] = False

    @property
    def former_targets(self) -> Sequence[str]:
        """None: no release recorded another text."""
        return ()

    def remedy(self, code: str) -> str:
        """Return what to do about events that Google takes no more."""
        return "the event is older than Google takes: the model has to leave it out" * (code == "event_too_old")

    def check_fields(self, load: Load) -> None:
        """Check the fields of a load."""
        self._encoder(load)

    def sent_as(self, rows: pa.RecordBatch, load: Load) -> list[dict[str, object]]:
        """Return each event's values, with identifiers of people hashed, and its signals; empty: it is not sent."""
        events = self._encoder(load).encode(rows).events
        return [
            {**events[row].values, **events[row].identifiers, **events[row].consent._asdict()} if row in events else {}
            for row in range(rows.num_rows)
        ]

    def send(self, batch: Batch) -> Outcomes:
        """Send a batch's events; each accepted one is pending under its request's id."""
        from airflow_consent_retl.destinations.google_events.event_messages import message_of

        load = self.load
        self.check_consent(load)
        encoded = self._encoder(load).encode(batch.rows)
        self.note_omitted(encoded.omitted)
        consents = {row: event.consent for row, event in encoded.events.items()}
        sent = self.deliver(
            {row: message_of(event) for row, event in encoded.events.items()},
            pieces_by_consent(consents, consents),
            lambda api, events: api.ingest_events(self._place, events),
        )
        return outcomes_of(
            sent,
            encoded.refused,
            encoded.fields,
            rows=batch.rows.num_rows,
            otherwise=Outcome(RowStatus.REJECTED, NO_IDENTIFIER),
        )

    def remove(self, batch: Batch) -> Outcomes:
        """Refuse: events stay."""
        raise DestinationError("the Data Manager API has no call that takes an event back")

    def _encoder(self, load: Load) -> EventEncoder:
        return EventEncoder(load.schema, hashed=self._options.hashed, on_invalid=self._options.on_invalid)
