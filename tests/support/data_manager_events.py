"""The local server's checks of events, and what Google makes of those whose people denied."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from google.ads.datamanager_v1 import types

_GRANTED = types.ConsentStatus.CONSENT_GRANTED
_STATED = {int(_GRANTED), int(types.ConsentStatus.CONSENT_DENIED)}
_CURRENCY = re.compile(r"[A-Z]{3}")
_State = types.RequestStatusPerDestination.RequestStatus


def wrong_events(
    events: Iterable[Any], wrong_identifier: Callable[[Any], Iterator[tuple[str, str]]]
) -> Iterator[tuple[str, str]]:
    """Yield the path and the reason of each error in raw events."""
    for place, event in enumerate(events):
        where = f"events.events[{place}]"
        identifiers = event.user_data.user_identifiers
        if len(identifiers) > 10:
            yield f"{where}.user_data", "TOO_MANY_USER_IDENTIFIERS"
        for number, identifier in enumerate(identifiers):
            for name, reason in wrong_identifier(identifier):
                yield f"{where}.user_data.user_identifiers[{number}].{name}", reason
        if not (identifiers or event.HasField("ad_identifiers") or event.client_id):
            yield where, "NO_IDENTIFIERS_PROVIDED"
        if not event.transaction_id:
            yield f"{where}.transaction_id", "REQUIRED_FIELD_MISSING"
        if event.event_timestamp.seconds <= 0:
            yield f"{where}.event_timestamp", "EVENT_TIME_INVALID"
        if event.currency and not _CURRENCY.fullmatch(event.currency):
            yield f"{where}.currency", "INVALID_CURRENCY_CODE"
        # Google takes an event without consent. Ours always states both.
        if not {event.consent.ad_user_data, event.consent.ad_personalization} <= _STATED:
            yield f"{where}.consent", "REQUIRED_FIELD_MISSING"


def permitted_events(events: Sequence[types.Event]) -> tuple[list[types.Event], int, dict[int, int]]:
    """Return the events that are taken, the state of their request, and the counts of the others."""
    taken = [event for event in events if event.consent.ad_user_data == _GRANTED]
    denied = len(events) - len(taken)
    if not denied:
        return taken, int(_State.SUCCESS), {}
    reasons = {int(types.ProcessingErrorReason.PROCESSING_ERROR_REASON_DENIED_CONSENT): denied}
    return taken, int(_State.PARTIAL_SUCCESS if taken else _State.FAILED), reasons
