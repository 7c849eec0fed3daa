"""The profiles that Klaviyo has of people, and who of them is on a list.

`klaviyo/openapi@f0a30ba`, revision 2026-07-15, read 2026-11-29: `openapi/stable/apis/get_profiles.json` and
`get_profiles_for_list.json`: filters with `any`, and at most 100 profiles a page. They are in the address, which no log
of this package shows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
from airflow_consent_retl.destinations.http.answer_maps import entries
from airflow_consent_retl.destinations.http.found_records import FoundRecords, Record
from airflow_consent_retl.destinations.http.responses import ACCEPTED, UnreadableAnswerError, of_document
from airflow_consent_retl.destinations.klaviyo.import_jobs import next_page
from airflow_consent_retl.errors import DestinationError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.responses import SentRows
    from airflow_consent_retl.destinations.http.steps import BatchSteps

_KEYS_IN_A_FILTER = 50


class ProfileQuestions:
    """Questions about the people of one batch.

    Args:
        steps: of the batch.
        known_by: the identifier of people.
        list_id: see `members`.
    """

    def __init__(self, steps: BatchSteps, *, known_by: str, list_id: str | None) -> None:
        self._steps = steps
        self._known_by = known_by
        self._list_id = list_id

    def found(self, keys: Sequence[str | None]) -> FoundRecords:
        """Return the profiles that Klaviyo has."""
        named = list(dict.fromkeys(key for key in keys if key is not None))
        return FoundRecords(keys, *self._asked("find", "/api/profiles", self._known_by, named))

    def members(self, people: Sequence[Record]) -> list[Record]:
        """Return those of these profiles that have an address and are on the list.

        Raises:
            DestinationError: it is not clear which are, so no one may be unsubscribed.
        """
        emails = list(dict.fromkeys(str(one["email"]) for one in people if one.get("email")))
        on_list, unclear = self._asked("members", f"/api/lists/{self._list_id}/profiles", "email", emails)
        if unclear:
            # INVARIANT: an unsubscription of a person who is not on the list would be from everything.
            raise DestinationError("Klaviyo does not say clearly who is on the list: no one was unsubscribed")
        return [one for one in people if one.get("email") in on_list]

    def _asked(
        self, name: str, path: str, field: str, values: Sequence[str]
    ) -> tuple[dict[str, Record], dict[str, Outcome]]:
        """Return the profiles with these values by value, and the outcome of each value without a clear answer."""
        found: dict[str, Record] = {}
        fields = quote("email,external_id,phone_number", safe="")

        def endpoint(some: Sequence[str]) -> str:
            condition = quote(f"any({field},{json.dumps(some, ensure_ascii=False)})", safe="")
            return f"{path}?filter={condition}&fields%5Bprofile%5D={fields}&page%5Bsize%5D=100"

        outcomes = self._steps.ask(name, endpoint, values, partial(_profiles, found, field), most=_KEYS_IN_A_FILTER)
        unclear = {value: one for value, one in zip(values, outcomes, strict=True) if one != ACCEPTED}
        asked = {_compared(field, value): value for value in values}
        return {asked[value]: one for value, one in found.items() if value in asked}, unclear


def _compared(field: str, value: object) -> str:
    return str(value).casefold() if field == "email" else str(value)


def _profiles(found: dict[str, Record], field: str, answer: Answer, sent: SentRows) -> Outcomes | None:
    """Put the profiles of an answer into `found`, by the field's value."""

    def read(document: dict[str, Any]) -> Outcomes:
        # Not even a null may look as if no one were there.
        if next_page(answer) is not None or not isinstance(document.get("data"), list):
            raise UnreadableAnswerError
        for one in entries(document, "data"):
            attributes = one.get("attributes")
            if not (isinstance(attributes, dict) and isinstance(one.get("id"), str)):
                raise UnreadableAnswerError
            found[_compared(field, attributes.get(field))] = {**attributes, "id": one["id"]}
        return Outcomes.accepted(len(sent))

    return of_document(answer, sent, read)
