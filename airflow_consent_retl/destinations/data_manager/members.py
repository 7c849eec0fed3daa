"""Rows as the identifiers of people: normalised by Google's rules, hashed, or refused with a code. Pure: no contact.

The forms, as on https://developers.google.com/data-manager/api/devguides/concepts/formatting, read 2026-11-23, are in
`values.identifiers`:

| field | before hashing |
|---|---|
| `email` | trimmed, lower case; at gmail.com and googlemail.com without dots and without `+…` in the local part |
| `phone` | E.164: `+`, country code, digits; spaces, dots, hyphens and brackets are dropped |
| `given_name`, `family_name` | trimmed, lower case |
| `region_code` | not hashed: ISO 3166-1 alpha-2, upper case |
| `postal_code` | not hashed: trimmed; in the US 5 digits, or 5 and 4 |

Hashes are SHA-256, as lower-case hex. Nothing is guessed: a phone number without a country code, or with a trunk
prefix such as `+44 (0)20 …`, is invalid, and so is an e-mail with a space inside.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.values.identifiers import IdentifierRule

MAX_IDENTIFIERS = 10
"""Of one member. https://developers.google.com/data-manager/api/devguides/limits, read 2026-11-23."""

ADDRESS_FIELDS = ("given_name", "family_name", "region_code", "postal_code")
NO_IDENTIFIER = "no_identifier"

_NUMBERED = re.compile(r"(email|phone)(?:_(?:[2-9]|10))?")
_US_POSTAL = re.compile(r"[0-9]{5}(?:-?[0-9]{4})?")

