"""Fields that a category guards, as columns of the model: they are withheld from a row that is sent itself.

A guarded name is a destination's field or a model's column. Every field that reads this column is withheld: mapping the
column to another field does not bypass the guard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from airflow_consent_retl.consent import nearest
from airflow_consent_retl.errors import RefusedError


def guarded_columns(names: Iterable[str], fields: Mapping[str, str]) -> frozenset[str]:
    """Return the columns that guarded names stand for.

    Args:
        names: the guarded names of a destination.
        fields: the mapped fields: the destination's names, each with the model's column.
    """
    guarded = set(names)
    return frozenset(column for name, column in fields.items() if guarded.intersection((name, column)))


def check_guarded(names: Iterable[str], fields: Mapping[str, str], *, destination: str, primary_key: str) -> None:
    """Check that guarded names can be withheld.

    Raises:
        RefusedError: a name is the primary key, or it is not a field but so similar to one that it may be misspelt.
    """
    known = sorted({*fields, *fields.values()})
    for name in sorted(set(names)):
        if primary_key in guarded_columns([name], fields) or name == primary_key:
            raise RefusedError(f"the policy guards field `{name}` of `{destination}`, which is the row's primary key")
        near = None if name in known else nearest(name, known)
        if near is not None:
            raise RefusedError(
                f"the policy guards field `{name}`, which `{destination}` does not have, did you mean `{near}`?"
            )


def without(rows: pa.RecordBatch, fields: Mapping[str, str], columns: frozenset[str]) -> pa.RecordBatch:
    """Return mapped rows with NULL, of the same type, in the fields of some columns of the model."""
    if not columns:
        return rows
    kept = [
        pa.nulls(rows.num_rows, values.type) if column in columns else values
        for column, values in zip(fields.values(), rows.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(kept, schema=rows.schema)
