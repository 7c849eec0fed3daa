"""JSON text read strictly: what two readers could read differently is refused or made visible.

`json.loads` keeps the last of duplicate keys and accepts NaN; here a repeated key is remembered and NaN is no JSON.
Numbers carry no meaning in this package's documents and come back as floats.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import NoReturn


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
    try:
        # A reader of integers that has no limit on digits, unlike `int`.
        return json.loads(text, object_pairs_hook=JsonObject, parse_constant=_refuse_constant, parse_int=float)
    except json.JSONDecodeError as error:
        raise MalformedJsonError(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise MalformedJsonError("nested too deeply") from None


def _refuse_constant(constant: str) -> NoReturn:
    raise MalformedJsonError(f"{constant} is not JSON")
