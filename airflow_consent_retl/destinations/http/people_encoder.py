"""The identifiers of people as a vendor wants them: normalised, hashed, and refused with a code without a form.

Pure: no contact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.values.identifiers import IdentifierRule

Invalid = Literal["reject", "omit"]
Faults = dict[int, list[tuple[str, str]]]
"""By row: the code and the field of each of its invalid values, in the order of the fields."""

NO_IDENTIFIER = "no_identifier"


@dataclass(frozen=True, slots=True)
class EncodedPeople:
    """People of a batch.

    Args:
        columns: for each identifier its values, in the vendor's form; NULL: the row has none. A refused row has no
            value at all.
        refused: row to code, for the rows that are not sent.
        omitted: code to number of values that were left out of sent rows.
        fields: row to the field with the invalid value, for the rows that are refused because of one.
    """

    columns: Mapping[str, pa.Array]
    refused: Mapping[int, str]
    omitted: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[int, str] = field(default_factory=dict)


def _as_they_are(columns: dict[str, pa.Array], faults: Faults) -> None:
    """Leave values as they are."""


class PeopleEncoder:
    """An encoder of the identifiers of one load's rows.

    Args:
        rules: of the load's fields that are identifiers, in order.
        on_invalid: `"reject"`: a row with an invalid value is refused; `"omit"`: it is sent without that value, if
            another identifier is left.
        needed: whether a row without any identifier is refused.
        explains: whether a row whose identifiers are all invalid has the code of the first one, or `no_identifier`.
        complete: changes the values of several fields together, and adds faults, before rows are refused.
    """

    def __init__(
        self,
        rules: Mapping[str, IdentifierRule],
        *,
        on_invalid: Invalid,
        needed: bool = True,
        explains: bool = True,
        complete: Callable[[dict[str, pa.Array], Faults], None] = _as_they_are,
    ) -> None:
        self._rules = dict(rules)
        self._on_invalid = on_invalid
        self._needed = needed
        self._explains = explains
        self._complete = complete

    @property
    def removal_schema(self) -> pa.Schema:
        """The stored values of a person: each mapped field as it is sent."""
        import pyarrow as pa

        return pa.schema([pa.field(name, pa.string()) for name in self._rules])

    def removal_rows(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the stored values of each row; all NULL for a refused row."""
        import pyarrow as pa

        columns = self.encode(rows).columns
        arrays = [columns[name].cast(pa.string()) for name in self._rules]
        return pa.RecordBatch.from_arrays(arrays, schema=self.removal_schema)

    def encode(self, rows: pa.RecordBatch, *, refused: Mapping[int, str] | None = None) -> EncodedPeople:
        """Normalise, hash and check every row.

        Args:
            rows: of the load.
            refused: the codes of rows that are refused for other reasons.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        from airflow_consent_retl.values.identifiers import encode_identifiers

        faults: Faults = {}
        columns: dict[str, pa.Array] = {}
        for name, rule in self._rules.items():
            encoded = encode_identifiers(rows.column(name), rule)
            columns[name] = encoded.values
            for row in encoded.invalid:
                faults.setdefault(row, []).append((rule.reason, name))
        self._complete(columns, faults)
        rejected = {row: found[0] for row, found in faults.items()} if self._on_invalid == "reject" else {}
        known = pa.array([False] * rows.num_rows, pa.bool_())
        for column in columns.values():
            known = pc.or_(known, column.is_valid())
        for row in pc.indices_nonzero(pc.invert(known)).to_pylist() if self._needed else ():
            rejected.setdefault(row, faults[row][0] if self._explains and row in faults else (NO_IDENTIFIER, ""))
        codes = {**{row: code for row, (code, _) in sorted(rejected.items())}, **(refused or {})}
        if codes:
            kept = pa.array([row not in codes for row in range(rows.num_rows)], pa.bool_())
            nothing = pa.scalar(None, pa.string())
            columns = {name: pc.if_else(kept, column, nothing) for name, column in columns.items()}
        return EncodedPeople(
            columns,
            codes,
            Counter(code for row, found in faults.items() if row not in codes for code, _ in found),
            {row: name for row, (_, name) in rejected.items() if name},
        )


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type is text, or NULL only."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(is_kind(kind) for is_kind in text)
