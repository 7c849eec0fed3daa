"""Identifiers have the form and the hash that each vendor publishes, one by one and in columns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from hashlib import md5, sha1, sha256
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values import identifier_forms as forms
from airflow_consent_retl.values.identifiers import RULES, IdentifierRule, encode_identifiers, rule_of

META = "https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/customer-information-parameters"
TIKTOK = "https://ads.tiktok.com/help/preview?content_id=5gcDeV2ckkwNVh1BedxvSJ"
GOOGLE = "https://github.com/googleads/data-manager-python/blob/main/tests/formatter_test.py"
# Published by the vendor: the kind, the input, and the SHA-256 of its normalised form.
PUBLISHED_HASHES = [
    ("meta", "email", "John_Smith@gmail.com", "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f", META),
    ("meta", "phone", "(650)555-1212", "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176", META),
    ("meta", "first_name", "Mary", "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec", META),
    ("meta", "first_name", "정", "8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14", META),
    ("meta", "last_name", "Valéry", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c", META),
    ("meta", "date_of_birth", "2/16/1997", "01acdbf6ec7b4f478a225f1a246e5d6767eeab1a7ffa17f025265b5b94f40f0c", META),
    ("meta", "country", "US", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621", META),
    (
        "tiktok",
        "email",
        "JaneDoe@gmail.com",
        "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69",
        TIKTOK,
    ),
    (
        "tiktok",
        "device_id",
        "5F3A2B18-9C4D-4E7F-B8E2-17D3A1E69B25",
        "83dc3f5f32b9472613b0f038d36f22585a609d018af6f6067f50da318bf354bd",
        TIKTOK,
    ),
    (
        "google",
        "email",
        "  ALEXZ@example.com   ",
        "509e933019bb285a134a9334b8bb679dff79d0ce023d529af4bd744d47b4fd8a",
        GOOGLE,
    ),
    (
        "google",
        "phone",
        "   +1-800-555-0100",
        "fb4f73a6ec5fdb7077d564cdd22c3554b43ce49168550c3b12c547b78c517b30",
        GOOGLE,
    ),
    (
        "google",
        "given_name",
        "  GivenName  ",
        "128a07bfe2df877c52076e60d7774cf5baaa046c5a6c48daf30ff43ecca2f814",
        GOOGLE,
    ),
    (
        "google",
        "family_name",
        "  FamilyName ",
        "77762c287e61ce065bee5c15464012c6fbe088398b8057627d5577249430d574",
        GOOGLE,
    ),
]
# Published by the vendor: the kind, the input, and its normalised form.
PUBLISHED_FORMS = [
    ("google", "email", "Jefferson.Loves.hiking@gmail.com", "jeffersonloveshiking@gmail.com"),
    ("google", "email", "cloudy.sanfrancisco+shopping@gmail.com", "cloudysanfrancisco@gmail.com"),
    ("google", "email", "user.name+NYC@Example.com", "user.name+nyc@example.com"),
    ("google", "region_code", " uS ", "US"),
    ("google", "postal_code", " 1229-076  ", "1229-076"),
    ("meta", "city", "New York", "newyork"),
    ("meta", "city", "    Menlo-Park  ", "menlopark"),
    ("meta", "city", "St. Louis", "stlouis"),
    ("meta", "first_name", "    Na'than-Boile    ", "nathanboile"),
    ("meta", "last_name", "O'Connor", "oconnor"),
    ("meta", "postal_code", "37221-3312", "37221"),
    ("meta", "postal_code", "M1 1AE", "m11ae"),
    ("meta", "gender", "Female", "f"),
    ("tiktok", "phone", "+1 657 777 0000", "+16577770000"),
    ("tiktok", "phone", "+374 93 828222", "+37493828222"),
    # Pinterest: "only digits with country code, area code, and number", cities "without spaces or punctuation".
    ("pinterest", "phone", "+1 (650) 555-1212", "16505551212"),
    ("pinterest", "city", "San Francisco", "sanfrancisco"),
    ("pinterest", "country", "US", "us"),
    ("pinterest", "postal_code", "94035", "94035"),
    # Snap: lower case and trimmed; country code, no double 0, no 0 before the number, digits only; hyphens stay.
    ("snap", "email", " Sam@Example.COM ", "sam@example.com"),
    ("snap", "phone", "+44 (0)20 7946-0958", "442079460958"),
    ("linkedin", "email", " Sam@Example.COM ", "sam@example.com"),
]


def encoded(*texts: str | None, rule: IdentifierRule) -> list[str | None]:
    values: list[str | None] = encode_identifiers(pa.array(texts, pa.string()), rule).values.to_pylist()
    return values


@pytest.mark.parametrize(("vendor", "kind", "given", "digest", "page"), PUBLISHED_HASHES)
def test_a_value_has_the_hash_that_the_vendor_publishes(
    vendor: str, kind: str, given: str, digest: str, page: str
) -> None:
    rule = rule_of(vendor, kind, phone_region="US")

    assert encoded(given, rule=rule) == [digest], page


@pytest.mark.parametrize(("vendor", "kind", "given", "form"), PUBLISHED_FORMS)
def test_a_value_has_the_form_that_the_vendor_publishes(vendor: str, kind: str, given: str, form: str) -> None:
    rule = rule_of(vendor, kind)

    assert rule.form is not None
    assert rule.form(given) == form
    assert encoded(given, rule=rule) == [sha256(form.encode()).hexdigest() if rule.hash_with else form]


def test_pinterest_takes_each_of_three_hashes_of_an_email() -> None:
    rule = rule_of("pinterest", "email")

    found = [encoded("Ann@Example.com", rule=rule.hashed_with(name))[0] for name in ("sha256", "sha1", "md5")]

    assert found == [function(b"ann@example.com").hexdigest() for function in (sha256, sha1, md5)]


@pytest.mark.parametrize(
    ("region", "given", "form"),
    [
        (None, "+49 171 1234567", "+491711234567"),
        ("DE", "0171 1234567", "+491711234567"),
        ("DE", "0049 171 1234567", "+491711234567"),
        ("DE", "+1 650 555 1212", "+16505551212"),
        (None, "0171 1234567", None),
        (None, "16505551212", None),
        ("US", "1-800-FLOWERS", None),
        ("US", "650 555 1212 x12", None),
        ("US", "12345", None),
        (None, "+\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668", None),
        (None, "", None),
    ],
)
def test_a_phone_number_without_a_country_code_has_the_named_region_or_no_form(
    region: str | None, given: str, form: str | None
) -> None:
    with_plus, digits = forms.phone_forms(region)

    assert with_plus(given) == form
    assert digits(given) == (form and form[1:])


def test_a_region_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="such as `DE`"):
        rule_of("meta", "phone", phone_region="Germany")


@pytest.mark.parametrize(
    ("given", "form"),
    [
        ("1997-02-16", "19970216"),
        ("19970216", "19970216"),
        ("16.2.1997", "19970216"),
        ("3/3/1997", "19970303"),
        ("2/3/1997", None),
        ("16/2/97", None),
        ("1997-02-30", None),
        ("1897-02-16", None),
        ("1997-02/16", None),
        ("tomorrow", None),
    ],
)
def test_a_date_that_can_be_read_in_two_ways_has_no_form(given: str, form: str | None) -> None:
    assert forms.date_of_birth(given) == form


def test_a_column_of_dates_is_read_as_it_is() -> None:
    born = pa.array([date(1997, 2, 16), None], pa.date32())

    found = encode_identifiers(born, rule_of("meta", "birth_month"))

    assert found.values.to_pylist() == [sha256(b"02").hexdigest(), None]
    assert list(found.invalid) == []


def test_blank_is_null_and_an_invalid_value_is_null_and_named() -> None:
    column = pa.array(["Ann@Example.com", None, "", "  ", "nobody", "\u2003", "nobody", "ann@example.com"])

    found = encode_identifiers(column, rule_of("meta", "email"))

    digest = sha256(b"ann@example.com").hexdigest()
    assert found.values.to_pylist() == [digest, None, None, None, None, None, None, digest]
    assert list(found.invalid) == [4, 6]
    assert rule_of("meta", "email").reason == "invalid_email"


def test_hashes_are_taken_as_they_are_and_plain_values_are_not() -> None:
    digest = sha256(b"ann@example.com").hexdigest()
    rule = rule_of("meta", "email", hashed=True)

    found = encode_identifiers(pa.array([f" {digest.upper()} ", "ann@example.com", digest[1:]]), rule)

    assert found.values.to_pylist() == [digest, None, None]
    assert (list(found.invalid), rule.reason) == ([1, 2], "invalid_hash")


def test_a_value_that_is_not_hashed_has_its_form_also_among_hashes() -> None:
    assert encoded("de", rule=rule_of("google", "region_code", hashed=True)) == ["DE"]


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.string()]
)
def test_text_of_every_layout_is_encoded_the_same(kind: pa.DataType) -> None:
    column = pa.chunked_array([pa.array(["a@b.com", None], pa.string()).cast(kind)])

    assert encode_identifiers(column, rule_of("meta", "email")).values.to_pylist() == [
        sha256(b"a@b.com").hexdigest(),
        None,
    ]


def test_an_empty_column_and_one_of_nulls_have_no_value() -> None:
    for column in (pa.array([], pa.string()), pa.nulls(2)):
        found = encode_identifiers(column, rule_of("google", "email"))

        assert (found.values.to_pylist(), list(found.invalid)) == ([None] * len(column), [])


def test_numbers_are_no_identifiers() -> None:
    with pytest.raises(ConfigurationError, match="has to be text, not int64"):
        encode_identifiers(pa.array([1]), rule_of("meta", "email"))


# Pieces that make both usual and odd values, with the characters on which Arrow and Python may differ.
USUAL = ("a", "B", "7", "@", ".", "+", "-", "gmail.com", "GoogleMail.com", "@x.com", "+49 171 ", "+1", "0", " ", "'")
ODD = ("İ", "ß", "é", "(", ")", "<", "ǅ", "\u00a0", "\x1c", "\t", "\n", "\u200b", "\u0345", "x.com\n")
PIECES = st.sampled_from((*USUAL, *ODD))
TEXTS = st.lists(st.lists(PIECES, max_size=8).map("".join), max_size=12)


@pytest.mark.parametrize("form", [forms.email, forms.google_email, forms.e164_as_written, forms.name, forms.letters])
@settings(max_examples=150, deadline=None)
@given(texts=TEXTS)
def test_a_column_is_normalised_as_its_values_are_one_by_one(form: Callable[[str], Any], texts: list[str]) -> None:
    found = encode_identifiers(pa.array(texts, pa.string()), IdentifierRule("value", form, None))

    assert found.values.to_pylist() == [form(text) if text.strip() else None for text in texts]
    assert list(found.invalid) == [row for row, text in enumerate(texts) if text.strip() and form(text) is None]


def test_every_kind_of_every_vendor_refuses_what_is_no_text() -> None:
    # Two bytes that are no UTF-8.
    broken = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe"))

    for vendor, rules in RULES.items():
        for kind in rules:
            found = encode_identifiers(broken, rule_of(vendor, kind))

            assert (found.values.to_pylist(), list(found.invalid)) == ([None], [0]), (vendor, kind)


@pytest.mark.parametrize(
    ("written", "normalised"),
    [
        ("  User.Name+NYC@Example.com\t", "user.name+nyc@example.com"),
        ("cloudy.sanfrancisco+shopping@gmail.com", "cloudysanfrancisco@gmail.com"),
        ("Cloudy.SanFrancisco@GoogleMail.com", "cloudysanfrancisco@googlemail.com"),
        ("a.b+c@notgmail.com", "a.b+c@notgmail.com"),
        ("Jürgen@Büro.example", "jürgen@büro.example"),
    ],
)
def test_an_email_is_normalised_as_google_says(written: str, normalised: str) -> None:
    assert forms.google_email(written) == normalised


@pytest.mark.parametrize(
    "written",
    [
        "",
        "@",
        "a@",
        "@example.com",
        "a@b",
        "a@b.",
        "a@.com",
        "a@b@c.com",
        "a b@c.com",
        "a@b.com, c@d.com",
        "Ann <a@b.com>",
        "mailto:a@b.com",
        "a\u200b@b.com",
        "+tag@gmail.com",
        "...@gmail.com",
        f"{'a' * 250}@b.com",
    ],
)
def test_what_is_no_email_is_never_repaired(written: str) -> None:
    assert forms.google_email(written) is None


@pytest.mark.parametrize(
    ("written", "normalised"),
    [
        ("+18005550100", "+18005550100"),
        (" +1 (800) 555-0100 ", "+18005550100"),
        ("+49.171.1234567", "+491711234567"),
        ("+44\u00a020\u00a07946\u00a00958", "+442079460958"),
    ],
)
def test_a_phone_number_with_its_country_code_loses_its_separators(written: str, normalised: str) -> None:
    assert forms.e164_as_written(written) == normalised


@pytest.mark.parametrize(
    "written",
    [
        "",
        "8005550100",
        "0049 171 1234567",
        "0171 1234567",
        "+44 (0)20 7946 0958",
        "+0171123456",
        "+1 800 FLOWERS",
        "+12345",
        "+1234567890123456",
        "+1 800 555 0100 x12",
        "+\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668",
    ],
)
def test_a_phone_number_whose_country_code_is_not_sure_is_never_guessed(written: str) -> None:
    assert forms.e164_as_written(written) is None


def test_names_region_and_postal_code_are_normalised_as_google_says() -> None:
    assert forms.name("  Zoë ANNE ") == "zoë anne"
    assert forms.region_code(" us ") == "US"
    assert forms.postal_code(" SW1A 1AA ") == "SW1A 1AA"
    assert [forms.region_code(code) for code in ("USA", "u", "1A", "U ")] == [None] * 4
    assert [forms.postal_code(code) for code in ("-", "1" * 40, "12#45")] == [None] * 3
    assert forms.name("\0") is None
