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
from collections.abc import Collection, Iterable, Sequence
from functools import reduce
from typing import TYPE_CHECKING

from airflow_consent_retl.destinations.http.people_encoder import Faults, Invalid, PeopleEncoder, is_text
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    import pyarrow as pa

MAX_IDENTIFIERS = 10
"""Of one member. https://developers.google.com/data-manager/api/devguides/limits, read 2026-11-23."""

ADDRESS_FIELDS = ("given_name", "family_name", "region_code", "postal_code")
_NUMBERED = re.compile(r"(email|phone)(?:_(?:[2-9]|10))?")
_US_POSTAL = r"\A[0-9]{5}(?:-?[0-9]{4})?\z"


class MemberEncoder(PeopleEncoder):
    """Encodes the rows of one load.

    The parts of an address are present together or not at all, and no e-mail or phone number of a person twice.

    Args:
        schema: the load's fields: `email`, `email_2` … `email_10`, `phone`, `phone_2` … `phone_10`, and `given_name`,
            `family_name`, `region_code`, `postal_code`, of which all are needed if one is mapped. All text.
        hashed: the columns of e-mails, phone numbers and names contain SHA-256 in hex already, of values normalised by
            Google's rules.
        on_invalid, needed: see `PeopleEncoder`.

    Raises:
        ConfigurationError: the fields make no member; the message names all errors.
    """

    def __init__(self, schema: pa.Schema, *, hashed: bool, on_invalid: Invalid, needed: bool = True) -> None:
        # A number column has lost the plus of a phone number and the leading zeros of a postal code.
        types = [f"field `{one.name}` is {one.type}, but has to be text" for one in schema if not is_text(one.type)]
        if wrong := [*_wrong_names(schema.names), *types]:
            raise ConfigurationError("; ".join(wrong))
        from airflow_consent_retl.values.identifiers import rule_of

        rules = {name: rule_of("google", _kind(name), hashed=hashed) for name in schema.names}
        super().__init__(rules, on_invalid=on_invalid, needed=needed, complete=_completed)


def _completed(columns: dict[str, pa.Array], faults: Faults) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    nothing = pa.scalar(None, pa.string())
    if ADDRESS_FIELDS[0] in columns:
        postal = columns["postal_code"]
        fits = pc.or_(pc.not_equal(columns["region_code"], "US"), pc.match_substring_regex(postal, _US_POSTAL))
        wrong = pc.fill_null(pc.invert(fits), False)
        for row in pc.indices_nonzero(wrong).to_pylist():
            faults.setdefault(row, []).append(("invalid_postal_code", "postal_code"))
        columns["postal_code"] = pc.if_else(wrong, nothing, postal)
        # Google matches an address as a whole: without one of its parts it is none.
        whole = reduce(pc.and_, [columns[name].is_valid() for name in ADDRESS_FIELDS])
        columns.update({name: pc.if_else(whole, columns[name], nothing) for name in ADDRESS_FIELDS})
    for kind in ("email", "phone"):
        alike = [name for name in columns if _kind(name) == kind]
        for place, name in enumerate(alike):
            for before in alike[:place]:
                repeats = pc.fill_null(pc.equal(columns[name], columns[before]), False)
                columns[name] = pc.if_else(repeats, nothing, columns[name])


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
