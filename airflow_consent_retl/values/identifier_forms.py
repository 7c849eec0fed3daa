"""The forms in which vendors want the identifiers of people: one plain function for each form, from text to text.

Each returns None for text that has no such form. Nothing is guessed and nothing is repaired: an e-mail address with a
space inside, a phone number without a country code, and a date whose month may be its day have no form.
`values.identifiers` applies them to whole columns, and is tested to be equal to them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import date
from functools import partial

from airflow_consent_retl.errors import ConfigurationError

Form = Callable[[str], str | None]

GMAIL = ("gmail.com", "googlemail.com")
_FIRST_YEAR = 1900
_NOT_IN_EMAIL = re.compile(r"[\s<>()\[\],;:\"\\]")
_SEPARATORS = re.compile(r"[ \u00a0\u202f.\-]")
_BRACKETS = re.compile(r"\(([1-9][0-9 ]*)\)")
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_REGION = re.compile(r"[A-Z]{2}")
_POSTAL = re.compile(r"[0-9A-Za-z][0-9A-Za-z \-]{0,15}")
_ZIP_AND_FOUR = re.compile(r"([0-9]{5})-[0-9]{4}")
_DIGITS = re.compile(r"[0-9]+")
_DATE = re.compile(r"([0-9]{1,4})([-./ ])([0-9]{1,2})\2([0-9]{1,4})")


def email(text: str) -> str | None:
    """Return an e-mail address trimmed and in lower case."""
    address = text.strip().lower()
    local, _, domain = address.partition("@")
    labels = domain.split(".")
    if not local or "@" in domain or len(labels) < 2 or not all(labels) or len(address) > 254:
        return None
    if _NOT_IN_EMAIL.search(address) or not address.isprintable():
        return None
    return address


def google_email(text: str) -> str | None:
    """Return an e-mail address; at Gmail without dots and without `+…` in the local part."""
    address = email(text)
    if address is None:
        return None
    local, _, domain = address.partition("@")
    if domain in GMAIL:
        local = local.partition("+")[0].replace(".", "")
    return f"{local}@{domain}" if local else None


def e164_as_written(text: str) -> str | None:
    """Return a number in E.164 that is written with `+` and its country code; it loses its separators only."""
    number = _SEPARATORS.sub("", _BRACKETS.sub(r"\1", text.strip()))
    return number if _E164.fullmatch(number) else None


def phone_forms(region: str | None) -> tuple[Form, Form]:
    """Return two forms of phone numbers: E.164 with `+`, and the same digits alone.

    Args:
        region: ISO 3166-1 alpha-2 of numbers without a country code, such as `DE`; None: these have no form.

    Raises:
        ConfigurationError: there is no such region, or the library is missing.
    """
    try:
        import phonenumbers
    except ImportError:
        raise ConfigurationError(
            "phone numbers need the library `phonenumbers`: `pip install 'airflow-consent-retl[phone]'`"
        ) from None
    if region is not None and region not in phonenumbers.SUPPORTED_REGIONS:
        raise ConfigurationError("phone_region must be a region such as `DE`: two capital letters of ISO 3166-1")

    def e164(text: str) -> str | None:
        # The library reads letters as the digits of a keypad, and digits of other scripts.
        if not text.isascii() or any(character.isalpha() for character in text):
            return None
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            return None
        # Possible, not valid: new ranges of numbers are in use before the library knows them.
        if number.extension or not phonenumbers.is_possible_number(number):
            return None
        return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))

    def digits(text: str) -> str | None:
        number = e164(text)
        return number and number.removeprefix("+")

    return e164, digits


def name(text: str) -> str | None:
    """Return a name trimmed and in lower case."""
    found = text.strip().lower()
    return found if found and found.isprintable() else None


def letters(text: str) -> str | None:
    """Return a name in lower case without spaces and punctuation; letters keep their accents."""
    kept = "".join(character for character in text.lower() if unicodedata.category(character)[0] in "LMN")
    return kept if kept and text.strip().isprintable() else None


def region_code(text: str) -> str | None:
    """Return a two-letter code of a country in upper case."""
    code = text.strip().upper()
    return code if _REGION.fullmatch(code) else None


def country(text: str) -> str | None:
    """Return a two-letter code of a country in lower case. A country's name has no form."""
    code = region_code(text)
    return code and code.lower()


def postal_code(text: str) -> str | None:
    """Return a postal code as it is written, trimmed."""
    code = text.strip()
    return code if _POSTAL.fullmatch(code) else None


def compact_postal_code(text: str) -> str | None:
    """Return a postal code in lower case without spaces and dashes; of five and four digits, as in the US, five."""
    code = postal_code(text)
    if code is None:
        return None
    with_four = _ZIP_AND_FOUR.fullmatch(code)
    return with_four[1] if with_four else code.replace(" ", "").replace("-", "").lower()


def postal_digits(text: str) -> str | None:
    """Return a postal code of digits only; one with letters has no form."""
    code = compact_postal_code(text)
    return code if code and _DIGITS.fullmatch(code) else None


def date_of_birth(text: str) -> str | None:
    """Return a date as `YYYYMMDD`, from ISO 8601, or from day, month and year that can be read in one way only."""
    written = text.strip()
    if len(written) == 8 and _DIGITS.fullmatch(written):
        return _day(written[:4], written[4:6], written[6:])
    parts = _DATE.fullmatch(written)
    if parts is None:
        return None
    first, _, second, third = parts.groups()
    if len(first) == 4 and len(third) <= 2:
        return _day(first, second, third)
    if len(third) == 4 and len(first) <= 2:
        found = {_day(third, first, second), _day(third, second, first)} - {None}
        return found.pop() if len(found) == 1 else None
    return None


def part_of_birth(text: str, *, start: int, stop: int) -> str | None:
    """Return the digits `start` to `stop` of a date as `YYYYMMDD`."""
    found = date_of_birth(text)
    return found and found[start:stop]


birth_year = partial(part_of_birth, start=0, stop=4)
birth_month = partial(part_of_birth, start=4, stop=6)
birth_day = partial(part_of_birth, start=6, stop=8)


def gender(text: str) -> str | None:
    """Return `f` or `m`, from these or the English words; another gender has no form."""
    return {"f": "f", "female": "f", "m": "m", "male": "m"}.get(text.strip().lower())


def identifier(text: str) -> str | None:
    """Return an identifier of your own, trimmed."""
    found = text.strip()
    return found if found and found.isprintable() else None


def device_id(text: str) -> str | None:
    """Return an advertising id of a device in lower case, with its hyphens."""
    found = identifier(text)
    return found and found.lower()


def _day(year: str, month: str, day: str) -> str | None:
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return found.strftime("%Y%m%d") if found.year >= _FIRST_YEAR else None
