"""Subjects of records: 64 bits for each person, from the id and the deployment's secret key.

With the key and an id, the records of a person can be looked up. Without the key, no one can find out whose they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.canonical import plain
from airflow_consent_retl.values.ids import id_hashes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.storage.decision_log import SubjectKey

# Decisions keep this many bits of a subject: the other ones number the decision.
DECIDED_BITS = 52
DECIDED_MASK = np.uint64((1 << 64) - (1 << (64 - DECIDED_BITS)))
DIGEST_DIGITS = DECIDED_BITS // 4
_BLOCK_ROWS = 16_384
_HEX_VALUES = np.zeros(256, np.uint64)
_HEX_VALUES[list(b"0123456789abcdef")] = np.arange(16, dtype=np.uint64)
_WHOLE_NUMBER = r"^(0|-?[1-9][0-9]{0,17})$"
_TRAILING_ZEROS = r"\.?0+$"


class RecordKey:
    """The key of subjects.

    The 64 bits are the first ones of AES-256 over a hash of the id. In a warehouse, where the key may not be used, they
    are the first ones of SHA-256 over a salt and the id's text.

    Args:
        key: the deployment's key.
    """

    def __init__(self, key: SubjectKey) -> None:
        secret = hashlib.sha256(f"records:{key.salt('records')}".encode()).digest()
        # One block for each id, and each id only once: there is nothing that chaining would hide.
        self._cipher = Cipher(algorithms.AES(secret), modes.ECB())  # noqa: S305
        self.key_id = key.key_id
        self.warehouse_salt = key.salt("records in a warehouse")

    def subjects(self, ids: pa.Array) -> NDArray[np.uint64]:
        """Return the subject of each id; no id is NULL.

        A decimal without digits behind the point has the subject of the same integer.
        """
        hashes = _hashes(plain(ids))
        found = np.empty(len(hashes), np.uint64)
        blocks = np.zeros((min(len(hashes), _BLOCK_ROWS), 2), np.dtype("<u8"))
        # The cipher wants room for a block more than it writes.
        encrypted = np.empty((len(blocks) + 1, 2), np.dtype("<u8"))
        encryptor = self._cipher.encryptor()
        for start in range(0, len(hashes), _BLOCK_ROWS):
            some = hashes[start : start + _BLOCK_ROWS]
            blocks[: len(some), 0] = some
            encryptor.update_into(blocks[: len(some)].data.cast("B"), encrypted.data.cast("B"))
            found[start : start + len(some)] = encrypted[: len(some), 0]
        return found

    def of_person(self, subject: str | int) -> frozenset[int]:
        """Return every subject that records of a person may have: the id as a number, as text, and in a warehouse."""
        text = str(subject)
        forms = [pa.array([text])]
        if re.fullmatch(_WHOLE_NUMBER, text):
            forms.append(pa.array([int(text)], pa.int64()))
        elif re.fullmatch(r"[1-9][0-9]{18,19}", text) and int(text) < 1 << 64:
            forms.append(pa.array([int(text)], pa.uint64()))
        whole = {int(self.subjects(form)[0]) for form in forms}
        in_warehouse = hashlib.sha256(f"{self.warehouse_salt}:{text}".encode()).hexdigest()
        of_warehouse = subjects_of_digests(pa.array([in_warehouse[:DIGEST_DIGITS]]))
        decided = {int(of_warehouse[0]), *(int(np.uint64(one) & DECIDED_MASK) for one in whole)}
        return frozenset(whole | decided)


@dataclass(frozen=True, slots=True)
class RecordedPerson:
    """The subjects that records of one person may have.

    Args:
        by_key: under each known key, by the key's id.
    """

    by_key: Mapping[str, frozenset[int]]

    @classmethod
    def of(cls, subject: str | int, keys: Sequence[RecordKey]) -> RecordedPerson:
        """Return the person with an id."""
        return cls({key.key_id: key.of_person(subject) for key in keys})

    def under(self, key_id: str, *, place: str) -> frozenset[int]:
        """Return the person's subjects under one key.

        Args:
            key_id: of the key.
            place: of the records, for the message.

        Raises:
            ConfigurationError: the key is not known.
        """
        if key_id not in self.by_key:
            raise ConfigurationError(
                f"{place}: these records were written under digest key {key_id}, and only "
                f"{', '.join(self.by_key)} is known: the person cannot be found in them"
            )
        return self.by_key[key_id]


def subjects_of_digests(digests: pa.Array) -> NDArray[np.uint64]:
    """Return the subjects in decisions of a warehouse, from the first `DIGEST_DIGITS` digits of the ids' digests."""
    texts = np.frombuffer("".join(digests.to_pylist()).encode(), np.uint8).reshape(-1, DIGEST_DIGITS)
    subjects = np.zeros(len(texts), np.uint64)
    for place in range(DIGEST_DIGITS):
        subjects = (subjects << np.uint64(4)) | _HEX_VALUES[texts[:, place]]
    return subjects << np.uint64(64 - DECIDED_BITS)


def _hashes(ids: pa.Array) -> NDArray[np.uint64]:
    if pt.is_decimal(ids.type):
        return _decimal_hashes(ids)
    if pt.is_integer(ids.type) or pt.is_string(ids.type) or pt.is_binary(ids.type):
        return id_hashes(ids)
    return id_hashes(ids.cast(pa.string()))


def _decimal_hashes(ids: pa.Array) -> NDArray[np.uint64]:
    texts = ids.cast(pa.string())
    if ids.type.scale > 0:
        texts = pc.replace_substring_regex(texts, _TRAILING_ZEROS, "")
    hashes = id_hashes(texts)
    whole = np.flatnonzero(np.asarray(pc.match_substring_regex(texts, _WHOLE_NUMBER)))
    if len(whole):
        hashes[whole] = id_hashes(texts.take(pa.array(whole)).cast(pa.int64()))
    return hashes
