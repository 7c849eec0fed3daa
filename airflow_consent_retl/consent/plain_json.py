"""Plain JSON values: whole numbers as integers, and one text for each value."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping


def canonical(value: object) -> str:
    """Return plain JSON values as one text: equal texts are equal values."""
    return json.dumps(whole_numbers(value), sort_keys=True)


def whole_numbers(value: object) -> object:
    """Return a JSON value with integers where the strict reader made whole floats of them."""
    if isinstance(value, Mapping):
        return {key: whole_numbers(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [whole_numbers(one) for one in value]
    is_whole = isinstance(value, float) and math.isfinite(value) and value.is_integer()
    return int(value) if is_whole and isinstance(value, float) else value
