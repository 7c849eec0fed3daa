"""The shapes of a column's values: how many are e-mails, times, JSON objects, known words and so on. Shows no value."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_consent_retl.checking.discovery.consent_words import literal
from airflow_consent_retl.consent.strict_json import MalformedJsonError, read_json

if TYPE_CHECKING:
    from airflow_consent_retl.checking.discovery.sampled_model import SampledColumn

_TEXTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("blank", re.compile(r"\s*")),
    ("e-mail", re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")),
    ("UUID", re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")),
    ("digest", re.compile(r"(0x)?([0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64})")),
    ("time", re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?(\.\d+)?)?")),
    ("time with a zone", re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?\s?(Z|[+-]\d\d:?\d\d)")),
    ("US Privacy string", re.compile(r"1[YN-]{3}")),
    ("phone number", re.compile(r"\+?[\d ()/.-]{7,20}")),
    ("two capital letters", re.compile(r"[A-Z]{2}")),
    ("region code", re.compile(r"[A-Z]{2}-[A-Z0-9]{1,3}")),
    ("URL", re.compile(r"https?://\S+")),
    ("consent cookie", re.compile(r"(.*&)?groups=[^&]*(&.*)?", re.DOTALL)),
    ("GPP string", re.compile(r"D[A-Za-z0-9_-]+(~[A-Za-z0-9_.-]+)+|D[A-Za-z0-9_-]+~[^~]*")),
    ("TC string", re.compile(r"C[A-Za-z0-9_-]{30,}(\.[A-Za-z0-9_-]+)*")),
)
# It begins as JSON does, and is none.
_COOKIEBOT = re.compile(r"(\{|%7B)stamp:")
_EPOCH_S, _EPOCH_MS = range(946_684_800, 4_102_444_800), range(946_684_800_000, 4_102_444_800_000)
# More different words than any list of consent states has.
_MOST_WORDS = 20
# Values of these shapes identify people, whatever the column is called.
PERSONAL_SHAPES = frozenset({"e-mail", "UUID", "digest", "URL"})


@dataclass(frozen=True, slots=True)
class LookedAt:
    """A column whose values were looked at.

    Args:
        column: as it was sampled.
        shapes: how many values have each shape; NULL has none.
        words: the different values that are words of the fixed list, exactly as they are written, with their rows.
        documents: the different texts that are JSON objects or arrays, read, with their rows.
    """

    column: SampledColumn
    shapes: Counter[str] = field(default_factory=Counter)
    words: Counter[str | int] = field(default_factory=Counter)
    documents: list[tuple[object, int]] = field(default_factory=list)

    @classmethod
    def of(cls, column: SampledColumn) -> LookedAt:
        """Look at a column."""
        found = cls(column)
        for value, rows in Counter(column.values or ()).items():
            if value is None:
                continue
            found.shapes[found.shape_of(value, rows)] += rows
        return found

    @property
    def name(self) -> str:
        """The column's name."""
        return self.column.name

    @property
    def filled(self) -> int:
        """The number of rows with a value."""
        return self.shapes.total()

    def share(self, *shapes: str) -> float:
        """Return the share of the values that have one of the shapes, 0 to 1."""
        return sum(self.shapes[shape] for shape in shapes) / self.filled if self.filled else 0.0

    @property
    def is_personal(self) -> bool:
        """True if one of its values identifies a person."""
        return any(self.shapes[shape] for shape in PERSONAL_SHAPES)

    @property
    def has_only_words(self) -> bool:
        """True if every value is a known word or blank, and there are not more words than states."""
        return 0 < len(self.words) <= _MOST_WORDS and self.share("known word", "blank") == 1

    def shape_of(self, value: object, rows: int) -> str:
        """Return the shape of a value, and note the word or the document that it is."""
        if isinstance(value, bool):
            return "boolean"
        if not isinstance(value, str | int):
            return type(value).__name__ if not hasattr(value, "tzinfo") else "time with a zone"
        if literal(value) is not None:
            self.words[value] += rows
            return "known word"
        return _number_shape(value) if isinstance(value, int) else self._text_shape(value, rows)

    def _text_shape(self, text: str, rows: int) -> str:
        if _COOKIEBOT.match(text):
            return "Cookiebot cookie"
        if text.lstrip()[:1] in ("{", "["):
            try:
                document = read_json(text)
            except MalformedJsonError:
                return "broken JSON"
            self.documents.append((document, rows))
            return "JSON array" if isinstance(document, list) else "JSON object"
        return next((shape for shape, pattern in _TEXTS if pattern.fullmatch(text)), "other text")


def _number_shape(number: int) -> str:
    shapes: tuple[tuple[str, Callable[[int], bool]], ...] = (
        ("seconds since 1970", _EPOCH_S.__contains__),
        ("milliseconds since 1970", _EPOCH_MS.__contains__),
        ("small number", range(2**15).__contains__),
    )
    return next((shape for shape, has_it in shapes if has_it(number)), "number")
