"""The shape of the JSON objects of rows, in which dotted names may be fields of nested objects."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import msgspec

from airflow_consent_retl.fields.dotted_names import tree_of

Record = msgspec.Struct
# The default of a field that is never left out: no row has it.
_NEVER = object()


@dataclass(frozen=True, slots=True)
class RecordShape:
    """The class of the records, and what each of their fields is.

    Args:
        kind: makes a record from the values of its fields.
        parts: by field, the name of the column with its values, or the shape of a nested object.
        is_optional: whether the object may be left out: all of its fields may.
    """

    kind: type[Record]
    parts: Mapping[str, str | RecordShape]
    is_optional: bool

    @classmethod
    def of(cls, names: Sequence[str], *, left_out: Collection[str], nested: bool) -> Self:
        """Return the shape of records.

        Args:
            names: of the fields, in order.
            left_out: those that are left out where they are NULL.
            nested: whether dotted names are fields of nested objects.

        Raises:
            ConfigurationError: a name is a value and an object at once, or a part of it is empty.
        """
        return cls._of(tree_of(names) if nested else {name: name for name in names}, left_out)

    @classmethod
    def _of(cls, tree: Mapping[str, Any], left_out: Collection[str]) -> Self:
        parts = {name: part if isinstance(part, str) else cls._of(part, left_out) for name, part in tree.items()}
        slots = [f"field_{position}" for position in range(len(parts))]
        may_miss = [part in left_out if isinstance(part, str) else part.is_optional for part in parts.values()]
        # A struct is built and encoded four times as fast as a dictionary.
        kind = msgspec.defstruct(
            "Record",
            [(slot, Any, None if missing else _NEVER) for slot, missing in zip(slots, may_miss, strict=True)],
            rename=dict(zip(slots, parts, strict=True)),
            omit_defaults=any(may_miss),
            gc=False,
        )
        return cls(kind, parts, all(may_miss))

    def records(self, columns: Mapping[str, Sequence[object]]) -> list[Record]:
        """Return a record for each row of some columns."""
        return list(map(self.kind, *self._parts_of(columns)))

    def _parts_of(self, columns: Mapping[str, Sequence[object]]) -> list[Sequence[object]]:
        return [columns[part] if isinstance(part, str) else part._objects(columns) for part in self.parts.values()]

    def _objects(self, columns: Mapping[str, Sequence[object]]) -> list[Record | None]:
        rows = zip(*self._parts_of(columns), strict=True)
        if not self.is_optional:
            return [self.kind(*row) for row in rows]
        return [None if all(value is None for value in row) else self.kind(*row) for row in rows]
