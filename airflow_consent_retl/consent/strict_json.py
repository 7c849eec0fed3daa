"""A strict reader of JSON text: text that two readers could read differently is refused or made visible.

`json.loads` keeps the last of duplicate keys and accepts NaN. This reader notes repeated keys and refuses NaN. Numbers
are returned as floats, which have no meaning in most documents.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from itertools import accumulate
from typing import NoReturn, Self

import msgspec

# More than the depth that engines treat as surely shallow (`filtering.signatures`, `databases.dialect`), and less than
# the depth that Python can read.
DEEPEST = 500
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_INT64_END = 2**63
_BRACKET = re.compile(r"[\[\]{}]")
_STEPS = {"[": 1, "{": 1, "]": -1, "}": -1}


# Enough for every 64-bit integer, however it is written.
_LONGEST_NUMBER = 40


class JsonNumber(float):
    """A number of a JSON text. JSON does not distinguish `1` and `1.0`."""

    __slots__ = ("text",)

    text: str

    def __new__(cls, text: str) -> Self:
        """Read a number's text."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    @property
    def whole(self) -> int | None:
        """The integer that the number is exactly; None if it is none, or too long for one of 64 bits."""
        if len(self.text) > _LONGEST_NUMBER or abs(self) > _INT64_END:
            return None
        try:
            exact = Decimal(self.text)
            return int(exact) if exact == exact.to_integral_value() else None
        except InvalidOperation:
            return None


class MalformedJsonError(ValueError):
    """The text is not JSON. The message names a position, never a value."""


class JsonObject(dict[str, object]):
    """One JSON object. `repeated` are the keys that occur more than once; their values must not be used."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.repeated: tuple[str, ...] = ()
        # Nearly no object has a key twice, and counting takes longer than reading.
        if len(self) != len(pairs):
            occurrences = Counter(key for key, _ in pairs)
            self.repeated = tuple(key for key, count in occurrences.items() if count > 1)


def read_json(text: str, *, number: type[float] = float) -> object:
    """Return the value of a JSON text, with objects as `JsonObject`. Raises `MalformedJsonError`.

    Args:
        text: the JSON text.
        number: the class of numbers; `JsonNumber` where their exact value counts.
    """
    if _is_too_deep(text):
        raise MalformedJsonError("nested too deeply")
    try:
        # Integers are read as floats: `int` limits the number of digits.
        return json.loads(
            text,
            object_pairs_hook=JsonObject,
            parse_constant=_refuse_constant,
            parse_int=number,
            parse_float=number,
        )
    except json.JSONDecodeError as error:
        raise MalformedJsonError(_in_words(text, error)) from None
    except RecursionError:
        raise MalformedJsonError("nested too deeply") from None


# Several formats may read one text after the other.
@lru_cache(maxsize=1)
def read_document(text: str) -> object:
    """Return what `read_json` returns with `JsonNumber`, several times as fast; the caller changes nothing in it.

    Objects are plain dictionaries, and integers are `int`, if no object of the text has a key twice.
    """
    if "\\" not in text and not _is_too_deep(text):
        try:
            found = _FAST.decode(text)
        except ValueError:
            # It has other words for what is wrong.
            return read_json(text, number=JsonNumber)
        # INVARIANT: no key is lost. A lost pair would have lost its colon; without escapes, all others are still there.
        if text.count(":") == _AS_TEXT.encode(found).count(b":"):
            return found
    return read_json(text, number=JsonNumber)


def repeated_keys(found: dict[str, object]) -> tuple[str, ...]:
    """Return the keys that occur more than once in an object that was read."""
    return found.repeated if isinstance(found, JsonObject) else ()


def as_number(found: object) -> JsonNumber | None:
    """Return a number of `read_document`; None for any other value."""
    if type(found) is int:
        return JsonNumber(str(found))
    return found if isinstance(found, JsonNumber) else None


_FAST = msgspec.json.Decoder(float_hook=JsonNumber)
_AS_TEXT = msgspec.json.Encoder(enc_hook=lambda number: None)


def _in_words(text: str, error: json.JSONDecodeError) -> str:
    """Return what is wrong, and where. Python's own words for a comma before a closing bracket mislead."""
    closes = text[error.pos : error.pos + 1] in {"}", "]"}
    comma = len(text[: error.pos].rstrip()) - 1 if closes else error.pos
    if text[comma : comma + 1] == "," and (closes or "trailing comma" in error.msg):
        error = json.JSONDecodeError("a comma too many", text, comma)
    return f"{error.msg} (line {error.lineno}, column {error.colno})"


def _is_too_deep(text: str) -> bool:
    """Return whether brackets are nested deeper than `DEEPEST`."""
    # Python's own limit depends on the depth of the caller, and objects that are finalised at the limit fail.
    if text.count("[") + text.count("{") <= DEEPEST:  # pragma: no mutate: it only saves the walk
        return False
    without = _STRING.sub("", text)  # pragma: no mutate: any text without a bracket does
    depths = accumulate(map(_STEPS.__getitem__, _BRACKET.findall(without)))
    return any(depth > DEEPEST for depth in depths)


def _refuse_constant(constant: str) -> NoReturn:
    raise MalformedJsonError(f"{constant} is not JSON")
