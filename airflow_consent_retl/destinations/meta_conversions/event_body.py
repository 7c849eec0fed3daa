"""The body of a request with events: each checked against what makes Meta refuse a whole request.

Read 2026-11-29 on https://developers.facebook.com/documentation/ads-commerce/conversions-api: …/parameters/server-event
(names, times, sources), …/parameters/customer-information-parameters, and …/best-practices (keys that are too broad).
"""

from __future__ import annotations

import time
from functools import reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.destinations.meta.known_people import check_fields, check_texts, kind_of, raise_errors
from airflow_consent_retl.destinations.meta.processing_options import OPTIONS_FIELD, STATE_FIELD, options_of
from airflow_consent_retl.values.json_rows import JsonRows, RowEncoder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_consent_retl.destinations.http.people_encoder import PeopleEncoder

NEEDED = ("event_name", "event_id", "event_time", "action_source")
EVENT_FIELDS = (*NEEDED, "event_source_url", "referrer_url", "opt_out")
IDENTIFIERS: Mapping[str, str] = {
    "email": "em",
    "email_2": "em",
    "email_3": "em",
    "phone": "ph",
    "phone_2": "ph",
    "phone_3": "ph",
    "first_name": "fn",
    "last_name": "ln",
    "date_of_birth": "db",
    "gender": "ge",
    "city": "ct",
    "state": "st",
    "postal_code": "zp",
    "country": "country",
    "external_id": "external_id",
    "device_id": "madid",
}
"""The load's fields that are normalised, each with Meta's key in `user_data`."""

BROWSER_FIELDS = ("client_ip_address", "client_user_agent", "fbc", "fbp", "lead_id", "subscription_id")
CUSTOM = "custom_data."
_USER = "user_data."
SOURCES = frozenset(
    {"email", "website", "app", "phone_call", "chat", "physical_store", "system_generated", "business_messaging"}
    | {"other"}
)
_DAY_S = 86_400
_MAX_AGE_S = 7 * _DAY_S
_MAX_AGE_IN_STORES_S = 62 * _DAY_S
# The clocks of two machines differ.
_FUTURE_S = 300
# An event that has only keys of one of these is invalid, and Meta then refuses the whole request.
_TOO_BROAD = (
    frozenset({"ct", "country", "st", "zp", "ge", "client_user_agent"}),
    frozenset({"db", "client_user_agent"}),
    frozenset({"fn", "ge"}),
    frozenset({"ln", "ge"}),
)


def identifiers_of(schema: pa.Schema) -> list[str]:
    """Return the fields that are normalised, after a check of all fields.

    Raises:
        ConfigurationError: the fields make no event; the message names all errors.
    """
    names = schema.names
    known = (*EVENT_FIELDS, *IDENTIFIERS, *BROWSER_FIELDS, OPTIONS_FIELD, STATE_FIELD)
    wrong = check_fields([name for name in names if not name.startswith(CUSTOM)], known, name="an event")
    wrong += check_texts(schema, {*known} - {"event_time", "opt_out", "lead_id"})
    wrong += [f"an event needs the field `{name}`" for name in NEEDED if name not in names]
    if "event_time" in names:
        kind = schema.field("event_time").type
        if not pa.types.is_integer(kind) and not (pa.types.is_timestamp(kind) and kind.tz is not None):
            wrong.append(f"field `event_time` is {kind}: a timestamp with a time zone, or whole seconds since 1970")
    if not any(name in IDENTIFIERS or name in BROWSER_FIELDS for name in names):
        wrong.append("no field identifies a person: map `email`, `phone`, `external_id`, or those of the browser")
    raise_errors(wrong)
    return [name for name in names if name in IDENTIFIERS]


class EventBody:
    """Encodes events of one load.

    Args:
        schema: the load's fields.
        people: normalises and hashes the identifiers.
        beside: further fields of the body.
    """

    def __init__(self, schema: pa.Schema, people: PeopleEncoder, beside: Mapping[str, str]) -> None:
        self._people = people
        nothing = pa.RecordBatch.from_pylist([], schema)
        self._encoder = RowEncoder(
            _in_metas_names(nothing, people.encode(nothing).columns, options_of(nothing)[0]).schema,
            nulls="omit",
            nested=True,
            integers="number",
            envelope="data",
            beside=beside,
        )

    def rows(self, batch: pa.RecordBatch) -> JsonRows:
        """Return an event for each row that makes one, and a code for each that does not."""
        options, wrong = options_of(batch) if {OPTIONS_FIELD, STATE_FIELD} & set(batch.schema.names) else ([], {})
        encoded = self._people.encode(batch, refused=wrong)
        events = _in_metas_names(batch, encoded.columns, options)
        refused = _unfit(events) | dict(encoded.refused)
        kept: Sequence[int] = range(batch.num_rows)
        if refused:
            kept = [row for row in kept if row not in refused]
            events = events.take(pa.array(kept, pa.int64()))
        found = self._encoder.rows(events)
        refused |= {kept[row]: code for row, code in found.refused.items()}
        return JsonRows(found.records, [kept[row] for row in found.positions], refused)

    def body(self, records: Sequence[Any]) -> bytes:
        """Return a request's body."""
        return self._encoder.body(records)


