"""Keys of suppression lists, in the forms in which they are compared: two spellings of one key have one form."""

from __future__ import annotations

import pytest

from airflow_consent_retl.consent.match_forms import MatchForm, in_form


@pytest.mark.parametrize(
    ("form", "one", "other"),
    [
        (MatchForm.FOLDED, "Ann@Example.COM", "\t ann@example.com\n"),
        (MatchForm.FOLDED, "\u00a0ann@example.com\u3000", "ann@example.com"),
        (MatchForm.FOLDED, "j\u00fcrgen", "JU\u0308RGEN"),
        (MatchForm.FOLDED, "\u0661\u0662", "12"),
        (MatchForm.FOLDED, "\uff21\uff4e\uff4e\uff20\uff38\uff0e\uff43\uff4f\uff4d", "ann@x.com"),
        (MatchForm.FOLDED, "\uff23\uff10\uff10\uff10\uff14", "c0004"),
        (MatchForm.FOLDED, "STRASSE", "stra\u00dfe"),
        (MatchForm.FOLDED, "\ufb01nn", "FINN"),
        (MatchForm.EMAIL, "ann\uff20x.com", "Ann@x.com"),
        (MatchForm.PHONE, "\uff0b\uff14\uff19 170 123\uff14567", "0170/1234567"),
        (MatchForm.SHA256, "\uff21\uff22c", "0xabc"),
        (MatchForm.EMAIL, "ann @example.com", "Ann@example.com"),
        (MatchForm.SHA256, "0xABCDEF", "abcdef"),
        (MatchForm.SHA256, "\\xabcdef", "ABCDEF"),
        (MatchForm.PHONE, "+49 (170) 123-4567", "0170/1234567"),
        (MatchForm.PHONE, "0049 170 1234567", "1701234567"),
    ],
)
def test_two_spellings_of_one_key_have_one_form(form: MatchForm, one: str, other: str) -> None:
    assert in_form(one, form) == in_form(other, form) is not None


@pytest.mark.parametrize(
    ("form", "one", "other"),
    [
        (MatchForm.EXACT, "Ann", "ann"),
        (MatchForm.FOLDED, "ann @example.com", "ann@example.com"),
        (MatchForm.FOLDED, "0xabc", "abc"),
        (MatchForm.PHONE, "0170 1234567", "0170 1234568"),
    ],
)
def test_two_keys_stay_two(form: MatchForm, one: str, other: str) -> None:
    assert in_form(one, form) != in_form(other, form)


@pytest.mark.parametrize(
    ("form", "key", "compared"),
    [
        (MatchForm.EXACT, " Ann", " Ann"),
        (MatchForm.FOLDED, "\u200bAnn\u2060 \ufeff", "ann"),
        (MatchForm.EMAIL, "\u200dA nn@x.com", "ann@x.com"),
        (MatchForm.SHA256, "0xA\u00c9", "ae"),
        (MatchForm.PHONE, "+49 (170) 123-4567", "701234567"),
        (MatchForm.PHONE, "0049 170 0234567", "700234567"),
        # A digit is left of the nine, and is then no leading zero.
        (MatchForm.PHONE, "49 170 01234567", "001234567"),
        (MatchForm.PHONE, "(0) 0123-450", "123450"),
        (MatchForm.PHONE, "x 0 1 0", "10"),
    ],
)
def test_a_key_is_compared_in_its_form(form: MatchForm, key: str, compared: str) -> None:
    assert in_form(key, form) == compared


@pytest.mark.parametrize("form", [form for form in MatchForm if form is not MatchForm.EXACT])
@pytest.mark.parametrize("blank", ["", "   ", "\u3000"])
def test_a_blank_is_no_key(form: MatchForm, blank: str) -> None:
    assert in_form(blank, form) is None


def test_text_without_a_digit_is_no_phone_number() -> None:
    assert in_form("unknown", MatchForm.PHONE) is None
    assert in_form("00 0", MatchForm.PHONE) is None
