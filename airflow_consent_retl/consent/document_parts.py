"""The parts of a JSON document that a consent format reads, as engines cut them out.

An engine may replace a document by a smaller one that has only the part, because a format reads nothing else. It puts a
0 or `[]` where a value cannot be what the format expects, so that unreadable values do not differ needlessly. This
module describes parts, and neither reads nor decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# The values that an engine keeps at the end of a path: booleans and null; all but objects and arrays; or all.
Leaf = Literal["boolean", "scalar", "whole"]


@dataclass(frozen=True, slots=True)
class DocumentPart:
    """The part of one JSON value.

    With `keys`, the part of an object is these keys, each with its own part. With `items`, the part of an array is the
    part of each entry, in any order. A value of another kind than these becomes 0, and null stays null. Without keys
    and items, `leaf` says what is kept: `boolean` puts 0 in place of everything but booleans and null, `scalar` puts
    `[]` in place of objects and arrays, and `whole` keeps everything. With `names`, an object that lacks one of the
    keys has its other keys too, each with any value: a missing key may be there in another form.
    """

    keys: tuple[tuple[str, DocumentPart], ...] = ()
    items: DocumentPart | None = None
    leaf: Leaf = "scalar"
    names: bool = False

    @property
    def is_leaf(self) -> bool:
        """True if the part is the end of a path."""
        return not self.keys and self.items is None


SCALAR, BOOLEAN, WHOLE = (DocumentPart(leaf=leaf) for leaf in ("scalar", "boolean", "whole"))


def part_along(path: Sequence[str], end: DocumentPart = SCALAR) -> DocumentPart:
    """Return the part that the keys of a path lead to."""
    for key in reversed(path):
        end = DocumentPart(((key, end),))
    return end


def with_names(part: DocumentPart) -> DocumentPart:
    """Return a part with the names of the other keys, in each of its objects."""
    keys = tuple((key, with_names(below)) for key, below in part.keys)
    return DocumentPart(keys, part.items and with_names(part.items), part.leaf, names=bool(keys))


def parts_together(*parts: DocumentPart) -> DocumentPart:
    """Return several parts of the same value as one. No part may end where another goes on."""
    keys: dict[str, DocumentPart] = {}
    for part in parts:
        for key, below in part.keys:
            keys[key] = parts_together(keys[key], below) if key in keys else below
    items = [part.items for part in parts if part.items is not None]
    return DocumentPart(tuple(keys.items()), items[0] if items else None, parts[0].leaf)