Invalid = Literal["reject", "omit"]
Column = list[str | None]
# Row to the code and the field of each of its invalid values, in the order of the fields.
_Faults = dict[int, list[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Encoded rows: the values to send, and the values to store for removals.

    Args:
        columns: for each mapped field its values, in the API's form; None: the row has none. A refused row has
            no value at all, and the parts of an address are present together or not at all.
        refused: row to code, for the rows that are not sent.
        omitted: code to number of values that were left out of sent rows.
        fields: row to the field with the invalid value, for the rows that are refused because of one.
    """

    columns: Mapping[str, Column]
    refused: Mapping[int, str]
    omitted: Mapping[str, int]
    fields: Mapping[int, str] = field(default_factory=dict)


class MemberEncoder:
    """Encodes the rows of one load.

    Args:
        schema: the load's fields: `email`, `email_2` … `email_10`, `phone`, `phone_2` … `phone_10`, and `given_name`,
            `family_name`, `region_code`, `postal_code`, of which all are needed if one is mapped. All text.
        hashed: the columns of e-mails, phone numbers and names contain SHA-256 in hex already, of values normalised by
            Google's rules.
        on_invalid: `"reject"`: a row with an invalid value is refused; `"omit"`: it is sent without that value, if
            another identifier is left.
        needed: whether a row without an identifier is refused.

    Raises:
        ConfigurationError: the fields make no member; the message names all errors.
    """

    def __init__(self, schema: pa.Schema, *, hashed: bool, on_invalid: Invalid, needed: bool = True) -> None:
        wrong = [*_wrong_names(schema.names), *_wrong_types(schema)]
        if wrong:
            raise ConfigurationError("; ".join(wrong))
        from airflow_consent_retl.values.identifiers import rule_of

        self._fields = {name: rule_of("google", _kind(name), hashed=hashed) for name in schema.names}
        self._on_invalid = on_invalid
        self._needed = needed

    @property
    def removal_schema(self) -> pa.Schema:
        """The stored values of a person: each mapped field as it is sent."""
        import pyarrow as pa

        return pa.schema([pa.field(name, pa.string()) for name in self._fields])

    def removal_rows(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the stored values of each row; all NULL for a refused row."""
        import pyarrow as pa

        columns = self.encode(rows).columns
        arrays = [pa.array(columns[name], type=pa.string()) for name in self._fields]
        return pa.RecordBatch.from_arrays(arrays, schema=self.removal_schema)

    def encode(self, rows: pa.RecordBatch) -> EncodedRows:
        """Normalise, hash and check every row."""
        faults: _Faults = {}
        columns = {name: _encoded(rows.column(name), rule, name, faults) for name, rule in self._fields.items()}
        if ADDRESS_FIELDS[0] in columns:
            _complete_addresses(columns, faults)
        _drop_repeated(columns)
        rejected = {row: found[0] for row, found in faults.items()} if self._on_invalid == "reject" else {}
        for row, values in enumerate(zip(*columns.values(), strict=True)):
            if self._needed and row not in rejected and not any(values):
                rejected[row] = faults[row][0] if row in faults else (NO_IDENTIFIER, "")
        for column in columns.values():
            for row in rejected:
                column[row] = None
        return EncodedRows(
            columns=columns,
            refused={row: rejected[row][0] for row in sorted(rejected)},
            omitted=Counter(code for row, found in faults.items() if row not in rejected for code, _ in found),
            fields={row: name for row, (_, name) in rejected.items() if name},
        )


def _encoded(column: pa.Array, rule: IdentifierRule, name: str, faults: _Faults) -> Column:
    from airflow_consent_retl.values.identifiers import encode_identifiers

    encoded = encode_identifiers(column, rule)
    for row in encoded.invalid:
        faults.setdefault(row, []).append((rule.reason, name))
    values: Column = encoded.values.to_pylist()
    return values


def identified_by(fields: Collection[str], names: Sequence[str]) -> list[str]:
    """Return the names that make an identifier together with one of these fields: an address is one identifier."""
    whole = {*fields, *ADDRESS_FIELDS} if not set(ADDRESS_FIELDS).isdisjoint(fields) else set(fields)
    return [name for name in names if name in whole]


def is_identifier(name: str) -> bool:
    """Return whether a field is one of those that this module encodes."""
    return name in ADDRESS_FIELDS or _NUMBERED.fullmatch(name) is not None


def field_of(kind: str, names: Iterable[str]) -> str:
    """Return the only one of these fields that is of a kind, such as `email`; empty: there is none, or several."""
    found = [name for name in names if _kind(name) == kind]
    return found[0] if len(found) == 1 else ""


def _kind(name: str) -> str:
    numbered = _NUMBERED.fullmatch(name)
    return numbered[1] if numbered else name


def _complete_addresses(columns: dict[str, Column], faults: _Faults) -> None:
    region, postal = columns["region_code"], columns["postal_code"]
    parts = [columns[name] for name in ADDRESS_FIELDS]
    for row, (where, code) in enumerate(zip(region, postal, strict=True)):
        if where == "US" and code is not None and not _US_POSTAL.fullmatch(code):
            faults.setdefault(row, []).append(("invalid_postal_code", "postal_code"))
            postal[row] = None
        if not all(part[row] for part in parts):
            # Google matches an address as a whole: without one of its parts it is none.
            for part in parts:
                part[row] = None


def _drop_repeated(columns: Mapping[str, Column]) -> None:
    for kind in ("email", "phone"):
        alike = [column for name, column in columns.items() if _kind(name) == kind]
        if len(alike) < 2:
            continue
        for row, values in enumerate(zip(*alike, strict=True)):
            for place, value in enumerate(values):
                if value is not None and value in values[:place]:
                    alike[place][row] = None


def _wrong_names(names: list[str]) -> list[str]:
    known = (*ADDRESS_FIELDS, *(f"{kind}{end}" for kind in ("email", "phone") for end in ("", "_2", "_3")))
    wrong = []
    for name in names:
        if not is_identifier(name):
            wrong.append(f"Customer Match knows no field `{name}`{suggestion(name, known)}")
    address = [name for name in ADDRESS_FIELDS if name in names]
    missing = [name for name in ADDRESS_FIELDS if name not in names]
    if address and missing:
        wrong.append(f"an address needs the fields {', '.join(f'`{name}`' for name in missing)} too")
    identifiers = sum(_NUMBERED.fullmatch(name) is not None for name in names) + bool(address)
    if identifiers == 0:
        wrong.append("no field identifies a person: map `email`, `phone` or an address")
    if identifiers > MAX_IDENTIFIERS:
        wrong.append(f"a member has at most {MAX_IDENTIFIERS} identifiers, the fields make {identifiers}")
    return wrong


def _wrong_types(schema: pa.Schema) -> list[str]:
    from airflow_consent_retl.destinations.data_manager.texts import is_text

    # A number column has lost the plus of a phone number and the leading zeros of a postal code.
    return [f"field `{field.name}` is {field.type}, but has to be text" for field in schema if not is_text(field.type)]
