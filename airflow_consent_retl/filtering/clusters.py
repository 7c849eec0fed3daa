"""The people of each cluster together: what they say, found in one pass over all rows, and joined to each row's own.

Only `consent` says what a signature means, and what the answers of a cluster make of one person's answer. Memory: 8
bytes for each cluster, or a little more where consent to very many categories is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent import NOTHING_SAID, PERSON, TOO_LARGE, LinkedSubject, Said, SubjectCode
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.values.buffers import values_of
from airflow_consent_retl.values.numbered import numbered

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.consent import ConsentPlan, Signature, Subject, SubjectStatus
    from airflow_consent_retl.filtering.signatures import SignatureReader
    from airflow_consent_retl.storage.forgotten import ForgottenPeople

    Key = tuple[SubjectStatus, Signature]

# Bits of a signed number of 64 bits, whose sign is not used.
_WORD_BITS = 62
_IS_NONE, _IS_TOO_LARGE = 0, 1


class ClusterAnswers:
    """What the people of each cluster say together.

    Args:
        clusters: their number; they are numbered from 1. A negative number is a cluster that is too large, and 0 none.
    """

    def __init__(self, clusters: int) -> None:
        self._clusters = clusters
        # Each name that occurs has a bit.
        self._bits: dict[tuple[str, str], int] = {}
        self._words: list[NDArray[np.int64]] = []
        self._numbers: NDArray[np.int64] = np.zeros(clusters + 1, dtype=np.int64)
        # What clusters say, by the number that `numbers` returns.
        self.found: list[Said] = [NOTHING_SAID, TOO_LARGE]
        # By category, the number of clusters in which one person says yes and another says no.
        self.clashes: dict[str, int] = {}

    def add(self, clusters: NDArray[np.int64], said: list[Said], who: NDArray[np.int64]) -> None:
        """Add what some rows say.

        Args:
            clusters: of the rows.
            said: what can be said.
            who: for each row, the place of what it says in `said`.

        Raises:
            RefusedError: there is no such cluster.
        """
        if len(clusters) and int(clusters.max()) > self._clusters:
            raise RefusedError("a row is in a cluster that its snapshot does not have")
        written = [self._written(one) for one in said]
        is_linked = clusters > 0
        for number in range(len(self._words)):
            bits = np.array([words[number] if number < len(words) else 0 for words in written], dtype=np.int64)[who]
            telling = np.flatnonzero(is_linked & (bits != 0))
            np.bitwise_or.at(self._words[number], clusters[telling], bits[telling])

    def settle(self) -> None:
        """Compute `found` and `clashes`, once everything was added."""
        for (kind, name), bit in self._bits.items():
            if kind == "yeses" and ("noes", name) in self._bits:
                both = int(np.count_nonzero(self._is_set(bit) & self._is_set(self._bits["noes", name])))
                if both:
                    self.clashes[name.partition(":")[2]] = both
        for (kind, _), bit in self._bits.items():
            if kind == "yeses":
                # A yes is never passed on: clusters that differ only in it say the same to others.
                self._words[bit // _WORD_BITS] &= ~np.int64(1 << bit % _WORD_BITS)
        if not self._words:
            return
        distinct, inverse = np.unique(np.stack(self._words, axis=1), axis=0, return_inverse=True)
        numbers = [self._number(tuple(words)) for words in distinct.tolist()]
        self._numbers = np.array(numbers, dtype=np.int64)[inverse.reshape(-1)]
        self._words = []

    def numbers(self, clusters: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for each row the place in `found` of what its cluster says."""
        return np.where(clusters < 0, _IS_TOO_LARGE, self._numbers[np.maximum(clusters, 0)])

    def _number(self, words: tuple[int, ...]) -> int:
        if not any(words):
            return _IS_NONE
        names: dict[str, set[str]] = {"noes": set(), "doubts": set()}
        for (kind, name), bit in self._bits.items():
            if words[bit // _WORD_BITS] >> bit % _WORD_BITS & 1:
                names[kind].add(name)
        self.found.append(Said(frozenset(names["noes"]), frozenset(names["doubts"])))
        return len(self.found) - 1

    def _written(self, said: Said) -> list[int]:
        words: list[int] = []
        for kind in ("noes", "doubts", "yeses"):
            for name in getattr(said, kind):
                bit = self._bits.setdefault((kind, name), len(self._bits))
                while len(self._words) <= bit // _WORD_BITS:
                    self._words.append(np.zeros(self._clusters + 1, dtype=np.int64))
                words += [0] * (bit // _WORD_BITS + 1 - len(words))
                words[bit // _WORD_BITS] |= 1 << bit % _WORD_BITS
        return words

    def _is_set(self, bit: int) -> NDArray[np.bool_]:
        is_set: NDArray[np.bool_] = (self._words[bit // _WORD_BITS] >> bit % _WORD_BITS & 1).astype(np.bool_)
        return is_set


class LinkedSignatures:
    """The signatures of rows, each with what the row's cluster says. First all rows are seen, then they are numbered.

    Args:
        plan: reads the signatures.
        clusters: the number of clusters.
    """

    def __init__(self, plan: ConsentPlan, clusters: int) -> None:
        self._plan = plan
        self._answers = ClusterAnswers(clusters)
        self._number_of: dict[Key, int] = {}
        self._keys: list[Key] = []
        self._said: list[Said] = []

    def signatures(self, codes: NDArray[np.int64], read: Callable[[int], Key]) -> NDArray[np.int64]:
        """Return the number of each row's signature.

        Args:
            codes: of the rows' signatures.
            read: returns the signature of a code.
        """
        distinct, places = numbered(codes)
        numbers = np.array([self._number(read(code)) for code in distinct.tolist()], dtype=np.int64)
        return numbers[places]

    def see(self, signatures: NDArray[np.int64], clusters: pa.Array) -> None:
        """Add what some rows say to those in their clusters."""
        self._answers.add(cluster_numbers(clusters), self._said, signatures)

    def settle(self) -> None:
        """From now on, rows can be numbered."""
        self._answers.settle()

    @property
    def clashes(self) -> dict[str, int]:
        """By category, the number of clusters in which one person says yes and another says no."""
        return self._answers.clashes

    def codes(self, signatures: NDArray[np.int64], clusters: pa.Array) -> NDArray[np.int64]:
        """Return for each row a number that stands for its signature and for what its cluster says."""
        return signatures * len(self._answers.found) + self._answers.numbers(cluster_numbers(clusters))

    def read(self, code: int) -> tuple[Subject, Signature]:
        """Return the subject, with what its cluster says, and the signature that a number of `codes` stands for."""
        number, linked = divmod(code, len(self._answers.found))
        subject, tokens = self._keys[number]
        said = self._answers.found[linked]
        return (subject if said is NOTHING_SAID else LinkedSubject(subject, said)), tokens

    def said_in(self, cluster: int | None) -> Said:
        """Return what a cluster says; None: no cluster."""
        numbers = self._answers.numbers(np.array([cluster or 0], dtype=np.int64))
        return self._answers.found[int(numbers[0])]

    def _number(self, key: Key) -> int:
        if key not in self._number_of:
            self._number_of[key] = len(self._keys)
            self._keys.append(key)
            self._said.append(self._plan.said(key[1], key[0]))
        return self._number_of[key]


def cluster_numbers(column: pa.Array) -> NDArray[np.int64]:
    """Return the number of each row's cluster, 0 for none."""
    return values_of(column.cast(pa.int64()).fill_null(0), np.int64)


def outsider_codes(rows: pa.RecordBatch, reader: SignatureReader, forgotten: ForgottenPeople) -> NDArray[np.int64]:
    """Return the codes of people who are linked to the model and not in it: what they have no column for is NULL.

    The status of the subject is part of a code, as for the model's rows: `code * len(SubjectCode) + subject`.
    """
    there = rows.schema.names
    read = {name: rows.column(name) if name in there else pa.nulls(rows.num_rows) for name in reader.columns}
    codes = reader.codes(pa.RecordBatch.from_pydict(read)) if read else np.zeros(rows.num_rows, dtype=np.int64)
    codes = codes * len(SubjectCode)
    if forgotten:
        codes[forgotten.among(rows.column(PERSON))] += SubjectCode.FORGOTTEN
    return codes
