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

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.http.found_records import FoundRecords, Record
from airflow_consent_retl.destinations.http.json_api import next_page, resources
from airflow_consent_retl.destinations.http.responses import ACCEPTED, UnreadableAnswerError, of_document
from airflow_consent_retl.destinations.http.text_values import folded
from airflow_consent_retl.errors import DestinationError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.batch_steps import BatchSteps
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.responses import SentRows

_KEYS_IN_A_FILTER = 50


def profiles_of(steps: BatchSteps, keys: Sequence[str | None], *, known_by: str) -> FoundRecords:
    """Return the profiles that Klaviyo has of people."""
    return FoundRecords.asked(keys, partial(_asked, steps, "find", "/api/profiles", known_by))


def members_of(steps: BatchSteps, people: Sequence[Record], list_id: str | None) -> list[Record]:
    """Return those of these profiles that have an address and are on the list.

    Raises:
        DestinationError: it is not clear which are, so no one may be unsubscribed.
    """
    emails = list(dict.fromkeys(str(one["email"]) for one in people if one.get("email")))
    on_list: dict[str, Record] = {}
    asked = _asked(steps, "members", f"/api/lists/{list_id}/profiles", "email", emails, on_list)
    if any(one != ACCEPTED for one in asked):
        # INVARIANT: an unsubscription of a person who is not on the list would be from everything.
        raise DestinationError("Klaviyo does not say clearly who is on the list: no one was unsubscribed")
    return [one for one in people if one.get("email") in on_list]


def _asked(
    steps: BatchSteps, name: str, path: str, field: str, values: Sequence[str], found: dict[str, Record]
) -> Outcomes:
    """Fill in the profiles with these values by value, and return the outcome of each question."""
    fields = quote("email,external_id,phone_number", safe="")
    keys = {folded(value, field): value for value in values}

    def endpoint(some: Sequence[str]) -> str:
        condition = quote(f"any({field},{json.dumps(some, ensure_ascii=False)})", safe="")
        return f"{path}?filter={condition}&fields%5Bprofile%5D={fields}&page%5Bsize%5D=100"

    def read(answer: Answer, sent: SentRows) -> Outcomes | None:
        def of_page(_: dict[str, Any]) -> Outcomes:
            if next_page(answer) is not None:
                raise UnreadableAnswerError
            named = {folded(one.get(field), field): one for one in resources(answer)}
            found.update({keys[value]: one for value, one in named.items() if value in keys})
            return Outcomes.accepted(len(sent))

        return of_document(answer, sent, of_page)

    return steps.ask(name, endpoint, values, read, most=_KEYS_IN_A_FILTER)
