"""The destination for Meta's Conversions API: permitted events, each with the consent of its person.

    POST /v26.0/1234567890123/events
    {"data": [{"event_name": "Purchase", "event_id": "order-7", "event_time": 1795900000, "action_source": "website",
               "event_source_url": "https://shop.example.com/7", "data_processing_options": ["LDU"],
               "data_processing_options_country": 1, "data_processing_options_state": 1000,
               "user_data": {"em": "62a1…", "client_user_agent": "…"},
               "custom_data": {"value": 12.5, "currency": "EUR"}}]}

Meta answers with `events_received`; all events of a request are accepted where it is their number. If one event is
invalid, Meta refuses the whole request and processes none: the request is then sent in halves until the event is alone.

An event cannot be taken back. Meta counts events of one name and id once, if they arrive within 48 hours of each other.

Limits, read 2026-11-29 on https://developers.facebook.com/documentation/ads-commerce/conversions-api/using-the-api:
1,000 events a request, none older than 7 days (62 days in a physical store); no limit on the rate of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.destination import HttpDestination
from airflow_consent_retl.destinations.http.halving import Halving
from airflow_consent_retl.destinations.http.people_encoder import PeopleEncoder
from airflow_consent_retl.destinations.http.purpose import Purpose
from airflow_consent_retl.destinations.http.responses import UnreadableAnswerError, is_integer, json_object
from airflow_consent_retl.destinations.meta.graph_api import check_answer, place_of, refusal_code
from airflow_consent_retl.destinations.meta.known_people import rules_of
from airflow_consent_retl.destinations.meta_conversions.event_body import EventBody, identifiers_of
from airflow_consent_retl.errors import DestinationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_consent_retl.contract.destination import Batch, Load
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.responses import SentRows
    from airflow_consent_retl.destinations.meta_conversions.options import MetaConversionsSpec

OTHER_NUMBER = "events_received_differs"


class MetaConversionsDestination(HttpDestination):
    """Sends events to one dataset. It removes no one: Meta has no call that takes an event back.

    Args:
        address: of the dataset's events.
        options: see there.
        dataset_id: the dataset's number.
        proof: of the app's secret; empty: none.
    """

    can_remove: ClassVar[bool] = False
    name: ClassVar[str] = "Meta dataset"

    def __init__(self, address: HttpAddress, options: MetaConversionsSpec, *, dataset_id: str, proof: str = "") -> None:
        super().__init__(address, options)
        self._options = options
        self._dataset_id = dataset_id
        self._beside = {"appsecret_proof": proof} if proof else {}

    @property
    def target(self) -> str:
        """The dataset, and the host if it is not Meta's own."""
        return f"dataset {self._dataset_id} at Meta{place_of(self._address)}"

    @property
    def former_targets(self) -> Sequence[str]:
        """None: no release recorded another text."""
        return ()

    def is_own_code(self, code: str) -> bool:
        """Return whether a code is a status, or numbers of Meta's errors."""
        return code.removeprefix("error_").replace("_", "").isdigit() or super().is_own_code(code)

    def remedy(self, code: str) -> str:
        """Return what to do about events that Meta takes no more."""
        return "Meta takes no event that is older than 7 days: the model has to leave it out" * (
            code == "event_too_old"
        )

    def sending(self, load: Load) -> Purpose:
        """Return a POST of events."""
        options = self._options
        rules = rules_of(identifiers_of(load.schema), phone_region=options.phone_region, hashed=options.hashed)
        people = PeopleEncoder(rules, on_invalid=options.on_invalid, needed=False)
        return Purpose(
            method="POST",
            address=self._address,
            encoder=EventBody(load.schema, people, self._beside),
            read=_read,
            key_header=None,
            refuse=check_answer,
        )

    def removing(self, load: Load) -> Purpose | None:
        """Return None: events stay."""
        return None

    def send(self, batch: Batch) -> Outcomes:
        """Send a batch's events, in halves where Meta refuses it for one of them."""
        return Halving(super().send, is_shared=_is_shared, name=self.name).send(batch)

    def remove(self, batch: Batch) -> Outcomes:
        """Refuse: events stay."""
        raise DestinationError("Meta has no call that takes an event back")


def _read(answer: Answer, sent: SentRows) -> Outcomes | None:
    rows = len(sent)
    if answer.status >= 400:
        return Outcomes.rejected(rows, refusal_code(answer))
    try:
        received = json_object(answer.body).get("events_received")
    except UnreadableAnswerError:
        return None
    if not is_integer(received):
        return None
    return Outcomes.accepted(rows) if received == rows else Outcomes.uncertain(rows, OTHER_NUMBER)


def _is_shared(outcome: Outcome) -> bool:
    """Return whether fewer events than have this outcome may be the reason for it."""
    return outcome.status is RowStatus.REJECTED and outcome.code.startswith(("error_", "http_4"))
