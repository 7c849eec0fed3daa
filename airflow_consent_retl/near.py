"""The one definition of a near match between two names: so similar that one may be a misspelling of the other.

Every suggestion and every refusal uses this definition. This module never decides what follows from a match.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

Name = TypeVar("Name", bound=str)

_WITHOUT_SEPARATORS = str.maketrans("", "", "_-.:")
# Spaces, and characters that no one sees: a zero-width space, a byte order mark.
_UNSEEN = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf"})
# Letters of other alphabets that look like Latin ones, and digits that look like letters.
_LOOK_ALIKES = str.maketrans(
    "\u0410\u0412\u0415\u0405\u0406\u0408\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425"
    "\u0430\u0432\u0435\u0455\u0456\u0458\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0501\u04bb\u051b\u051d"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
    "\u03b1\u03b9\u03ba\u03bd\u03bf\u03c1\u03c5\u03c7"
    "01",
    "abesijkmhopctyx" + "abesijkmhopctyxdhqw" + "abezhikmnoptyx" + "aikvopux" + "ol",
)
_SHORT_NAME_CHARACTERS = 5


def resembles(name: str, other: str) -> bool:
    """Return whether two different names differ only by case, by separators or by one or two edits.

    An edit is an insertion, a deletion, a substitution or a swap of neighbours. Names of up to five characters may
    differ by one edit, longer names by two; the longer of the two names counts. Everything that
    `differs_in_form_only` ignores is removed first. Names without a common character never resemble each other.
    """
    if name == other:
        return False
    folded, other_folded = _folded(name), _folded(other)
    if folded == other_folded:
        return True
    shorter, longer = sorted((len(folded), len(other_folded)))
    most_edits = min(shorter - 1, 1 if longer <= _SHORT_NAME_CHARACTERS else 2)
    return _fewest_edits(folded, other_folded) <= most_edits and _distance(folded, other_folded) <= most_edits


def differs_in_form_only(name: str, other: str) -> bool:
    """Return whether two different names differ only by their form.

    The form is: case, separators (`_`, `-`, `.`, `:`), white space and invisible characters, Unicode's form, and
    letters that look the same (a Cyrillic letter and a Latin one; `0` and `O`).
    """
    return name != other and _folded(name) == _folded(other)


def nearest(name: str, candidates: Iterable[Name]) -> Name | None:
    """Return the candidate that `name` resembles most, or None. Of equally near candidates, the first by alphabet."""
    near = [candidate for candidate in candidates if resembles(name, candidate)]
    return min(near, key=lambda candidate: (_edits(name, candidate), candidate), default=None)


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """Return the end of a message, ", did you mean `x`?", or an empty text if nothing is near."""
    near = nearest(name, candidates)
    return "" if near is None else f", did you mean `{near}`?"


def destinations_resemble(name: str, other: str) -> bool:
    """Return whether two different destinations resemble each other. `base:instance` is compared part by part.

    Two instances of one destination are compared by their instance names only. A destination and one of its instances
    do not resemble each other, because the destination covers the instance.
    """
    base, _, instance = name.partition(":")
    other_base, _, other_instance = other.partition(":")
    if base == other_base:
        return bool(instance) and bool(other_instance) and resembles(instance, other_instance)
    return resembles(base, other_base) or resembles(name, other)


def nearest_destination(name: str, candidates: Iterable[Name]) -> Name | None:
    """Return the destination that `name` resembles most, or None."""
    near = [candidate for candidate in candidates if destinations_resemble(name, candidate)]
    return min(near, key=lambda candidate: (_edits(name, candidate), candidate), default=None)


def _edits(name: str, other: str) -> tuple[int, int]:
    return _distance(_folded(name), _folded(other)), _distance(name, other)


def _fewest_edits(name: str, other: str) -> int:
    """Return a number of edits that is enough for no two names: each adds or takes away one character at most."""
    characters, other_characters = Counter(name), Counter(other)
    return max((characters - other_characters).total(), (other_characters - characters).total())


def _distance(name: str, other: str) -> int:
    # Late: names of a correct policy rarely come so near.
    from rapidfuzz.distance import DamerauLevenshtein

    return DamerauLevenshtein.distance(name, other)


def _folded(name: str) -> str:
    seen = "".join(character for character in name if unicodedata.category(character) not in _UNSEEN)
    letters = unicodedata.normalize("NFKC", seen).translate(_LOOK_ALIKES).casefold()
    return letters.translate(_WITHOUT_SEPARATORS)
