"""Events as raw messages of the official client. Contacts nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.ads.datamanager_v1 import types

from airflow_consent_retl.destinations.data_manager.messages import fill_consent, fill_identifiers
from airflow_consent_retl.destinations.google_events.events import AD_IDENTIFIERS, PARAMETER, VARIABLE

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.google_events.events import Event

# Raw messages: the client's own classes take twenty times as long.
_EVENT = types.Event.pb(types.Event()).__class__


def message_of(event: Event) -> Any:
    """Return the message of an event."""
    message = _EVENT()
    fill_consent(message.consent, event.consent)
    if event.identifiers:
        fill_identifiers(message.user_data, list(event.identifiers), list(event.identifiers.values()))
    for name, value in event.values.items():
        if name == "event_timestamp":
            message.event_timestamp.FromMicroseconds(value)
        elif name == "event_source":
            message.event_source = int(types.EventSource.__members__[value])
        elif name.startswith(VARIABLE):
            message.custom_variables.add(variable=name.removeprefix(VARIABLE), value=value)
        elif name.startswith(PARAMETER):
            message.additional_event_parameters.add(parameter_name=name.removeprefix(PARAMETER), value=value)
        else:
            setattr(message.ad_identifiers if name in AD_IDENTIFIERS else message, name, value)
    return message
