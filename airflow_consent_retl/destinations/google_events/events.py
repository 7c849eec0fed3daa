"""Rows as events: checked against what makes Google refuse a whole request, or take a part of one. Pure: no contact.

The fields are those of the API's `Event`, https://developers.google.com/data-manager/api/reference/rest/v1/events/ingest,
and of google-ads-datamanager 0.9.4, read 2026-11-29. Identifiers of people are normalised and hashed as members are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from airflow_consent_retl.destinations.data_manager.consent_signals import SIGNALS, Consent, consents_of
from airflow_consent_retl.destinations.data_manager.members import (
    ADDRESS_FIELDS,
    MemberEncoder,
    is_identifier,
)
from airflow_consent_retl.destinations.data_manager.texts import texts_of
from airflow_consent_retl.destinations.http.people_encoder import NO_IDENTIFIER, Invalid, is_text
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.near import suggestion

NEEDED = ("transaction_id", "event_timestamp")
AD_IDENTIFIERS = (
    "gclid", "gbraid", "wbraid", "dclid", "impression_id", "match_id", "mobile_device_id", "session_attributes",
)  # fmt: skip
OWN_IDENTIFIERS = ("client_id", "user_id", "app_instance_id")
TEXTS = ("transaction_id", "event_source", "currency", "event_name", *AD_IDENTIFIERS, *OWN_IDENTIFIERS)
NUMBERS = ("conversion_value", "conversion_count")
VARIABLE = "custom_variables."
PARAMETER = "event_parameters."
SOURCES = frozenset({"WEB", "APP", "IN_STORE", "PHONE", "MESSAGE", "OTHER"})
NOT_PERMITTED = "ad_user_data_denied"

_KNOWN = (*NEEDED, *TEXTS, *NUMBERS, *SIGNALS, "email", "phone", *ADDRESS_FIELDS)
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its values by the names of their fields, and the signals of its person. Times are microseconds."""

    values: Mapping[str, Any]
    identifiers: Mapping[str, str]
    consent: Consent


@dataclass(frozen=True, slots=True)
class EncodedEvents:
    """The events of the rows that make one; for the other rows a code, and the field it is about, if there is one."""

    events: Mapping[int, Event]
    refused: Mapping[int, str]
    fields: Mapping[int, str]
    omitted: Mapping[str, int]


class EventEncoder:
    """Encodes the rows of one load.

    Args:
        schema: the load's fields.
        hashed: see `MemberEncoder`, also for `on_invalid`.

    Raises:
        ConfigurationError: the fields make no event; the message names all errors.
    """

    def __init__(self, schema: pa.Schema, *, hashed: bool, on_invalid: Invalid) -> None:
        _check(schema)
        people = pa.schema([field for field in schema if is_identifier(field.name)])
        self._people = MemberEncoder(people, hashed=hashed, on_invalid=on_invalid, needed=False) if people else None
        self._readers = {
            name: _reader(name) for name in schema.names if not is_identifier(name) and name not in SIGNALS
        }

    def encode(self, rows: pa.RecordBatch) -> EncodedEvents:
        """Normalise, hash and check every row."""
        consents, wrong = consents_of(rows)
        refused = {row: code for row, (code, _) in wrong.items()}
        fields = {row: name for row, (_, name) in wrong.items()}
        identifiers: list[dict[str, str]] = [{} for _ in range(rows.num_rows)]
        omitted: Mapping[str, int] = {}
        if self._people is not None:
            people = self._people.encode(rows)
            refused |= people.refused
            fields |= people.fields
            omitted = people.omitted
            for name, column in people.columns.items():
                for row, value in enumerate(column.to_pylist()):
                    if value is not None:
                        identifiers[row][name] = value
        columns = {name: _values(rows.column(name), name) for name in self._readers}
        events: dict[int, Event] = {}
        for row in range(rows.num_rows):
            if row in refused:
                continue
            values = {name: column[row] for name, column in columns.items() if column[row] is not None}
            try:
                events[row] = _event(self._read(values), identifiers[row], consents[row])
            except _UnfitError as unfit:
                refused[row] = unfit.code
                if unfit.field:
                    fields[row] = unfit.field
        return EncodedEvents(events, refused, fields, omitted)

    def _read(self, values: Mapping[str, Any]) -> dict[str, Any]:
        for name, value in values.items():
            if isinstance(value, bytes):
                raise _UnfitError("not_utf8", name)
        return {name: self._readers[name](value) for name, value in values.items()}


