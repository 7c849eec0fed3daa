"""The identifiers of people as Meta wants them: normalised, hashed, and refused with a code where they have no form."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_consent_retl.destinations.http.people_encoder import is_text
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.values.identifiers import IdentifierRule

# Further e-mails and phone numbers of a person.
_NUMBERED = re.compile(r"(email|phone)_[23]")


def kind_of(field: str) -> str:
    """Return the kind of an identifier: `email` for `email_2`."""
    numbered = _NUMBERED.fullmatch(field)
    return numbered[1] if numbered else field


def rules_of(
    fields: Sequence[str], *, plain: Collection[str] = (), phone_region: str | None, hashed: bool
) -> dict[str, IdentifierRule]:
    """Return the rules of identifiers.

    Args:
        fields: the load's fields that are identifiers, in order.
        plain: the kinds that are sent as they are, although a rule would hash them.
        phone_region: of phone numbers without a country code; None: they are invalid.
        hashed: the values are SHA-256 already, where Meta wants hashes.

    Raises:
        ConfigurationError: the region is unknown, or the library `phonenumbers` is missing.
    """
    from airflow_consent_retl.values.identifiers import RULES, rule_of

    kinds = {name: kind_of(name) for name in fields}
    return {
        name: replace(RULES["meta"][kind], hash_with=None)
        if kind in plain
        else rule_of("meta", kind, phone_region=phone_region, hashed=hashed)
        for name, kind in kinds.items()
    }


def check_fields(names: Sequence[str], known: Collection[str], *, name: str) -> list[str]:
    """Return the errors in a load's fields: each name that the vendor does not know, with the nearest one."""
    return [f"{name} knows no field `{one}`{suggestion(one, known)}" for one in names if one not in known]


def check_texts(schema: pa.Schema, fields: Collection[str]) -> list[str]:
    """Return the errors in the types of identifiers: all have to be text, a date of birth may be a date."""
    import pyarrow as pa

    wrong = []
    for field in schema:
        is_date = pa.types.is_date(field.type) and kind_of(field.name) in _DATES
        if field.name in fields and not is_text(field.type) and not is_date:
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
