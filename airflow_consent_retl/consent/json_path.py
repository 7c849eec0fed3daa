"""JSON paths of a document's parts, and JSON's names for the types of values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def child(path: str, key: str) -> str:
    """Return the JSON path of a key: `$.destinations.lake`, or `$.destinations["google_ads:emea"]`."""
    return f"{path}.{key}" if _PLAIN_KEY.fullmatch(key) else f"{path}[{json.dumps(key)}]"


def type_name(value: object) -> str:
    """Return JSON's name for the type of a value, for messages that must not contain the value."""
    if value is None:
        return "null"
    # Booleans come before numbers, because Python's booleans are integers.
    for kind, name in _TYPE_NAMES:
        if isinstance(value, kind):
            return name
    return f"a {type(value).__name__}"


_TYPE_NAMES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),
    ((int, float), "a number"),
    (str, "text"),
    (Mapping, "an object"),
    ((list, tuple), "a list"),
)