class _UnfitError(Exception):
    def __init__(self, code: str, field: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.field = field


def _event(values: Mapping[str, Any], identifiers: Mapping[str, str], consent: Consent) -> Event:
    for name in NEEDED:
        if name not in values:
            raise _UnfitError(f"missing_{name}", name)
    # INVARIANT: data about a person does not go to Google where they did not grant it.
    kept = identifiers if consent.ad_user_data else {}
    if not kept and not any(name in values for name in (*AD_IDENTIFIERS, *OWN_IDENTIFIERS)):
        raise _UnfitError(NOT_PERMITTED if identifiers else NO_IDENTIFIER)
    if "client_id" in values and "app_instance_id" in values:
        raise _UnfitError("both_client_id_and_app_instance_id")
    return Event(values, kept, consent)


def _reader(name: str) -> Callable[[Any], Any]:
    def number(value: Any) -> float:
        read = float(value)
        if not math.isfinite(read) or read < 0:
            raise _UnfitError(f"invalid_{name}", name)
        return read

    def one_of(value: str) -> str:
        read = value.strip().upper()
        if read not in SOURCES:
            raise _UnfitError(f"invalid_{name}", name)
        return read

    def currency(value: str) -> str:
        read = value.strip().upper()
        if not _CURRENCY.fullmatch(read):
            raise _UnfitError(f"invalid_{name}", name)
        return read

    if name in NUMBERS:
        return number
    return {"event_source": one_of, "currency": currency}.get(name, lambda value: value)


def _values(column: pa.Array, name: str) -> list[Any]:
    if name == "event_timestamp":
        if pa.types.is_integer(column.type):
            return [None if seconds is None else seconds * 1_000_000 for seconds in column.to_pylist()]
        micros: list[int | None] = column.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64()).to_pylist()
        return micros
    if name in NUMBERS:
        return list(column.to_pylist())
    # As they are: two ids that differ in a space are two events.
    return [text or None for text in texts_of(column)]


def _check(schema: pa.Schema) -> None:
    wrong = [f"an event needs the field `{name}`" for name in NEEDED if name not in schema.names]
    wrong += [problem for field in schema if (problem := _problem_of(field.name, field.type))]
    known = (*AD_IDENTIFIERS, *OWN_IDENTIFIERS)
    if not any(is_identifier(name) or name in known for name in schema.names):
        wrong.append(
            "no field identifies a person or a click: map `email`, `phone`, an address, `gclid`, `client_id` …"
        )
    if wrong:
        raise ConfigurationError("; ".join(wrong))


def _problem_of(name: str, kind: pa.DataType) -> str:
    if name.startswith((VARIABLE, PARAMETER)):
        fits, wanted = not (pa.types.is_nested(kind) or pa.types.is_binary(kind)), "text, a number or a boolean"
    elif name == "event_timestamp":
        fits = pa.types.is_integer(kind) or (pa.types.is_timestamp(kind) and kind.tz is not None)
        wanted = "a timestamp with a time zone, or whole seconds since 1970"
    elif name in NUMBERS:
        fits = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        wanted = "a number"
    elif name in TEXTS or name in SIGNALS:
        fits, wanted = is_text(kind), "text"
    elif is_identifier(name):
        return ""
    else:
        return f"an event of Google has no field `{name}`{suggestion(name, _KNOWN)}"
    return "" if fits else f"field `{name}` is {kind}, but has to be {wanted}"
