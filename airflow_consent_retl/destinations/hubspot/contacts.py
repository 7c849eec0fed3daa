"""Contacts in HubSpot's form: the inputs of an upsert, whose properties are texts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
import pyarrow as pa

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.json_rows import JsonRows, RowEncoder

NO_IDENTIFIER = "no_identifier"
REPEATED_IDENTIFIER = "repeated_identifier"
UNFIT_LIST = "unfit_list"
UNKNOWN_STATE = "unknown_subscription_state"
SUBSCRIBED: Final = "SUBSCRIBED"
UNSUBSCRIBED: Final = "UNSUBSCRIBED"
STATES: Final = (SUBSCRIBED, UNSUBSCRIBED)

_SUBSCRIPTION = "subscriptions."


def subscription_of(field: str) -> int | None:
    """Return the subscription that a field such as `subscriptions.12345` is about; None: it is a property."""
    number = field.removeprefix(_SUBSCRIPTION) if field.startswith(_SUBSCRIPTION) else ""
    return int(number) if number.isascii() and number.isdigit() else None


class ContactEncoder:
    """Makes inputs of an upsert from rows. HubSpot takes texts only.

    Booleans are `true` and `false`, numbers their digits, and the choices of a list are joined by a semicolon.

    Args:
        schema: the load's fields: properties, and states of subscriptions, which are no part of the request.
        id_property: the unique property by which HubSpot knows a contact; it is no part of the properties.
        keeps_nulls: whether a NULL leaves the property as it is.
        cleared: fields whose NULL empties the property in any case.

    Raises:
        ConfigurationError: a field is of a type that no property of HubSpot has.
    """

    def __init__(self, schema: pa.Schema, *, id_property: str, keeps_nulls: bool, cleared: Collection[str]) -> None:
        unfit = [f"`{field.name}` ({field.type})" for field in schema if not _fits(field.type)]
        if unfit:
            raise ConfigurationError(
                f"no property of HubSpot has the type of {', '.join(unfit)}: cast them in the model"
            )
        self._values = RowEncoder(schema, nulls="null", integers="string", envelope=None)
        self._id_property = id_property
        self._keeps_nulls = keeps_nulls
        self._cleared = frozenset(cleared)

    def rows(self, batch: pa.RecordBatch) -> JsonRows:
        """Return the inputs: `id`, `idProperty`, `objectWriteTraceId`, `properties` and `states`."""
        found = self._values.rows(batch)
        inputs: list[Any] = []
        positions: list[int] = []
        refused = dict(found.refused)
        seen: set[str] = set()
        for record, row in zip(found.records, found.positions, strict=True):
            values = msgspec.to_builtins(record)
            identifier = _text(values.pop(self._id_property)) or ""
            # HubSpot refuses a whole batch that names a contact twice.
            key = folded_if(identifier, fold=self._id_property == "email")
            states = {name: values.pop(name) for name in batch.schema.names if subscription_of(name)}
            code = _refusal_of(identifier, key in seen, values, states)
            if code:
                refused[row] = code
                continue
            seen.add(key)
            positions.append(row)
            inputs.append(
                {
                    "id": identifier,
                    "idProperty": self._id_property,
                    # Unique in a request, and the same at every try.
                    "objectWriteTraceId": f"row-{row}",
                    "properties": {
                        name: _text(value) or ""
                        for name, value in values.items()
                        if value is not None or not self._keeps_nulls or name in self._cleared
                    },
                    "states": {name: state for name, state in states.items() if state is not None},
                }
            )
        return JsonRows(inputs, positions, refused)

    def body(self, records: list[Any]) -> bytes:
        """Return a request's body."""
        inputs = [{name: value for name, value in one.items() if name != "states"} for one in records]
        return msgspec.json.encode({"inputs": inputs})


def _refusal_of(identifier: str, repeats: bool, values: Mapping[str, object], states: Mapping[str, object]) -> str:
    if not identifier:
        return NO_IDENTIFIER
    if repeats:
        return REPEATED_IDENTIFIER
    if any(isinstance(value, list) and not _joinable(value) for value in values.values()):
        return UNFIT_LIST
    return "" if {None, *STATES}.issuperset(states.values()) else UNKNOWN_STATE


def texts_of(rows: pa.RecordBatch, name: str) -> list[str | None]:
    """Return the values of one column as texts; None for NULL, and for a value that has no text."""
    encoder = RowEncoder(pa.schema([rows.schema.field(name)]), nulls="null", integers="string", envelope=None)
    found = encoder.rows(rows.select([name]))
    texts: list[str | None] = [None] * rows.num_rows
    for record, row in zip(found.records, found.positions, strict=True):
        texts[row] = _text(msgspec.to_builtins(record)[name])
    return texts


def folded_if(text: str, *, fold: bool) -> str:
    """Return a text, without the case of its letters if `fold`."""
    return text.casefold() if fold else text


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return ";".join(str(_text(one)) for one in value)
    return msgspec.json.encode(value).decode()


def _joinable(values: list[object]) -> bool:
    return all(value is not None and not isinstance(value, list | dict) and ";" not in str(value) for value in values)


def _fits(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _fits(kind.value_type)
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    inner = kind.value_type if is_list else kind
    is_naive = pa.types.is_timestamp(inner) and inner.tz is None
    return not (
        is_naive or pa.types.is_nested(inner) or pa.types.is_binary(inner) or pa.types.is_large_binary(inner)
        or pa.types.is_fixed_size_binary(inner) or pa.types.is_binary_view(inner) or pa.types.is_time(inner)
    )  # fmt: skip
