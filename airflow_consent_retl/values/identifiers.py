"""Columns of identifiers, normalised and hashed by the rules of each vendor. Arrow in, Arrow out.

NULL and blank stay NULL; a value without the vendor's form is NULL and named as invalid. Hashes are lower-case hex of
the UTF-8 bytes. The rules, each with the page that states it, read 2026-11-29:

| vendor | rules |
|---|---|
| `google` | https://developers.google.com/data-manager/api/devguides/concepts/formatting |
| `meta` | https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/customer-information-parameters, and Meta's code, https://github.com/facebook/capi-param-builder |
| `tiktok` | https://ads.tiktok.com/help/preview?content_id=5gcDeV2ckkwNVh1BedxvSJ |
| `linkedin` | https://learn.microsoft.com/en-us/linkedin/marketing/matched-audiences/create-and-manage-segment-users |
| `pinterest` | `ConversionEventsUserData` and `CustomerListRequest` of https://github.com/pinterest/api-description |
| `snap` | https://developers.snap.com/api/marketing-api/Conversions-API/BestPractices |

Braze, Klaviyo, HubSpot and Salesforce take identifiers as they are, so they have no rules here.
"""  # noqa: E501 - addresses

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values import identifier_forms as forms
from airflow_consent_retl.values.shared_engine import shared_engine

Algorithm = Literal["sha256", "sha1", "md5"]
# Returns texts in their form, and NULL where it is not certain of the form.
_Quick = Callable[[pa.Array], pa.Array]

# An engine pays off for more values than these.
_FEW = 4096
HEX_DIGITS: Mapping[str, int] = MappingProxyType({"sha256": 64, "sha1": 40, "md5": 32})


@dataclass(frozen=True, slots=True)
class IdentifierRule:
    """The form and the hash of one kind of identifier at one vendor.

    Args:
        kind: such as `email`; an invalid value has the reason `invalid_email`.
        form: from text to text, the law; None: of phone numbers, see `with_phones_of`.
        hash_with: the algorithm; None: the value is sent as it is.
        plus: of a phone number, whether its form begins with `+`.
    """

    kind: str
    form: forms.Form | None
    hash_with: Algorithm | None = "sha256"
    plus: bool = False

    @property
    def reason(self) -> str:
        """The code of a row whose value has no form."""
        return f"invalid_{self.kind}"

    def hashed_already(self) -> IdentifierRule:
        """Return the rule for values that are hashes already, of values in the vendor's form."""
        if self.hash_with is None:
            return self
        digits = HEX_DIGITS[self.hash_with]

        def digest(text: str) -> str | None:
            found = text.strip().lower()
            return found if len(found) == digits and not found.strip("0123456789abcdef") else None

        return IdentifierRule("hash", digest, None)

    def with_phones_of(self, region: str | None) -> IdentifierRule:
        """Return the rule with numbers without a country code read as numbers of this region; None: they are invalid.

        Raises:
            ConfigurationError: there is no such region, or the library `phonenumbers` is missing.
        """
        if self.form is not None:
            return self
        e164, digits = forms.phone_forms(region)
        return replace(self, form=e164 if self.plus else digits)

    def hashed_with(self, algorithm: Algorithm) -> IdentifierRule:
        """Return the rule with another algorithm, for vendors that take several."""
        return replace(self, hash_with=algorithm)


def _rules(**rules: tuple[forms.Form | None, Algorithm | None]) -> Mapping[str, IdentifierRule]:
    return MappingProxyType({kind: IdentifierRule(kind, form, algorithm) for kind, (form, algorithm) in rules.items()})


def _and_phone(rules: Mapping[str, IdentifierRule], *, plus: bool) -> Mapping[str, IdentifierRule]:
    return MappingProxyType({**rules, "phone": IdentifierRule("phone", None, plus=plus)})


