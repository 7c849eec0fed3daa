"""The people of one model who were forgotten, recognised by the keyed digests of their ids.

A miss would send a forgotten person again, so ids are compared generously: case, white space at the ends, accents and
the scale of decimals do not count. `WarehouseConsent` has the same digest in SQL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from airflow_consent_retl.consent.match_forms import WHITE_SPACE, MatchForm, in_form

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORM = MatchForm.FOLDED
_ASCII_SPACE = "".join(one for one in WHITE_SPACE if one.isascii())
# The form in which warehouses write an id: `Dialect.person`.
_TRAILING_ZEROS = r"\.?0+$"


class ForgottenPeople:
    """The forgotten people of one model.

    Args:
        salts: derived from each digest key of the deployment. The list shows no one to a reader who has no salt.
        digests: SHA-256 in hex, of a salt, `:` and the folded text of an id.
    """

    def __init__(self, salts: Sequence[str], digests: Collection[str]) -> None:
        self.salts = tuple(salts)
        self.digests = frozenset(digests)

    def __bool__(self) -> bool:
        return bool(self.digests)

    def only(self, digests: Collection[str]) -> ForgottenPeople:
        """Return those of these people who are in the model too."""
        return ForgottenPeople(self.salts, self.digests.intersection(digests))

    def among(self, ids: pa.Array) -> NDArray[np.bool_]:
        """Return for each id whether its person was forgotten; False for NULL."""
        marks = np.zeros(len(ids), dtype=np.bool_)
        for row, _ in self._recognised(ids):
            marks[row] = True
        return marks

    def found(self, ids: pa.Array) -> set[str]:
        """Return the digests of the forgotten people among some ids."""
        return {digest for _, digest in self._recognised(ids)}

    def _recognised(self, ids: pa.Array) -> Iterator[tuple[int, str]]:
        if not self.digests or not len(ids):
            return
        texts = folded_ids(ids).cast(pa.binary()).to_pylist()
        for salt in self.salts:
            begun = hashlib.sha256(f"{salt}:".encode())
            for row, text in enumerate(texts):
                if text is not None:
                    hashed = begun.copy()
                    hashed.update(text)
                    if (digest := hashed.hexdigest()) in self.digests:
                        yield row, digest


NOBODY = ForgottenPeople((), ())


def digest_of(salt: str, folded: str) -> str:
    """Return the digest by which a person is on the list.

    Args:
        salt: of the digest key.
        folded: the text of the id, from `folded_ids` or in `FORM`.
    """
    return hashlib.sha256(f"{salt}:{folded}".encode()).hexdigest()


def folded_ids(ids: pa.Array) -> pa.Array:
    """Return the text of each id in the form in which people are recognised; NULL for NULL and for blank text."""
    texts = _texts(ids)
    if pt.is_integer(ids.type):
        return texts
    folded = pc.ascii_lower(pc.ascii_trim(texts, _ASCII_SPACE))
    others = pc.fill_null(pc.invert(pc.string_is_ascii(texts)), False)
    if pc.any(others).as_py():
        # Few ids have letters of other scripts, and Arrow folds them in another way.
        slowly = pa.array([in_form(text, FORM) for text in texts.filter(others).to_pylist()], pa.string())
        folded = pc.replace_with_mask(folded, others, slowly)
    return pc.if_else(pc.equal(folded, ""), None, folded)


def _texts(ids: pa.Array) -> pa.Array:
    if pt.is_binary(ids.type) or pt.is_large_binary(ids.type) or pt.is_fixed_size_binary(ids.type):
        return pa.array([None if one is None else f"\\x{one.hex()}" for one in ids.to_pylist()], pa.string())
    texts = ids.cast(pa.string())
    if not pt.is_decimal(ids.type):
        return texts
    return pc.if_else(pc.match_substring(texts, "."), pc.replace_substring_regex(texts, _TRAILING_ZEROS, ""), texts)
