"""The values by which a destination removes a person: conversion between schemas, and comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.errors import ModelError, RefusedError
from airflow_consent_retl.values.canonical import canonical
from airflow_consent_retl.values.columns import cast

# Stands for the primary key itself; no field has this name.
_ID = ""

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.storage.shape import Shape


class RemovalValues:
    """The conversion of kept values into the schema that the destination needs now.

    A field that was not kept is NULL: people were sent without it. A field with a new name for the same column of the
    model keeps its values. The primary key is always known.

    Args:
        kept: the shape of the delivered state.
        wanted: the present shape.
        primary_key: the column of the ids.

    Raises:
        RefusedError: none of the values that are needed were kept.
    """

    def __init__(self, kept: Shape, wanted: Shape, *, primary_key: str) -> None:
        self._wanted = wanted
        self.is_same = kept.removal_schema.equals(wanted.removal_schema)
        by_column = {column: name for name, column in kept.fields.items() if name in kept.removal_schema.names}
        self._sources: list[str | None] = []
        for name in wanted.removal_schema.names:
            column = wanted.fields.get(name, "")
            source = name if name in kept.removal_schema.names else by_column.get(column)
            self._sources.append(_ID if source is None and column == primary_key else source)
        if self._sources and not any(source is not None for source in self._sources):
            names = ", ".join(f"`{name}`" for name in wanted.removal_schema.names)
            raise RefusedError(
                f"removing people needs {names} now, and none of these fields was kept when they were delivered: map "
                "the same fields as before"
            )

    def convert(self, values: pa.Array | None, ids: pa.Array) -> pa.Array | None:
        """Return values of the kept schema in the wanted schema.

        Args:
            values: a struct array, or None if the kept schema has no fields.
            ids: the ids of the same people.

        Returns:
            A struct array, or None if the wanted schema has no fields.

        Raises:
            RefusedError: a value does not fit the wanted type.
        """
        if self.is_same:
            return values
        if not self._sources:
            return None
        known: dict[str | None, pa.Array] = {_ID: ids}
        if values is not None:
            known |= zip((field.name for field in values.type), values.flatten(), strict=True)
        columns = [
            pa.nulls(len(ids), field.type) if source is None else _fitted(known[source], field)
            for field, source in zip(self._wanted.removal_schema, self._sources, strict=True)
        ]
        return pa.StructArray.from_arrays(columns, fields=list(self._wanted.removal_schema))


def lost_values(before: pa.Array | None, after: pa.Array | None, rows: int) -> NDArray[np.bool_]:
    """Return for each row whether a value by which the destination knows the person disappeared."""
    lost = np.zeros(rows, dtype=np.bool_)
    if before is None or after is None or not rows:
        return lost
    for old, new in zip(before.flatten(), after.flatten(), strict=True):
        differs = np.asarray(pc.not_equal(canonical(old), canonical(new)))
        lost |= differs & np.asarray(old.is_valid())
    return lost


def same_values(first: pa.Array | None, second: pa.Array | None, rows: int) -> NDArray[np.bool_]:
    """Return for each row whether both have the same values."""
    if first is None or second is None or not rows:
        return np.ones(rows, dtype=np.bool_)
    return np.asarray(pc.equal(canonical(first), canonical(second)))


def _fitted(values: pa.Array, field: pa.Field) -> pa.Array:
    try:
        return cast(values, field.type, column=field.name)
    except ModelError:
        raise RefusedError(
            f"removing people needs `{field.name}` as {field.type} now, but the kept values are {values.type}"
        ) from None
