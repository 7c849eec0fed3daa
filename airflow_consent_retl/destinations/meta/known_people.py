"""The identifiers of people as Meta wants them: normalised, hashed, and refused with a code where they have no form."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.values.identifiers import IdentifierRule

Invalid = Literal["reject", "omit"]
NO_IDENTIFIER = "no_identifier"
# Further e-mails and phone numbers of a person.
_NUMBERED = re.compile(r"(email|phone)_[23]")


def kind_of(field: str) -> str:
    """Return the kind of an identifier: `email` for `email_2`."""
    numbered = _NUMBERED.fullmatch(field)
    return numbered[1] if numbered else field


@dataclass(frozen=True, slots=True)
class EncodedPeople:
    """People of a batch: a column for each identifier, and a code for each row that is not sent.

    A refused row has no identifier; one with `on_invalid="omit"` has those that are valid.
    """

    columns: Mapping[str, pa.Array]
    refused: Mapping[int, str]


class PeopleEncoder:
    """Encodes the identifiers of the rows of one load.

    Args:
        fields: the load's fields that are identifiers, in order.
        plain: the kinds that are sent as they are, although a rule would hash them.
        phone_region: of phone numbers without a country code; None: they are invalid.
        hashed: the values are SHA-256 already, where Meta wants hashes.
        on_invalid: `"reject"`: a row with an invalid value is refused; `"omit"`: it is sent without that value.

    Raises:
        ConfigurationError: the region is unknown, or the library `phonenumbers` is missing.
    """

    def __init__(
        self,
        fields: Sequence[str],
        *,
        plain: Collection[str] = (),
        phone_region: str | None,
        hashed: bool,
        on_invalid: Invalid,
    ) -> None:
        from airflow_consent_retl.values.identifiers import RULES, rule_of

        self._rules: dict[str, IdentifierRule] = {}
        for name in fields:
            kind = kind_of(name)
            if kind in plain:
                self._rules[name] = replace(RULES["meta"][kind], hash_with=None)
            else:
                self._rules[name] = rule_of("meta", kind, phone_region=phone_region, hashed=hashed)
        self._on_invalid = on_invalid

    def encode(
        self, rows: pa.RecordBatch, *, refused: Mapping[int, str] | None = None, needed: bool = True
    ) -> EncodedPeople:
        """Normalise, hash and check.

        Args:
            rows: of the load.
            refused: the codes of rows that are refused for other reasons.
            needed: whether a row without any identifier is refused.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        from airflow_consent_retl.values.identifiers import encode_identifiers

        codes: dict[int, str] = dict(refused or {})
        columns: dict[str, pa.Array] = {}
        for name, rule in self._rules.items():
            encoded = encode_identifiers(rows.column(name), rule)
            columns[name] = encoded.values
            if self._on_invalid == "reject":
                for row in encoded.invalid:
                    codes.setdefault(row, rule.reason)
        known = pa.array([False] * rows.num_rows, pa.bool_())
        for column in columns.values():
            known = pc.or_(known, column.is_valid())
        for row in pc.indices_nonzero(pc.invert(known)).to_pylist() if needed else ():
            codes.setdefault(row, NO_IDENTIFIER)
        if codes:
            kept = pa.array([row not in codes for row in range(rows.num_rows)], pa.bool_())
            nothing = pa.scalar(None, pa.string())
            columns = {name: pc.if_else(kept, column, nothing) for name, column in columns.items()}
        return EncodedPeople(columns, codes)


def check_fields(names: Sequence[str], known: Collection[str], *, name: str) -> list[str]:
    """Return the errors in a load's fields: each name that the vendor does not know, with the nearest one."""
    return [f"{name} knows no field `{one}`{suggestion(one, known)}" for one in names if one not in known]


def check_texts(schema: pa.Schema, fields: Collection[str]) -> list[str]:
    """Return the errors in the types of identifiers: all have to be text, a date of birth may be a date."""
    import pyarrow as pa

    def fits(kind: pa.DataType) -> bool:
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        of = pa.types
        return bool(of.is_string(kind) or of.is_large_string(kind) or of.is_string_view(kind) or of.is_null(kind))

    wrong = []
    for field in schema:
        is_date = pa.types.is_date(field.type) and kind_of(field.name) in _DATES
        if field.name in fields and not fits(field.type) and not is_date:
            wrong.append(f"field `{field.name}` is {field.type}, but has to be text")
    return wrong


_DATES = frozenset({"date_of_birth", "birth_year", "birth_month", "birth_day"})


def raise_errors(wrong: Sequence[str]) -> None:
    """Raise all errors at once.

    Raises:
        ConfigurationError: there is one.
    """
    if wrong:
        raise ConfigurationError("; ".join(wrong))
