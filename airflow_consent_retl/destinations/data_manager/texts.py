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


def _decoded(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw
