"""The causes why delivered people are no longer permitted, read from the filter's decision log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent.removal import CauseRank, RemovalCause, removal_cause
from airflow_consent_retl.errors import ModelError, RefusedError
from airflow_consent_retl.values.buffers import values_of, words_of
from airflow_consent_retl.values.columns import cast

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.consent.removal import Required
    from airflow_consent_retl.filtering.permitted_files import FilePermittedRows
    from airflow_consent_retl.storage.decision_log import SubjectKey

# A signature whose rows the destination receives has no cause.
_RECEIVED = -1
_READ_ROWS = 262_144
_SIEVE_BITS = 20


class Causes:
    """The causes in one decision log. Each call of `of` reads the whole log once.

    Args:
        permitted: the permitted set whose log is read.
        key: the key of the log's digests.
        absent: the cause for people who are not in the model any more.
        required_before: the categories that the destination required at the last load; None: not known.
    """

    def __init__(
        self,
        permitted: FilePermittedRows,
        key: SubjectKey,
        *,
        absent: RemovalCause = RemovalCause.LEFT_MODEL,
        required_before: Required | None = None,
    ) -> None:
        self._permitted = permitted
        self._key = key
        self._absent = absent
        self._required_before = required_before
        self._by_signature: NDArray[np.int8] | None = None

    def of(self, ids: pa.Array) -> NDArray[np.int8]:
        """Return the `CauseRank` of each id; none of the ids may be permitted.

        A person with several rows has the strongest cause of any of them.

        Raises:
            ConfigurationError: the log was written under an unknown key.
            RefusedError: the log was changed, or permits a person who is missing from the permitted rows.
        """
        manifest = self._permitted.manifest
        found = np.full(len(ids), self._absent.rank, dtype=np.int8)
        if not manifest.decision_log.rows or not len(ids):
            return found
        signatures = self._signatures()
        id_type = self._permitted.id_type
        typed = ids if id_type is None or pa.types.is_null(id_type) else _as_far_as_exact(ids, id_type)
        known = np.flatnonzero(np.asarray(typed.is_valid()))
        key = self._key.of(manifest.decision_log.key_id)
        digests = words_of(key.digests(typed.take(pa.array(known)), manifest.decision_log.digest))
        order = np.argsort(digests[:, 0], kind="stable")
        digests, known = digests[order], known[order]
        # Most of the log is about other people: a look-up in a table is faster than a search.
        sieve = np.zeros(1 << _SIEVE_BITS, dtype=np.bool_)
        sieve[digests[:, 0] >> np.uint64(64 - _SIEVE_BITS)] = True
        log = manifest.decision_log
        for logged in self._permitted.folder.read_rows(log.parts, batch_rows=_READ_ROWS):
            # A row without an id has no digest: the bytes in its place may be those of any person.
            entries = (
                logged.filter(logged.column("subject").is_valid()) if logged.column("subject").null_count else logged
            )
            subjects = words_of(entries.column("subject"))
            maybe = np.flatnonzero(sieve[subjects[:, 0] >> np.uint64(64 - _SIEVE_BITS)])
            places, hits = _find(digests, subjects[maybe])
            causes = signatures[values_of(entries.column("signature"), np.int32)[maybe[hits]]]
            if (causes == _RECEIVED).any():
                raise RefusedError(
                    f"{self._permitted.folder.uri}: the decision log permits a person to "
                    f"`{self._permitted.destination}` who is not among its rows"
                )
            np.maximum.at(found, known[places], causes)
        return found

    def _signatures(self) -> NDArray[np.int8]:
        """Return, by signature, the rank of its cause for this destination."""
        if self._by_signature is None:
            log, folder = self._permitted.manifest.decision_log, self._permitted.folder
            for part in [log.signatures, *log.parts]:
                folder.verify(part)
            denied: dict[int, CauseRank] = {}
            for rows in folder.read_rows([log.signatures], batch_rows=_READ_ROWS):
                for row in rows.to_pylist():
                    reasons = dict(row["denied"]).get(self._permitted.destination)
                    if reasons:
                        denied[row["signature"]] = removal_cause(reasons, required_before=self._required_before).rank
            self._by_signature = np.full(log.signatures.rows, _RECEIVED, dtype=np.int8)
            for signature, rank in denied.items():
                self._by_signature[signature] = rank
        return self._by_signature


def _find(sought: NDArray[np.uint64], logged: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of equal digests; `sought` is sorted by the first word."""
    begins = np.searchsorted(sought[:, 0], logged[:, 0], side="left")
    ends = np.searchsorted(sought[:, 0], logged[:, 0], side="right")
    times = ends - begins
    hits = np.repeat(np.arange(len(logged)), times)
    places = np.repeat(begins - (np.cumsum(times) - times), times) + np.arange(len(hits))
    same = sought[places, 1] == logged[hits, 1]
    return places[same], hits[same]


def _as_far_as_exact(ids: pa.Array, type_: pa.DataType) -> pa.Array:
    """Return ids in the model's present type, NULL where one does not fit: the model cannot contain such an id."""
    try:
        return cast(ids, type_, column="id")
    except ModelError:
        if len(ids) == 1:
            return pa.nulls(1, type_)
        half = len(ids) // 2
        return pa.concat_arrays([_as_far_as_exact(ids.slice(0, half), type_), _as_far_as_exact(ids.slice(half), type_)])
