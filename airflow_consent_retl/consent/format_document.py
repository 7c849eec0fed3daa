"""One declared consent format as a JSON document, and the checks that a format of your own can be one.

    {"format": "BooleanColumn", "column": "analytics_ok"}
    {"format": "our_formats:LoyaltyCard", "column": "card", "level": 2}
    {"format": "OptOut", "signal": {"format": "BooleanColumn", "column": "unsubscribed"}, "false_is_yes": false}

The document contains names of columns and declared values, and no value of a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.formats.format_registry import format_named, is_built_in, name_of_format
from airflow_consent_retl.consent.formats.opt_out import OptOut
from airflow_consent_retl.consent.formats.opt_outs import OptOuts
from airflow_consent_retl.consent.json_path import type_name
from airflow_consent_retl.consent.signals import CategorySignal, WholeConsent
from airflow_consent_retl.consent.switches import RowSwitches
from airflow_consent_retl.errors import PolicyError, Problem

if TYPE_CHECKING:
    from airflow_consent_retl.consent.formats.format_registry import Format

FormatDocument = dict[str, Any]


def format_document(declared: Format) -> FormatDocument:
    """Return the document of a declared format.

    Fields are in the order of the class, so that a format always has the same document.
    """
    parameters = fields(declared) if is_dataclass(declared) else ()
    return {"format": name_of_format(type(declared))} | {
        field.name: _parameter(value)
        for field in parameters
        if field.init and ((value := getattr(declared, field.name)) != field.metadata.get("omit", ...))
    }


def parse_signal(document: object) -> CategorySignal:
    """Return the format of one category from its document. Raises `PolicyError`, as the functions below do.

    The error means that the format is unknown or cannot be imported, does not accept its parameters, or is of another
    kind.
    """
    declared = _parse(document)
    if not isinstance(declared, CategorySignal):
        raise _other_kind(declared, "one category")
    return declared


def parse_whole(document: object) -> WholeConsent:
    """Return a format that contains all categories from its document."""
    declared = _parse(document)
    if not isinstance(declared, WholeConsent):
        raise _other_kind(declared, "all categories")
    return declared


def parse_switches(document: object) -> RowSwitches:
    """Return the switches of a row from their document."""
    declared = _parse(document)
    if not isinstance(declared, RowSwitches):
        raise _other_kind(declared, "a row's switches")
    return declared


def format_problems(declared: Format, path: str) -> list[Problem]:
    """Return the problems that would prevent loads and reports from reading a format of your own, before a row is read.

    Args:
        declared: a format.
        path: the path where it was declared.
    """
    if isinstance(declared, OptOut):
        return format_problems(declared.signal, path)
    if isinstance(declared, OptOuts):
        return format_problems(declared.whole, path)
    if is_built_in(type(declared)):  # pragma: no mutate: this only saves time
        return []
    return [Problem(path, message) for message in _class_problems(declared) or _parameter_problems(declared)]


def _class_problems(declared: Format) -> list[str]:
    name = name_of_format(type(declared))
    if not is_dataclass(declared) or "column" not in (field.name for field in fields(declared)):
        return [f"consent format `{name}` must be a dataclass with a field `column`"]
    if "<locals>" in name:
        return [f"consent format `{name}` is defined in a function: move it to the top of a module"]
    return []


def _parameter_problems(declared: Format) -> list[str]:
    document = format_document(declared)
    name = document["format"]
    wrong = [
        f"parameter `{parameter}` of consent format `{name}` is {type_name(value)}: expected text, a number, a "
        "boolean, None, or a tuple of these"
        for parameter, value in document.items()
        if not _is_plain(value)
    ]
    if wrong:
        return wrong
    try:
        found = _parse(document)
    except PolicyError as error:
        return [problem.message for problem in error.problems]
    if type(found) is type(declared) and found == declared:
        return []
    return [f"consent format `{name}` differs from the object that its module makes of its parameters"]


def _parse(document: object) -> Format:
    entry = document if isinstance(document, Mapping) else {}
    format_ = format_named(entry.get("format"))
    parameters = {name: _value(value) for name, value in entry.items() if name != "format"}
    try:
        return format_(**parameters)
    except TypeError:
        raise PolicyError([Problem("consent", f"{format_.__name__} does not accept its parameters")]) from None


def _other_kind(declared: Format, what: str) -> PolicyError:
    return PolicyError([Problem("consent", f"{type(declared).__name__} is not a format of {what}")])


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    # The exact types: JSON does not return a subclass, such as an enumeration's.
    return value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value))


def _parameter(value: Any) -> Any:
    return format_document(value) if isinstance(value, CategorySignal | WholeConsent) else value


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _parse(value)
    return tuple(map(_value, value)) if isinstance(value, list) else value
