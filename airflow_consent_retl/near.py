"""When two names resemble each other so much that one may be a slip for the other.

Holds the one notion of a near match that every suggestion and every refusal uses. Never decides what follows from it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import TypeVar

from rapidfuzz.distance import DamerauLevenshtein

Name = TypeVar("Name", bound=str)

_WITHOUT_SEPARATORS = str.maketrans("", "", "_-. :")
_SHORT_NAME_CHARACTERS = 5


def resembles(name: str, other: str) -> bool:
    """Tell whether two different names differ by case, separators or an edit or two.

    One edit (insertion, deletion, substitution, swap of neighbours) for names of up to five characters, two for
    longer ones, counted after case and separators (`_`, `-`, `.`, `:`, space) are dropped, on the longer of the two.
    Names without a character in common never resemble each other.
    """
    if name == other:
        return False
    folded, other_folded = _folded(name), _folded(other)
    if folded == other_folded:
        return True
    edits = DamerauLevenshtein.distance(folded, other_folded)
    shorter, longer = sorted((len(folded), len(other_folded)))
    return edits < shorter and edits <= (1 if longer <= _SHORT_NAME_CHARACTERS else 2)


def differs_in_form_only(name: str, other: str) -> bool:
    """Tell whether two different names are the same but for case and separators."""
    return name != other and _folded(name) == _folded(other)


def nearest(name: str, candidates: Iterable[Name]) -> Name | None:
    """Return the candidate that `name` most resembles, or None; the first by alphabet where several are as near."""
    near = [candidate for candidate in candidates if resembles(name, candidate)]
    return min(near, key=lambda candidate: (_edits(name, candidate), candidate), default=None)


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """Return the end of a message, ", did you mean `x`?", or an empty text when nothing is near."""
    near = nearest(name, candidates)
    return "" if near is None else f", did you mean `{near}`?"


def destinations_resemble(name: str, other: str) -> bool:
    """Tell whether two different destinations resemble each other, comparing `base:instance` part by part.

    Instances of one destination are compared by their instance alone. A destination and an instance of it do not
    resemble each other: the one covers the other.
    """
    base, _, instance = name.partition(":")
    other_base, _, other_instance = other.partition(":")
    if base == other_base:
        return bool(instance) and bool(other_instance) and resembles(instance, other_instance)
    return resembles(base, other_base) or resembles(name, other)


def nearest_destination(name: str, candidates: Iterable[Name]) -> Name | None:
    """Return the destination that `name` most resembles, or None."""
    near = [candidate for candidate in candidates if destinations_resemble(name, candidate)]
    return min(near, key=lambda candidate: (_edits(name, candidate), candidate), default=None)


def _edits(name: str, other: str) -> tuple[int, int]:
    return DamerauLevenshtein.distance(_folded(name), _folded(other)), DamerauLevenshtein.distance(name, other)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().translate(_WITHOUT_SEPARATORS)
