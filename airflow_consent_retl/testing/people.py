"""The made-up people that the checks send, with values that can be found again, and misleading texts and keys."""

from __future__ import annotations

from dataclasses import dataclass

CANARY = "canary7f3a"
"""Part of every value of every person: it may reach the destination, but no error, log or outcome."""


@dataclass(frozen=True, slots=True, order=True)
class Person:
    """A person who may be sent: the primary key, and one value that the destination keeps of them."""

    id: str
    text: str


def people(count: int, *, start: int = 0, text: str = "text") -> list[Person]:
    """Return `count` people; the same numbers are the same people, and another `text` gives each another value."""
    return [Person(f"{CANARY}-{number}", f"{CANARY} {text} {number}") for number in range(start, start + count)]


ODD_TEXTS = (
    "",
    " ",
    "  both sides  ",
    "Zoë 🦊",
    "é",
    "e\u0301",
    "مرحبا",
    "日本語",
    "\u202eright to left",
    "line\nbreak",
    "carriage\r\nreturn",
    "\ttab",
    "quotes \" ' `",
    "back\\slash",
    "'; DROP TABLE people; --",
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "NULL",
    "null",
    "None",
    "nan",
    "true",
    "1e5",
    "0123",
    "12345678901234567890",
    "a\x00b",
    "\x1f",
    "\x7f",
    "\u2028",
    "\ufeff",
    "\ufffd",
    "\ufffe",
    "\U0010ffff",
    "%s %(id)s %%",
    "{} ${id} $1 :id ?",
    "<b>&amp;</b>",
    "a,b;c|d",
    "[1]",
    '{"id": 1}',
)
"""Texts that careless code misreads."""

ODD_IDS = (
    "a",
    "A",
    "aa",
    " a",
    "a ",
    "á",
    "a\u0301",
    "\uff41",
    "ß",
    "ss",
    "1",
    "01",
    "1.0",
    "1e0",
    "+1",
    "-1",
    "a'b",
    'a"b',
    "a\\b",
    "a,b",
    "a\nb",
    "a%",
    "_",
    "=a",
    "null",
    "true",
    "🦊",
)
"""Primary keys of different people, though a database or a reader may compare some of them as equal."""
