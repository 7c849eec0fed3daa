"""The fields that a person's missing consent takes back: which of them the destination may still have a value in.

The delivered state says per entry in which fields the destination certainly has no value. Every other field may have
one, also in a state of an earlier release, which says nothing about fields.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.changes.matching import places_of
from airflow_consent_retl.changes.results import NEVER
from airflow_consent_retl.fields.field_values import answers_in
from airflow_consent_retl.filtering.field_mapping import is_taken_back
from airflow_consent_retl.filtering.guarded_fields import guarded_columns
from airflow_consent_retl.storage.delivered import CLEARED_HASH, HASH_TYPE, fields_of, fields_text
from airflow_consent_retl.values.buffers import values_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.storage.delivered import DeliveredState


def null_fields(rows: pa.RecordBatch, names: Collection[str], fields: Mapping[str, str]) -> pa.Array:
    """Return for each row to send, as `fields_text`, which of some fields it takes back: NULL, or no yes."""
    if not names:
        return pa.nulls(rows.num_rows, pa.string())
    known = sorted(names)
    kinds = [is_taken_back(rows.column(name), fields[name]) for name in known]
    distinct, numbers = np.unique(np.stack(kinds), axis=1, return_inverse=True)
    texts = [fields_text(np.array(known)[kind].tolist()) for kind in distinct.T]
    return pa.array(texts, pa.string()).take(pa.array(numbers.ravel()))


def sent_fields(guards: Iterable[str], fields: Mapping[str, str], *, primary_key: str) -> tuple[str, ...]:
    """Return the fields that guarded names stand for, without the primary key, by which people are found.

    An answer to a category is not among them if NULL does not say that it is no yes: only a load knows how to say so.

    Args:
        guards: the guarded names of the destination.
        fields: the mapped fields: the destination's names, each with the model's column or another value.
        primary_key: the model's.
    """
    columns = guarded_columns(guards, fields) - {primary_key}
    left = {name for name, answer in answers_in(fields) if answer.otherwise is not None}
    return tuple(sorted(name for name, column in fields.items() if column in columns and name not in left))


def without_answers(fields: Collection[str], mapped: Mapping[str, str]) -> tuple[str, ...]:
    """Return those of some fields that are no person's answer to a category."""
    answers = {name for name, _ in answers_in(mapped)}
    return tuple(name for name in fields if name not in answers)


def withdrawn_fields(
    state: DeliveredState, withheld: Mapping[tuple[str, ...], NDArray[np.int64]]
) -> dict[tuple[str, ...], NDArray[np.int64]]:
    """Return the entries with a field that the destination may have a value in, though it is withheld now.

    They are grouped by these fields.

    Args:
        state: verified.
        withheld: the entries of people who are permitted, by the guarded names that are withheld from them.
    """
    wanted = {
        guards: sent_fields(guards, state.shape.fields, primary_key=state.manifest.primary_key)
        for guards, entries in withheld.items()
        if len(entries)
    }
    if not any(wanted.values()):
        return {}
    cleared = pa.chunked_array(state.cleared(), pa.string()).combine_chunks().dictionary_encode()
    # One more than the last stands for NULL.
    texts = [*cleared.dictionary.to_pylist(), None]
    codes = np.asarray(cleared.indices.fill_null(len(texts) - 1))
    found: dict[tuple[str, ...], list[NDArray[np.int64]]] = {}
    for guards, fields in wanted.items():
        entries = withheld[guards]
        for code in np.unique(codes[entries]).tolist():
            left = tuple(name for name in fields if name not in fields_of(texts[code]))
            if left:
                found.setdefault(left, []).append(entries[codes[entries] == code])
    return {fields: np.sort(np.concatenate(some)) for fields, some in found.items()}


def fold_cleared(
    entries: pa.RecordBatch, cleared: pa.RecordBatch
) -> tuple[pa.Array, pa.Array, NDArray[np.bool_], NDArray[np.int64]]:
    """Apply the results of clearing fields.

    Args:
        entries: of the delivered state.
        cleared: as `RowResults.of_removed`, with the `fields` that were to be cleared.

    Returns:
        For each entry its cleared fields, its hash, whether the hash does not count any more, and `unsettled_until`.
    """
    times = entries["unsettled_until"]
    unsettled = np.where(np.asarray(times.is_valid()), values_of(times, np.int64), NEVER)
    in_doubt = np.zeros(entries.num_rows, dtype=np.bool_)
    if not cleared.num_rows:
        return entries["cleared"], entries["hash"], in_doubt, unsettled
    places = places_of(entries, cleared)
    # An older request may still bring the values back: the fields are cleared again until that is impossible.
    is_final = np.asarray(cleared["accepted"]) & (unsettled[places] <= values_of(cleared["at"], np.int64))
    final = places[is_final]
    in_doubt[places[~is_final]] = True
    # A request that was not answered may still take effect, also after the person was sent again.
    unsettled[places] = np.maximum(unsettled[places], values_of(cleared["unsettled_until"], np.int64))
    fields = entries["cleared"].to_pylist()
    for place, text in zip(final.tolist(), cleared["fields"].filter(pa.array(is_final)).to_pylist(), strict=True):
        fields[place] = fields_text(fields_of(fields[place]) | fields_of(text))
    is_cleared = np.zeros(entries.num_rows, dtype=np.bool_)
    is_cleared[final] = True
    is_cleared &= np.asarray(entries["hash"].is_valid())
    hashes = pc.if_else(pa.array(is_cleared), pa.scalar(CLEARED_HASH, HASH_TYPE), entries["hash"])
    return pa.array(fields, pa.string()), hashes, in_doubt, unsettled
