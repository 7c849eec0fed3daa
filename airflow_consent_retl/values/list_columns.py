"""Columns of lists of text as JSON, which the consent formats read."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

# Characters that JSON escapes.
_ESCAPED = r'["\\\x00-\x1f]'


def is_list_of_text(type_: pa.DataType) -> bool:
    """Return whether the values of a column are lists of text."""
    is_list = pt.is_list(type_) or pt.is_large_list(type_)
    return bool(is_list and (pt.is_string(type_.value_type) or pt.is_large_string(type_.value_type)))


def with_lists_as_json(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return rows with each column of lists of text as JSON text, and the other columns unchanged."""
    columns = [_as_json(column) if is_list_of_text(column.type) else column for column in rows.columns]
    return pa.RecordBatch.from_arrays(columns, names=rows.schema.names)


def _as_json(column: pa.Array) -> pa.Array:
    entries = column.flatten()
    if entries.null_count or pc.any(pc.match_substring_regex(entries, _ESCAPED)).as_py():
        return pa.array([None if value is None else json.dumps(value) for value in column.to_pylist()], pa.string())
    joined = pc.binary_join(column.cast(pa.list_(pa.string())), '","')
    filled = pc.binary_join_element_wise('["', joined, '"]', "")
    return pc.if_else(pc.equal(pc.list_value_length(column), 0), "[]", filled)
