"""The forms in which keys are compared where a miss permits: folded text, e-mail addresses, phone numbers, digests.

A join whose match permits compares keys exactly. A suppression list permits whoever is not on it, so its keys are
compared generously: two keys that may be the same are the same. Pure; `databases.dialect` has the same forms in SQL.
"""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from functools import cache

# Spaces of every kind and the characters without a width.
WHITE_SPACE = "".join(chr(code) for code in (*range(9, 14), *range(28, 33), 0x85, 0xA0, 0x1680, *range(0x2000, 0x200E)))
WHITE_SPACE += "\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
_NO_WHITE_SPACE = str.maketrans("", "", WHITE_SPACE)
_HEX_MARK = ("0x", "\\x")
PHONE_DIGITS = 9
# What does not count in a phone number: everything before the first digit that is not 0, and what is no digit.
_UNCOUNTED = re.compile(r"\A[^1-9]+|[^0-9]")
# Single letters that stand for several: no other letter replaces them.
_LIGATURES = "\u00df\u1e9e\u0132\u0133\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06"
EXPANDED = {letter: unicodedata.normalize("NFKC", letter).casefold() for letter in _LIGATURES}
# Ideographs, Hangul and private characters have neither case nor accents.
_WITHOUT_FORMS = (range(0x3400, 0xA000), range(0xAC00, 0xF900))


class MatchForm(StrEnum):
    """The form in which a list's keys are compared with a model's."""

    # White space at the ends, case, accents and width do not count.
    FOLDED = "folded"
    # As folded, and no white space counts.
    EMAIL = "email"
    # The last nine digits count, without leading zeros.
    PHONE = "phone"
    # As folded, without a leading `0x` or `\x`.
    SHA256 = "sha256"
    # Every byte counts.
    EXACT = "exact"


@cache
def folding() -> tuple[str, str]:
    """Return characters and what each is replaced by; characters past the end of the second text are deleted.

    Letters lose their case, their accents and their width (as in Unicode's form NFKC), combining marks are deleted,
    digits of all scripts become ASCII. A letter therefore folds alike whether it is composed or decomposed. Letters of
    `EXPANDED` are not among them.
    """
    replaced: dict[str, str] = {}
    deleted: list[str] = []
    for code in range(0x41, 0x10000):
        if 0xD800 <= code < 0xE000 or any(code in part for part in _WITHOUT_FORMS):
            continue
        letter = chr(code)
        digit = unicodedata.decimal(letter, None)
        folded = letter.casefold() if len(letter.casefold()) == 1 else letter.lower()
        base = [one for one in unicodedata.normalize("NFKD", folded).casefold() if not unicodedata.combining(one)]
        if not base:
            deleted.append(letter)
        elif digit is not None:
            replaced[letter] = str(digit)
        elif len(base) == 1 and base[0] != letter and not base[0].isspace():
            replaced[letter] = base[0]
    return "".join([*replaced, *deleted]), "".join(replaced.values())


@cache
def _table() -> dict[int, int | None]:
    known, by = folding()
    return str.maketrans(known[: len(by)], by, known[len(by) :])


def in_form(text: str, form: MatchForm = MatchForm.FOLDED) -> str | None:
    """Return a key in the form in which it is compared; None if it is no key of that form."""
    if form is MatchForm.EXACT:
        return text
    folded = text.strip(WHITE_SPACE).translate(_table())
    for letter, letters in EXPANDED.items():
        folded = folded.replace(letter, letters)
    if form is MatchForm.EMAIL:
        folded = folded.translate(_NO_WHITE_SPACE)
    if form is MatchForm.SHA256 and folded.startswith(_HEX_MARK):
        folded = folded[2:]
    if form is MatchForm.PHONE:
        folded = _UNCOUNTED.sub("", folded)[-PHONE_DIGITS:]
    return folded or None
