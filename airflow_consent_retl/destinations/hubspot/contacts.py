"""Contacts in HubSpot's form: the inputs of an upsert, whose properties are texts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec
import pyarrow as pa

from airflow_consent_retl.destinations.http.bodies import Row, ShapedRows, UnfitRowError, json_body
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.json_rows import JsonRows

EMAIL: Final = "email"
NO_IDENTIFIER: Final = "no_identifier"
REPEATED_IDENTIFIER: Final = "repeated_identifier"
UNFIT_LIST: Final = "unfit_list"
UNKNOWN_STATE: Final = "unknown_subscription_state"
SUBSCRIBED: Final = "SUBSCRIBED"
UNSUBSCRIBED: Final = "UNSUBSCRIBED"
STATES: Final = (SUBSCRIBED, UNSUBSCRIBED)

_SUBSCRIPTIONS = "subscriptions"


def subscription_of(field: str) -> int | None:
    """Return the subscription that a field such as `subscriptions.12345` is about; None: it is a property."""
    prefix, _, number = field.partition(".")
    return int(number) if prefix == _SUBSCRIPTIONS and number.isascii() and number.isdigit() else None


class ContactRows(ShapedRows):
    """Makes inputs of an upsert from rows. HubSpot takes texts only.

    Booleans are `true` and `false`, numbers their digits, and the choices of a list are joined by a semicolon.

    Args:
        schema: the load's fields: properties, and states of subscriptions, which are no part of the request.
        id_property: the unique property by which HubSpot knows a contact; it is no part of the properties.
        keeps_nulls: whether a NULL leaves the property as it is.
        cleared: fields whose NULL empties the property in any case.
        omitted: fields whose NULL leaves it as it is in any case.

    Raises:
        ConfigurationError: a field is of a type that no property of HubSpot has.
    """

    def __init__(
        self,
        schema: pa.Schema,
        *,
        id_property: str,
        keeps_nulls: bool,
        cleared: Collection[str],
        omitted: Collection[str],
    ) -> None:
        unfit = [f"`{field.name}` ({field.type})" for field in schema if not _fits(field.type)]
        if unfit:
            raise ConfigurationError(
                f"no property of HubSpot has the type of {', '.join(unfit)}: cast them in the model"
            )
        super().__init__(
            schema,
            body=json_body(_inputs),
            shape=self._input,
            nulls="omit" if keeps_nulls else "null",
            cleared=cleared,
            omitted=omitted,
            integers="string",
        )
        self._id_property = id_property

    def rows(self, batch: pa.RecordBatch) -> JsonRows:
        """Return the inputs; of several rows with one identifier only the first, since HubSpot refuses such batches."""
        found = super().rows(batch)
        first: dict[str, int] = {}
        for one, row in zip(found.records, found.positions, strict=True):
            # Unique in a request, and the same at every try.
            one["objectWriteTraceId"] = f"row-{row}"
            first.setdefault(folded(one["id"], self._id_property), row)
        kept = set(first.values())
        pairs = [(one, row) for one, row in zip(found.records, found.positions, strict=True) if row in kept]
        repeated = dict.fromkeys(set(found.positions) - kept, REPEATED_IDENTIFIER)
        return JsonRows([one for one, _ in pairs], [row for _, row in pairs], {**found.refused, **repeated})

    def _input(self, row: Row) -> Row:
        identifier = text_of(row.pop(self._id_property, None))
        states = {number: state for number, state in row.pop(_SUBSCRIPTIONS, {}).items() if state is not None}
        if not identifier:
            raise UnfitRowError(NO_IDENTIFIER)
        if any(isinstance(value, list) and not _joinable(value) for value in row.values()):
            raise UnfitRowError(UNFIT_LIST)
        if not set(STATES).issuperset(states.values()):
            raise UnfitRowError(UNKNOWN_STATE)
        properties = {name: text_of(value) or "" for name, value in row.items()}
        return {"id": identifier, "idProperty": self._id_property, "properties": properties, "states": states}


def texts_of(rows: pa.RecordBatch, name: str) -> list[str | None]:
    """Return the values of one column as texts; None for NULL, and for a value that has no text."""
    # Without its own name: a dotted one is a nested object.
    column = pa.RecordBatch.from_arrays([rows.column(name)], names=["text"])
    found = ShapedRows(column.schema, body=json_body(list), nulls="null", integers="string").rows(column)
    texts: list[str | None] = [None] * rows.num_rows
    for one, row in zip(found.records, found.positions, strict=True):
        texts[row] = text_of(one["text"])
    return texts


def text_of(value: object) -> str | None:
    """Return a value as HubSpot takes it; None for NULL."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return ";".join(str(text_of(one)) for one in value)
    return msgspec.json.encode(value).decode()


def folded(identifier: object, id_property: str) -> str:
    """Return an identifier for comparison: the case of the letters of an address does not count."""
    return str(identifier).casefold() if id_property == EMAIL else str(identifier)


def _inputs(records: Sequence[Row]) -> object:
    return {"inputs": [{name: value for name, value in one.items() if name != "states"} for one in records]}


def _joinable(values: list[object]) -> bool:
    return all(value is not None and ";" not in str(value) for value in values)


def _fits(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _fits(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return not pa.types.is_nested(kind.value_type) and _fits(kind.value_type)
    if pa.types.is_timestamp(kind):
        return kind.tz is not None
    unfit = ("nested", "binary", "large_binary", "fixed_size_binary", "binary_view", "time")
    return not any(getattr(pa.types, f"is_{name}")(kind) for name in unfit)
