"""The placeholders of a declared body: the values of a row, the list of rows, and parameters.

A body is written as nested Python data, with placeholders where values go. No text is put together: a value can never
change the shape of the JSON.

    {"listId": parameter("list_id"), "people": each_row({"email": field("email"), "data": other_fields()})}
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A place in a body that a value fills."""


@dataclass(frozen=True, slots=True)
class FieldValue(Placeholder):
    """One field's value; see `field`."""

    name: str
    as_text: bool
    optional: bool


@dataclass(frozen=True, slots=True)
class OtherFields(Placeholder):
    """All fields without a place of their own; see `other_fields`."""


@dataclass(frozen=True, slots=True)
class EachRow(Placeholder):
    """The list of rows; see `each_row`."""

    template: object


@dataclass(frozen=True, slots=True)
class ParameterValue(Placeholder):
    """The value of a parameter; see `parameter`."""

    name: str
    as_number: bool = False


def field(name: str, *, as_text: bool = False, optional: bool = False) -> FieldValue:
    """Return the place of one field's value.

    Args:
        name: of the field, as the load's `fields` have it.
        as_text: a number is sent as text, for vendors whose identifiers are text.
        optional: the entry of the object is left out where the load does not map the field, or the value is NULL.
            Otherwise the load has to map the field, and a row in which it is NULL or an empty text is rejected.
    """
    return FieldValue(name, as_text, optional)


def other_fields() -> OtherFields:
    """Return the place of all fields that have no place of their own in the body, as an object.

    A name with dots, such as `address.city`, makes nested objects. In a request that clears fields, the object has the
    fields to clear, each as null.
    """
    return OtherFields()


def each_row(template: object) -> EachRow:
    """Return the place of the list of rows; each row takes the form of `template`."""
    return EachRow(template)


def parameter(name: str, *, as_number: bool = False) -> ParameterValue:
    """Return the place of a parameter's value, such as the id of a list, which the DAG gives to the operator.

    Args:
        name: of the parameter.
        as_number: a text of digits, such as a template renders, is sent as a number.
    """
    return ParameterValue(name, as_number)
