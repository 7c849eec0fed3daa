"""JSON text, read strictly: text that two readers could read differently is refused or made visible.

`json.loads` keeps the last of duplicate keys and accepts NaN; here a repeated key is remembered and NaN is no JSON.
Numbers carry no meaning in this package's documents and come back as floats.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import NoReturn

# More than engines take for surely shallow (`filtering.signatures`, `databases.dialect`), and less than Python reads.
DEEPEST = 500
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


class MalformedJsonError(ValueError):
    """The text is not JSON. The message names a position, never a value."""


class JsonObject(dict[str, object]):
    """One JSON object. `repeated` holds the keys that occur more than once; their value here means nothing."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        occurrences = Counter(key for key, _ in pairs)
        self.repeated = tuple(key for key, count in occurrences.items() if count > 1)


def read_json(text: str) -> object:
    """Return what the text says, objects as `JsonObject`. Raises `MalformedJsonError`."""
    if _is_too_deep(text):
        raise MalformedJsonError("nested too deeply")
    try:
        # A reader of integers that has no limit on digits, unlike `int`.
        return json.loads(text, object_pairs_hook=JsonObject, parse_constant=_refuse_constant, parse_int=float)
    except json.JSONDecodeError as error:
        raise MalformedJsonError(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise MalformedJsonError("nested too deeply") from None


def _is_too_deep(text: str) -> bool:
    """Tell whether brackets open more than `DEEPEST` times within each other."""
    # Python's own limit depends on the caller's depth, and objects that are finalised at the limit fail.
    if text.count("[") + text.count("{") <= DEEPEST:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEEPEST:
            return True
    return False


def _refuse_constant(constant: str) -> NoReturn:
    raise MalformedJsonError(f"{constant} is not JSON")
