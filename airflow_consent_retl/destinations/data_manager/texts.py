"""Texts of a column. Pure."""

from __future__ import annotations

import pyarrow as pa


def texts_of(column: pa.Array) -> list[str | bytes | None]:
    """Return each value as text; as bytes where it is not UTF-8, since nothing in Arrow or Parquet promises that."""
    texts = column.cast(pa.string())
    try:
        return list(texts.to_pylist())
    except UnicodeDecodeError:
        return [raw if raw is None else _decoded(raw) for raw in texts.cast(pa.binary()).to_pylist()]


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type is text, or NULL only."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(is_kind(kind) for is_kind in text)


def _decoded(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