def _in_metas_names(
    rows: pa.RecordBatch, identifiers: Mapping[str, pa.Array], options: Sequence[tuple[list[str], int, int]]
) -> pa.RecordBatch:
    columns: dict[str, pa.Array] = {}
    for name in rows.schema.names:
        column = rows.column(name)
        if name == "event_time":
            columns[name] = _seconds(column)
        elif name in EVENT_FIELDS:
            columns[name] = column
        elif name in BROWSER_FIELDS:
            columns[f"user_data.{name}"] = column
        elif name.startswith(CUSTOM):
            # Meta wants a number; a decimal of JSON is a text.
            columns[name] = column.cast(pa.float64()) if pa.types.is_decimal(column.type) else column
    for name, column in identifiers.items():
        key = f"user_data.{IDENTIFIERS[name]}"
        several = [other for other in identifiers if kind_of(other) == kind_of(name)]
        columns[key] = column if len(several) == 1 else _lists([identifiers[other] for other in several])
    if OPTIONS_FIELD in rows.schema.names:
        columns[OPTIONS_FIELD] = pa.array([one for one, _, _ in options], pa.list_(pa.string()))
        for place, name in ((1, "country"), (2, "state")):
            numbers = [one[place] if one[0] else None for one in options]
            columns[f"{OPTIONS_FIELD}_{name}"] = pa.array(numbers, pa.int64())
    return pa.RecordBatch.from_pydict(columns)


def _seconds(column: pa.Array) -> pa.Array:
    if pa.types.is_integer(column.type):
        return column.cast(pa.int64())
    return column.cast(pa.timestamp("s", "UTC"), safe=False).cast(pa.int64())


def _lists(columns: Sequence[pa.Array]) -> pa.Array:
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    found = [list(dict.fromkeys(value for value in values if value is not None)) or None for values in rows]
    return pa.array(found, pa.list_(pa.string()))


def _unfit(events: pa.RecordBatch) -> dict[int, str]:
    """Return a code for each event that Meta refuses for its form: the first one that applies."""
    names = events.schema.names
    nothing = pa.array([False] * events.num_rows, pa.bool_())

    def has(name: str) -> pa.Array:
        if name not in names:
            return nothing
        return pc.fill_null(_is_filled(events.column(name)), False)

    source, now = events.column("action_source").cast(pa.string()), time.time()
    age_s = pc.subtract(float(now), events.column("event_time").cast(pa.float64()))
    oldest_s = pc.if_else(pc.equal(source, "physical_store"), float(_MAX_AGE_IN_STORES_S), float(_MAX_AGE_S))
    known = {name.removeprefix(_USER): events.column(name).is_valid() for name in names if name.startswith(_USER)}
    complete = pc.and_(has("event_source_url"), has("user_data.client_user_agent"))

    def only(broad: frozenset[str]) -> pa.Array:
        others = [valid for name, valid in known.items() if name not in broad]
        return pc.invert(reduce(pc.or_, others, nothing))

    wrong: dict[str, pa.Array] = {f"missing_{name}": pc.invert(has(name)) for name in NEEDED}
    wrong |= {
        "invalid_action_source": pc.invert(pc.is_in(source, pa.array(sorted(SOURCES)))),
        "event_too_old": pc.greater(age_s, oldest_s),
        "event_in_the_future": pc.less(age_s, float(-_FUTURE_S)),
        "website_event_incomplete": pc.and_(pc.equal(source, "website"), pc.invert(complete)),
        "no_identifier": pc.invert(reduce(pc.or_, known.values(), nothing)),
        "identifiers_too_broad": reduce(pc.or_, map(only, _TOO_BROAD)),
    }
    found: dict[int, str] = {}
    for code, rows in wrong.items():
        if pc.any(rows, min_count=0).as_py():
            for row in pc.indices_nonzero(pc.fill_null(rows, False)).to_pylist():
                found.setdefault(row, code)
    return found


def _is_filled(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pc.not_equal(column, "")
    return column.is_valid()