RULES: Mapping[str, Mapping[str, IdentifierRule]] = MappingProxyType(
    {
        "google": _rules(
            email=(forms.google_email, "sha256"),
            phone=(forms.e164_as_written, "sha256"),
            given_name=(forms.name, "sha256"),
            family_name=(forms.name, "sha256"),
            region_code=(forms.region_code, None),
            postal_code=(forms.postal_code, None),
        ),
        "meta": _and_phone(
            _rules(
                email=(forms.email, "sha256"),
                first_name=(forms.letters, "sha256"),
                last_name=(forms.letters, "sha256"),
                date_of_birth=(forms.date_of_birth, "sha256"),
                birth_year=(forms.birth_year, "sha256"),
                birth_month=(forms.birth_month, "sha256"),
                birth_day=(forms.birth_day, "sha256"),
                gender=(forms.gender, "sha256"),
                city=(forms.letters, "sha256"),
                state=(forms.letters, "sha256"),
                postal_code=(forms.compact_postal_code, "sha256"),
                country=(forms.country, "sha256"),
                external_id=(forms.identifier, "sha256"),
                device_id=(forms.device_id, None),
            ),
            plus=False,
        ),
        "tiktok": _and_phone(
            _rules(
                email=(forms.email, "sha256"),
                external_id=(forms.identifier, "sha256"),
                device_id=(forms.device_id, "sha256"),
            ),
            plus=True,
        ),
        "linkedin": _rules(email=(forms.email, "sha256")),
        "pinterest": _and_phone(
            _rules(
                email=(forms.email, "sha256"),
                first_name=(forms.name, "sha256"),
                last_name=(forms.name, "sha256"),
                date_of_birth=(forms.date_of_birth, "sha256"),
                gender=(forms.gender, "sha256"),
                city=(forms.letters, "sha256"),
                state=(forms.letters, "sha256"),
                postal_code=(forms.postal_digits, "sha256"),
                country=(forms.country, "sha256"),
                external_id=(forms.identifier, "sha256"),
                device_id=(forms.device_id, "sha256"),
            ),
            plus=False,
        ),
        "snap": _and_phone(
            _rules(email=(forms.email, "sha256"), device_id=(forms.device_id, "sha256")),
            plus=False,
        ),
    }
)


def rule_of(vendor: str, kind: str, *, phone_region: str | None = None, hashed: bool = False) -> IdentifierRule:
    """Return the rule of a kind of identifier at a vendor.

    Args:
        vendor: a key of `RULES`.
        kind: such as `email`.
        phone_region: see `IdentifierRule.with_phones_of`.
        hashed: the values are hashes already.

    Raises:
        ConfigurationError: the region is unknown, or the library `phonenumbers` is missing.
    """
    rule = RULES[vendor][kind]
    return rule.hashed_already() if hashed and rule.hash_with else rule.with_phones_of(phone_region)


@dataclass(frozen=True, slots=True)
class EncodedIdentifiers:
    """A column in a vendor's form: `values` has NULL for what is blank or invalid, `invalid` the rows of the latter."""

    values: pa.StringArray
    invalid: Sequence[int]


def encode_identifiers(column: pa.Array, rule: IdentifierRule) -> EncodedIdentifiers:
    """Return a column of text, or of dates, normalised and hashed. Pure; any number of threads may call.

    Each distinct value is normalised and hashed once.

    Raises:
        ConfigurationError: the column is neither text nor dates.
    """
    if rule.form is None:
        rule = rule.with_phones_of(None)
    texts = _texts(column).dictionary_encode()
    normalised, without_form = _normalised(texts.dictionary, rule)
    values = _digests(normalised, rule.hash_with) if rule.hash_with else normalised
    invalid = pc.indices_nonzero(pc.fill_null(without_form.take(texts.indices), False)).to_pylist()
    return EncodedIdentifiers(values.take(texts.indices), invalid)


def _texts(column: pa.Array) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null, pa.types.is_date)
    if not any(fits(kind) for fits in text):
        raise ConfigurationError(f"an identifier has to be text, not {kind}")
    return column.cast(pa.date32()).cast(pa.string()) if pa.types.is_date(kind) else column.cast(pa.string())


