"""The shape of a sync's rows, as code uses it and as manifests store it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import pyarrow as pa

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.sync_manifests import ShapeOfRows


@dataclass(frozen=True, slots=True)
class Shape:
    """The mapping of fields, and the schemas in which rows are stored.

    Args:
        fields: the destination's field names, each with the model's column.
        load_schema: of the rows as they are sent.
        removal_schema: of the values that a removal needs; without fields where the destination cannot remove.
        hash_tag: names the function that made the payload hashes.
    """

    fields: Mapping[str, str]
    load_schema: pa.Schema
    removal_schema: pa.Schema
    hash_tag: str
    removal_type: pa.DataType = field(init=False)
    row_type: pa.DataType = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "removal_type", pa.struct(list(self.removal_schema)))
        object.__setattr__(self, "row_type", pa.struct(list(self.load_schema)))

    @classmethod
    def from_manifest(cls, written: ShapeOfRows) -> Self:
        """Read back what `to_manifest` wrote.

        Raises:
            RefusedError: a schema cannot be read.
        """
        return cls(
            dict(written.fields),
            schema_from(written.load_schema),
            schema_from(written.removal_schema),
            written.hash_tag,
        )

    def to_manifest(self) -> ShapeOfRows:
        """Return the form that a manifest stores."""
        return ShapeOfRows(
            fields=tuple(self.fields.items()),
            load_schema=schema_text(self.load_schema),
            removal_schema=schema_text(self.removal_schema),
            hash_tag=self.hash_tag,
        )


def schema_text(schema: pa.Schema) -> str:
    """Return a schema as a manifest stores it."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode("ascii")


def schema_from(text: str) -> pa.Schema:
    """Read back what `schema_text` wrote.

    Raises:
        RefusedError: it cannot be read.
    """
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True)))
    except (ValueError, pa.ArrowException):
        raise RefusedError("a manifest holds a schema that cannot be read") from None
