"""The ways to take people back at HubSpot: each finds the contacts first, then does what the DAG chose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
from airflow_consent_retl.destinations.http.found_records import FoundRecords
from airflow_consent_retl.destinations.http.responses import ACCEPTED
from airflow_consent_retl.destinations.hubspot.contact_answers import (
    NOT_FOUND,
    inputs_body,
    outcomes_by_trace,
    outcomes_of_reading,
)
from airflow_consent_retl.destinations.hubspot.contacts import EMAIL

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.purpose import ReadAnswer
    from airflow_consent_retl.destinations.http.responses import SentRows
    from airflow_consent_retl.destinations.http.steps import BatchSteps

CONTACTS = "/crm/objects/2026-09/contacts"


class FoundContacts(FoundRecords):
    """The contacts of a batch of people, in the batch's order.

    Args:
        steps: of the batch.
        address: of the API.
        ids: the people's values of the unique property; one without a value was never sent.
        id_property: the unique property.
    """

    def __init__(self, steps: BatchSteps, address: HttpAddress, ids: Sequence[str | None], *, id_property: str) -> None:
        self._steps = steps
        self._address = address
        contacts: dict[str, dict[str, Any]] = {}

        def read(answer: Answer, sent: SentRows) -> Outcomes | None:
            return outcomes_of_reading(answer, sent, contacts, id_property=id_property)

        texts = list(dict.fromkeys(text for text in ids if text))
        asked = steps.take(
            "find",
            address.at(f"{CONTACTS}/batch/read"),
            [{"id": text} for text in texts],
            read,
            around=lambda inputs: {
                "inputs": inputs,
                "idProperty": id_property,
                "properties": list(dict.fromkeys([id_property, EMAIL, "hs_additional_emails"])),
                "propertiesWithHistory": [],
            },
            changes=False,
        )
        known = dict(zip(texts, asked, strict=True))
        unclear = {text: one for text, one in known.items() if one not in {ACCEPTED, NOT_FOUND}}
        super().__init__([text or None for text in ids], contacts, unclear)

    def emails(self) -> list[str | None]:
        """Return the present e-mail address of each contact; None: there is none."""
        return [
            None if isinstance(one, Outcome) else str(one["properties"].get(EMAIL) or "") or None for one in self.people
        ]

    def archive(self) -> Outcomes:
        """Put the contacts into the recycling bin."""
        return self._changed("/batch/archive", lambda record: {"id": record}, _all_or_none)

    def delete(self) -> Outcomes:
        """Delete the contacts for good; HubSpot takes one in a request."""
        address = self._address.at(f"{CONTACTS}/gdpr-delete")
        # One step for each: a contact that cannot be deleted now keeps no other one.
        ids = [one["id"] for one in self.records]
        deleted = {
            one: self._steps.take(
                f"delete {one}", address, [{"objectId": one}], _all_or_none, around=lambda inputs: inputs[0]
            )[0]
            for one in ids
        }
        return self.after(deleted)

    def empty(self, properties: Sequence[str]) -> Outcomes:
        """Empty properties of the contacts."""
        if not properties:
            return self.after({})
        emptied = dict.fromkeys(properties, "")
        return self._changed(
            "/batch/update",
            lambda record: {"id": record, "objectWriteTraceId": f"contact-{record}", "properties": emptied},
            outcomes_by_trace,
        )

    def _changed(self, path: str, input_of: Callable[[str], object], read: ReadAnswer) -> Outcomes:
        ids = [one["id"] for one in self.records]
        inputs = [input_of(one) for one in ids]
        changed = self._steps.take(path, self._address.at(f"{CONTACTS}{path}"), inputs, read, around=inputs_body)
        return self.after(dict(zip(ids, changed, strict=True)))


def _all_or_none(answer: Answer, sent: SentRows) -> Outcomes | None:
    # These two answer 204 and nothing else.
    return Outcomes.accepted(len(sent)) if answer.status == 204 else None
