"""Consent formats as Python, in the form in which a DAG author writes them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from airflow_consent_retl.consent import BooleanColumn
from airflow_consent_retl.migration.dag_text import text_of


def code_of(format_: object) -> str:
    """Return a format as Python: `OptOut("unsubscribed")`. A boolean column is its name."""
    if isinstance(format_, BooleanColumn):
        return text_of(format_.column)
    return f"{type(format_).__name__}({', '.join(_arguments(format_))})"


def names_in(format_: object) -> set[str]:
    """Return the names of the formats that a format's code uses."""
    inner = getattr(format_, "signal", None)
    found = set() if isinstance(format_, BooleanColumn) else {type(format_).__name__}
    return found if inner is None else found | names_in(inner)


def _arguments(format_: object) -> Iterator[str]:
    for name, parameter in inspect.signature(type(format_)).parameters.items():
        value = getattr(format_, name)
        if value == parameter.default or (not value and parameter.default in ((), None)):
            continue
        text = text_of(value) if isinstance(value, str | int | tuple | None) else code_of(value)
        # The default of a path is dotted text, and a format keeps its keys.
        if name == "path" and isinstance(parameter.default, str) and value == tuple(parameter.default.split(".")):
            continue
        yield text if name in ("column", "signal") else f"{name}={text}"
