"""The one definition of a near match between two names: so similar that one may be a misspelling of the other.

Every suggestion and every refusal uses this definition. This module never decides what follows from a match.
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
    """Return whether two different names differ only by case, by separators or by one or two edits.

    An edit is an insertion, a deletion, a substitution or a swap of neighbours. Names of up to five characters may
    differ by one edit, longer names by two; the longer of the two names counts. Case and separators (`_`, `-`, `.`,
    `:`, space) are removed first. Names without a common character never resemble each other.
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
    """Return whether two different names differ only by case and separators."""
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
    return DamerauLevenshtein.distance(_folded(name), _folded(other)), DamerauLevenshtein.distance(name, other)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().translate(_WITHOUT_SEPARATORS)
