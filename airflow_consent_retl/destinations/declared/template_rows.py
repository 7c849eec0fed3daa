"""The rows of a declared request: each takes the form of the body, and has everything that the vendor needs.

A row without a needed value is refused before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from airflow_consent_retl.destinations.declared.placeholders import EachRow, FieldValue, OtherFields, ParameterValue
from airflow_consent_retl.destinations.declared.row_references import at
from airflow_consent_retl.destinations.http.bodies import Row, ShapedRows, UnfitRowError
from airflow_consent_retl.destinations.http.http_delivery import NO_ENDPOINT

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.values.json_rows import Nulls

_MISSING = object()
_Form = Callable[[Row], object]


class TemplateRecord(msgspec.Struct, gc=False):
    """One row: its form in the body, and its values by the names of the fields."""

    form: object
    row: Row


def template_rows(
    body: object,
    schema: pa.Schema,
    *,
    parameters: Mapping[str, object],
    nulls: Nulls,
    cleared: Collection[str] = (),
    omitted: Collection[str] = (),
    needed: Sequence[tuple[str, ...]] = (),
    consent: Mapping[str, Collection[object]] = MappingProxyType({}),
    fits: Callable[[Row], bool] | None = None,
) -> ShapedRows:
    """Return the encoder of a request with this body.

    Args:
        body: nested data with placeholders; None: the request has no body.
        schema: the fields of the rows.
        parameters: their values.
        nulls: `omit` leaves a field out where it is NULL, `null` sends JSON null.
        cleared: fields whose JSON null is sent in any case.
        omitted: fields whose NULL is left out in any case.
        needed: of each tuple, a row has to have a value that is not empty.
        consent: by field, the values that the vendor takes for consent.
        fits: returns whether the person can be removed later: whether their values make a path.

    Raises:
        ConfigurationError: a field has no exact form in JSON, or two fields take the same place.
    """
    form = _form(row_template(body), parameters, places_in(body))

    def shape(row: Row) -> TemplateRecord:
        for names in needed:
            if all(_is_empty(at(row, name)) for name in names):
                raise UnfitRowError(missing(names))
        for name, values in consent.items():
            if (answer := at(row, name)) is not None and answer not in values:
                raise UnfitRowError("invalid_consent")
        if fits is not None and not fits(row):
            raise UnfitRowError(NO_ENDPOINT)
        return TemplateRecord(form(row), row)

    def encoded(records: Sequence[TemplateRecord]) -> bytes:
        if body is None:
            return b""
        return msgspec.json.encode(_document(body, [record.form for record in records], parameters))

    return ShapedRows(schema, body=encoded, shape=shape, nulls=nulls, cleared=cleared, omitted=omitted)


def missing(names: Sequence[str]) -> str:
    """Return the code of a row without a value in these fields."""
    return f"missing_{names[0]}" if names[0].isidentifier() else "missing_value"


def row_template(body: object) -> object:
    """Return the template of one row: inside of the list of rows, or the whole body."""
    if isinstance(body, EachRow):
        return body.template
    for part in _parts(body):
        if _has_rows(part):
            return row_template(part)
    return body


def places_in(template: object) -> frozenset[str]:
    """Return the names of the fields that have a place of their own in a template."""
    if isinstance(template, FieldValue):
        return frozenset({template.name})
    return frozenset[str]().union(*map(places_in, _parts(template)))


def _document(body: object, rows: list[object], parameters: Mapping[str, object]) -> object:
    """Return a whole body, around the forms of its rows."""
    if isinstance(body, EachRow):
        return rows
    if not _has_rows(body):
        # A size is asked of a body without rows, too.
        return rows[0] if rows else {}

    def part(value: object) -> object:
        return _document(value, rows, parameters) if _has_rows(value) else _form(value, parameters, frozenset())({})

    if isinstance(body, Mapping):
        return {name: part(value) for name, value in body.items()}
    return [part(value) for value in _parts(body)]


def _form(template: object, parameters: Mapping[str, object], places: frozenset[str]) -> _Form:
    match template:
        case FieldValue():
            return _field(template)
        case ParameterValue(name, as_number):
            value = parameters.get(name, _MISSING)
            value = int(value) if as_number and isinstance(value, str) else value
            return lambda _: value
        case OtherFields():
            return lambda row: _without(row, places, "")
        case Mapping():
            forms = [(name, _form(value, parameters, places)) for name, value in template.items()]
            return lambda row: {name: value for name, form in forms if (value := form(row)) is not _MISSING}
        case list() | tuple():
            parts = [_form(value, parameters, places) for value in template]
            return lambda row: [form(row) for form in parts]
        case _:
            return lambda _: template


def _field(place: FieldValue) -> _Form:
    *parents, last = place.name.split(".")

    def value(row: Row) -> object:
        found: Any = row
        for parent in parents:
            found = found.get(parent, {})
        found = found.get(last, _MISSING)
        if found is None and place.optional:
            return _MISSING
        if place.as_text and found is not None and not isinstance(found, str) and found is not _MISSING:
            return msgspec.json.encode(found).decode()
        return found

    return value


def _without(row: Row, places: frozenset[str], prefix: str) -> Row:
    """Return a row without the fields that have a place of their own."""
    kept: Row = {}
    for name, value in row.items():
        full = f"{prefix}{name}"
        if full in places:
            continue
        inner = isinstance(value, dict) and any(place.startswith(f"{full}.") for place in places)
        kept[name] = _without(value, places, f"{full}.") if inner else value
    return kept


def _is_empty(value: object) -> bool:
    return value is None or value == ""


def _has_rows(template: object) -> bool:
    return isinstance(template, EachRow) or any(map(_has_rows, _parts(template)))


def _parts(template: object) -> Sequence[object]:
    if isinstance(template, EachRow):
        return [template.template]
    if isinstance(template, Mapping):
        return list(template.values())
    return template if isinstance(template, list | tuple) else ()