def _normalised(texts: pa.Array, rule: IdentifierRule) -> tuple[pa.Array, pa.Array]:
    """Return the normalised texts, and for each whether it has no form without being blank."""
    form = rule.form
    quick = _QUICK.get(form) if form is not None else None
    found = quick(texts) if quick is not None else pa.nulls(len(texts), pa.string())
    rest = pc.indices_nonzero(found.is_null())
    without_form = [False] * len(texts)
    slow: list[str | None] = []
    for place, raw in zip(rest.to_pylist(), texts.take(rest).cast(pa.binary()).to_pylist(), strict=True):
        text = _decoded(raw)
        value = None
        if text and not text.isspace() and form is not None:
            value = form(text)
            without_form[place] = value is None
        slow.append(value)
    if not slow:
        return found, pa.array(without_form, pa.bool_())
    filled = pc.replace_with_mask(found, found.is_null(), pa.array(slow, pa.string()))
    return filled, pa.array(without_form, pa.bool_())


def _decoded(raw: bytes | None) -> str | None:
    try:
        return raw if raw is None else raw.decode()
    except UnicodeDecodeError:
        # Not printable, so it has no form of any kind.
        return "\0"


def _digests(texts: pa.Array, algorithm: Algorithm) -> pa.Array:
    if len(texts) < _FEW:
        digest = partial(getattr(hashlib, algorithm), usedforsecurity=False)
        return pa.array([text and digest(text.encode()).hexdigest() for text in texts.to_pylist()], pa.string())
    connection = shared_engine()
    try:
        connection.register("texts", pa.table({"text": texts}))
        # A function of the engine, named by this module.
        found = connection.sql(f"SELECT {algorithm}(text) AS digest FROM texts").to_arrow_table()  # noqa: S608
    finally:
        connection.close()
    return found["digest"].cast(pa.string()).combine_chunks()


def _trimmed(texts: pa.Array) -> pa.Array:
    return pc.ascii_lower(pc.ascii_trim_whitespace(texts))


def _where(texts: pa.Array, pattern: str) -> pa.Array:
    """Return the texts that match a whole pattern of ASCII, and NULL for the others."""
    return pc.if_else(pc.match_substring_regex(texts, f"^(?:{pattern})$"), texts, pa.scalar(None, pa.string()))


def _quick_email(texts: pa.Array) -> pa.Array:
    found = _where(_trimmed(texts), r"[!#$%&'*+./0-9=?^_`a-z{|}~-]+@[!#$%&'*+/0-9=?^_`a-z{|}~-]+(\.[!#$%&'*+/0-9=?^_`a-z{|}~-]+)+")  # fmt: skip  # noqa: E501
    return pc.if_else(pc.less_equal(pc.binary_length(found), 254), found, pa.scalar(None, pa.string()))


def _quick_google_email(texts: pa.Array) -> pa.Array:
    found = _quick_email(texts)
    at_gmail = pc.match_substring_regex(found, "@(gmail|googlemail)\\.com$")
    # The dots of the domain are the last ones: the local part loses its own while it is alone.
    local = pc.replace_substring(pc.replace_substring_regex(found, r"[+@].*$", ""), ".", "")
    domain = pc.replace_substring_regex(found, "^[^@]*", "")
    gmail = _where(pc.binary_join_element_wise(local, domain, ""), "[^@]+@.*")
    return pc.if_else(at_gmail, gmail, found)


def _quick_e164(texts: pa.Array) -> pa.Array:
    written = _where(pc.ascii_trim_whitespace(texts), r"\+[0-9 .-]+")
    return _where(pc.replace_substring_regex(written, "[ .-]", ""), r"\+[1-9][0-9]{6,14}")


def _quick_name(texts: pa.Array) -> pa.Array:
    return _where(_trimmed(texts), "[ -~]+")


def _quick_letters(texts: pa.Array) -> pa.Array:
    return _where(pc.replace_substring_regex(_quick_name(texts), "[^a-z0-9]", ""), "[a-z0-9]+")


_QUICK: Mapping[forms.Form, _Quick] = MappingProxyType(
    {
        forms.email: _quick_email,
        forms.google_email: _quick_google_email,
        forms.e164_as_written: _quick_e164,
        forms.name: _quick_name,
        forms.letters: _quick_letters,
    }
)
