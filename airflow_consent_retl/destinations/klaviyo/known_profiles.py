"""The profiles that Klaviyo has of people, with their subscriptions, and who of them is on a list.

`klaviyo/openapi@f0a30ba`, revision 2026-07-15, read 2026-11-29: `openapi/stable/apis/get_profiles.json` and
`get_profiles_for_list.json`: filters with `any`, and at most 100 profiles a page. They are in the address, which no log
of this package shows.

The states are `NEVER_SUBSCRIBED`, `SUBSCRIBED` and `UNSUBSCRIBED`
(https://developers.klaviyo.com/en/docs/collect_email_and_sms_consent_via_api, read 2026-11-30; the specification names
no words). A suppressed profile keeps its state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_consent_retl.destinations.http.answer_maps import value_at
from airflow_consent_retl.destinations.http.found_records import Record
from airflow_consent_retl.destinations.http.json_api import asked_with_any
from airflow_consent_retl.destinations.http.responses import ACCEPTED
from airflow_consent_retl.destinations.http.subscriptions import NO_STATE
from airflow_consent_retl.destinations.klaviyo.options import KlaviyoSpec
from airflow_consent_retl.errors import DestinationError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
    from airflow_consent_retl.destinations.http.batch_steps import BatchSteps
    from airflow_consent_retl.destinations.http.channel_options import Channel

_KEYS_IN_A_FILTER, _ALL = 50, "/api/profiles"
Found = dict[str, Record]


def members_of(steps: BatchSteps, people: Sequence[Record], list_id: str | None) -> list[Record]:
    """Return those of these profiles that have an address and are on the list.

    Raises:
        DestinationError: it is not clear which are, so no one may be unsubscribed.
    """
    emails = list(dict.fromkeys(str(one["email"]) for one in people if one.get("email")))
    on_list: dict[str, Record] = {}
    asked = profiles_by(steps, "email", emails, on_list, path=f"/api/lists/{list_id}/profiles")
    if any(one != ACCEPTED for one in asked):
        # INVARIANT: an unsubscription of a person who is not on the list would be from everything.
        raise DestinationError("Klaviyo does not say clearly who is on the list: no one was unsubscribed")
    return [one for one in people if one.get("email") in on_list]


def profiles_by(
    steps: BatchSteps, field: str, values: Sequence[str], found: Found, *, path: str = _ALL, with_states: bool = False
) -> Outcomes:
    """Fill in the profiles with these values by value, and return the outcome of each question."""
    states = {"additional-fields[profile]": "subscriptions"} if with_states else {}
    query = {"fields[profile]": ",".join(["email", "external_id", "phone_number", *states.values()]), **states}
    return asked_with_any(steps, path, field, values, found, most=_KEYS_IN_A_FILTER, page_rows=100, query=query)


def state_of(record: Record, channel: Channel) -> Outcome | str:
    """Return the state of a channel: empty only if Klaviyo certainly has none, and `UNSUBSCRIBED` if it is suppressed.

    Only e-mail has suppressions. Anything that cannot be read as one of these is a doubt.
    """
    match value_at(record, channel.place):
        case {"consent": "SUBSCRIBED" | "UNSUBSCRIBED" as state}:
            return str(state)
        case {"consent": "NEVER_SUBSCRIBED"} if channel.name == "sms":
            return ""
        case {"consent": "NEVER_SUBSCRIBED", "suppression": [*some], "list_suppressions": [*others], **more}:
            is_open = more.get("can_receive_email_marketing") is True and not some and not others
            return "" if is_open else KlaviyoSpec.denied
    return NO_STATE
