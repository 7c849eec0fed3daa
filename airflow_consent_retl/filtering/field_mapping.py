"""The mapping of a load's fields, applied to rows: columns as they are, and values that are computed from a row.

Files and warehouse read the same columns and compute the same values here, so a value has one meaning in both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.fields.field_values import (
    ColumnList,
    ConsentAnswer,
    Constant,
    Expression,
    FieldValue,
    Scalar,
    columns_of,
    value_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A column of a candidate: 1 in the rows from which a computed field is withheld. By the field's place in the mapping.
MARK = "consent_retl_without_"
NO_MARKS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """The fields of one load.

    Args:
        fields: the destination's field names, each with the model's column or another value.
        marks: by value, the column that marks the rows from which it is withheld.
    """

    fields: Mapping[str, str]
    marks: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """The columns that are read, each once."""
        inputs = (column for source in self.fields.values() for column in columns_of(source))
        return list(dict.fromkeys([*inputs, *self.marks.values()]))

    def schema(self, columns: pa.Schema) -> pa.Schema:
        """Return the schema of the fields, from that of the model's columns."""
        empty = pa.RecordBatch.from_arrays(
            [pa.array([], columns.field(name).type) for name in self._inputs],
            schema=pa.schema([columns.field(name) for name in self._inputs]),
        )
        found = []
        for name, source in self.fields.items():
            value = value_of(source)
            found.append(
                columns.field(source).with_name(name)
                if value is None
                else pa.field(name, self._computed(value, empty, _NOTHING).type)
            )
        return pa.schema(found)

    def of(
        self, rows: pa.RecordBatch, schema: pa.Schema | None = None, *, without: Collection[str] = ()
    ) -> pa.RecordBatch:
        """Return rows with the destination's fields.

        Args:
            rows: with at least `columns`.
            schema: of the fields, from `schema`; None: that of these rows.
            without: the values that are withheld from all of these rows.
        """
        found = []
        for source in self.fields.values():
            value = value_of(source)
            if value is None:
                column = rows.column(source)
                found.append(pa.nulls(rows.num_rows, column.type) if source in without else column)
                continue
            withheld = np.full(rows.num_rows, source in without)
            if source in self.marks:
                withheld |= np.asarray(pc.equal(rows.column(self.marks[source]).cast(pa.int64()), 1))
            found.append(self._computed(value, rows, withheld))
        if schema is None:
            return pa.RecordBatch.from_arrays(found, names=list(self.fields))
        return pa.RecordBatch.from_arrays(found, schema=schema)

    @property
    def _inputs(self) -> list[str]:
        marks = set(self.marks.values())
        return [name for name in self.columns if name not in marks]

    def _computed(self, value: FieldValue, rows: pa.RecordBatch, withheld: NDArray[np.bool_]) -> pa.Array:
        match value:
            case ConsentAnswer():
                granted, otherwise = _scalar(value.granted), _scalar(value.otherwise, like=value.granted)
                return pc.if_else(pa.array(withheld), otherwise, granted)
            case Constant():
                found = _repeated(_scalar(value.value), rows.num_rows)
            case ColumnList():
                found = _list_of([rows.column(name) for name in value.names], value.names)
            case Expression():
                from airflow_consent_retl.filtering.computed_expressions import computed

                found = computed(value.sql, rows)
        if not withheld.any():
            return found
        return pc.if_else(pa.array(withheld), pa.scalar(None, found.type), found)


def is_taken_back(values: pa.Array, source: str) -> NDArray[np.bool_]:
    """Return for each row of a field whether it tells that the value is not permitted, or that there is none.

    Args:
        values: of the field.
        source: the model's column or another value.
    """
    value = value_of(source)
    if not isinstance(value, ConsentAnswer) or value.otherwise is None:
        return np.asarray(values.is_null())
    return np.asarray(pc.fill_null(pc.equal(values, _scalar(value.otherwise)), True))


_NOTHING = np.zeros(0, dtype=np.bool_)
_TYPES: Mapping[type, pa.DataType] = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def _scalar(value: Scalar | None, *, like: Scalar | None = None) -> pa.Scalar:
    return pa.scalar(value, _TYPES.get(type(like if value is None else value), pa.string()))


def _repeated(value: pa.Scalar, rows: int) -> pa.Array:
    # `pa.repeat` knows no NULL.
    return pa.repeat(value, rows) if value.is_valid else pa.nulls(rows, value.type)


def _list_of(columns: list[pa.Array], names: tuple[str, ...]) -> pa.Array:
    """Return for each row the list of its values that are not NULL; NULL if it has none."""
    columns = [column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in columns]
    types = {column.type for column in columns if not pa.types.is_null(column.type)}
    if len(types) > 1:
        found = ", ".join(f"`{name}` {column.type}" for name, column in zip(names, columns, strict=True))
        raise ConfigurationError(f"columns(…) takes columns of one type, and these have several: {found}")
    type_ = types.pop() if types else pa.null()
    typed = [pa.nulls(len(column), type_) if pa.types.is_null(column.type) else column for column in columns]
    rows = len(columns[0])
    valid = np.stack([np.asarray(column.is_valid()) for column in typed], axis=1)
    # The places of the values in the joined columns, row by row.
    places = (np.arange(rows)[:, None] + np.arange(len(typed))[None, :] * rows)[valid]
    lengths = valid.sum(axis=1)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    values = pa.concat_arrays(typed).take(pa.array(places))
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(lengths == 0))
