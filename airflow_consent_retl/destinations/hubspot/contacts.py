"""Contacts in HubSpot's form: the inputs of an upsert, whose properties are texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.destinations.http.bodies import Row, ShapedRows, UnfitRowError, json_body
from airflow_consent_retl.destinations.http.contact_destination import SUBSCRIPTIONS
from airflow_consent_retl.destinations.http.text_values import folded, text_of, without_text
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.destinations.hubspot.options import HubSpotOptions

EMAIL: Final = "email"
TRACE: Final = "objectWriteTraceId"
UNKNOWN_STATE: Final = "unknown_subscription_state"
SUBSCRIBED: Final = "SUBSCRIBED"
UNSUBSCRIBED: Final = "UNSUBSCRIBED"


def contact_rows(load: Load, options: HubSpotOptions) -> ShapedRows:
    """Return the encoder of inputs of an upsert. HubSpot takes texts only, and refuses a contact that comes twice.

    Booleans are `true` and `false`, numbers their digits, and the choices of a list are joined by a semicolon.

    Raises:
        ConfigurationError: a field is of a type that no property of HubSpot has.
    """
    if unfit := without_text(load.schema, lists=True, times=False):
        raise ConfigurationError(f"no property of HubSpot has the type of {', '.join(unfit)}: cast them in the model")
    return ShapedRows.of_load(
        load,
        keeps_nulls=options.nulls == "keep",
        body=json_body(inputs_body),
        shape=partial(_input, options.id_property),
        integers="string",
        trace=TRACE,
        unique=lambda one: folded(one["id"], options.id_property),
    )


def inputs_body(inputs: Sequence[Any]) -> object:
    """Return the document of a request with these inputs."""
    return {"inputs": inputs}


def _input(id_property: str, row: Row) -> Row:
    identifier = text_of(row.pop(id_property, None))
    states = {number: state for number, state in row.pop(SUBSCRIPTIONS, {}).items() if state is not None}
    if not identifier:
        raise UnfitRowError("no_identifier")
    if not {SUBSCRIBED, UNSUBSCRIBED}.issuperset(states.values()):
        raise UnfitRowError(UNKNOWN_STATE)
    properties = {name: text_of(value) or "" for name, value in row.items()}
    return {"id": identifier, "idProperty": id_property, "properties": properties}
