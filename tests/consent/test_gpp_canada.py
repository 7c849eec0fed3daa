"""Tests of section 5, Canada's framework: the specification's encoding, and the one of the IAB's own library."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.iab_strings import (
    VENDOR,
    canadian_core,
    characters,
    fibonacci,
    gpp,
    number,
    optimized_range,
    optimized_range_of_library,
    publisher,
    tcf,
)

from airflow_consent_retl.consent import ConsentStatus, GppTcfCanada
from airflow_consent_retl.errors import PolicyError

WRITERS = {"specification": optimized_range, "iab_library": optimized_range_of_library}
# https://github.com/IABTechLab/iabgpp-es at fd0546e, modules/cmpapi/test/encoder/section/TcfCaV1.test.ts
EMPTY = "BPSG_8APSG_8AAAAAAENAACAAAAAAAAAAAAAAAAAAA.YAAAAAAAAAA"
OF_LIBRARY = "BPSG_8APSG_8AAyACAENGdCgf_gfgAfgfgBhADVqxGAD0AILVgAA.fHHHA4444ao"
DISCLOSED_BY_LIBRARY = "BPSG_8APSG_8AAAAAAENAACAAAAAAAAAAAAAAAAAAA.YAAAAAAAAAA.IAGO5w"
RESTRICTED_BY_LIBRARY = "BPSG_8APSG_8AAAAAAENAACAAAAAAAAAAAAAAAAACCgAS7o.YAAAAAAAAAA"
AFTER_HIGHEST = "a vendor after the highest one"


def reader(**asked: Any) -> GppTcfCanada:
    return GppTcfCanada("gpp", **{"purposes": (2, 3), "vendor": VENDOR, **asked})


def written(encoding: str = "specification", *segments: str, **parts: Any) -> str:
    parts = {"express": (2, 3), **parts}
    return gpp({5: tcf(canadian_core(write=WRITERS[encoding], **parts), *segments)})


@pytest.mark.parametrize("encoding", WRITERS)
@pytest.mark.parametrize("as_ranges", [False, True])
@pytest.mark.parametrize(
    ("parts", "asked", "status"),
    [
        ({}, {}, "granted"),
        ({"vendors": {1, 2, 3, VENDOR, 900, 901}}, {}, "granted"),
        ({"vendors": range(700, 800)}, {}, "granted"),
        ({"vendors": {VENDOR - 1, VENDOR + 1}}, {}, "denied"),
        ({"vendors": ()}, {}, "denied"),
        ({"vendors": (), "implied_vendors": (VENDOR,)}, {}, "denied"),
        ({"express": (2,)}, {}, "denied"),
        ({"express": (2,), "implied": (3,)}, {}, "denied"),
        ({"express": (1, 2, 3), "implied": (1, 9)}, {}, "granted"),
        ({"restrictions": [(3, 0, {VENDOR})]}, {}, "denied"),
        ({"restrictions": [(3, 2, {1, VENDOR, 756})]}, {}, "denied"),
        ({"restrictions": [(3, 1, {VENDOR})]}, {}, "granted"),
        ({"restrictions": [(4, 0, {VENDOR}), (3, 0, {1})]}, {}, "granted"),
        ({"restrictions": [(3, 3, {1})]}, {}, "invalid"),
        ({"implied": (7,), "implied_vendors": (VENDOR,)}, {"implied": (7,)}, "granted"),
        ({"implied": (7,)}, {"implied": (7,)}, "denied"),
        ({"implied_vendors": (VENDOR,)}, {"implied": (7,)}, "denied"),
        (
            {"implied": (7,), "implied_vendors": (VENDOR,), "restrictions": [(7, 1, {VENDOR})]},
            {"implied": (7,)},
            "denied",
        ),
        (
            {"express": (), "vendors": (), "implied": (7,), "implied_vendors": (VENDOR,)},
            {"purposes": (), "implied": (7,)},
            "granted",
        ),
        ({"version": 2}, {}, "invalid"),
        ({"language": "e["}, {}, "invalid"),
    ],
)
def test_express_and_implied_consent(encoding: str, as_ranges: bool, parts: Any, asked: Any, status: str) -> None:
    signal = reader(encoding=encoding, **asked)

    assert signal.read(written(encoding, as_ranges=as_ranges, **parts)) == status


@pytest.mark.parametrize("encoding", WRITERS)
@pytest.mark.parametrize("as_ranges", [False, True])
def test_a_vendor_that_was_not_disclosed_is_denied(encoding: str, as_ranges: bool) -> None:
    def disclosed(*vendors: int) -> str:
        return "001" + WRITERS[encoding](vendors, as_ranges=as_ranges)

    signal = reader(encoding=encoding)

    assert signal.read(written(encoding, publisher(), disclosed(1, VENDOR))) is ConsentStatus.GRANTED
    assert signal.read(written(encoding, disclosed(1))) is ConsentStatus.DENIED
    assert signal.read(written(encoding, disclosed())) is ConsentStatus.DENIED


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (written(), None),
        (gpp({6: "1YNN"}), None),
        (written(version=2), "another version of the section than 1"),
        (written(language="E["), "a language that has no letters"),
        (written("specification", "010" + "0" * 21), "a segment of another kind"),
        (written("specification", publisher(), publisher()), "a repeated segment"),
        (written()[:-20], "it ends inside of a field"),
        (written() + "AAAA", "more bits than its fields have"),
        (gpp({5: ""}), "characters outside of web-safe Base64"),
        # A range that ends after the last number that a vendor can have.
        (gpp({5: characters(canadian_core()[:199] + "1" + number(1, 12) + "0" + fibonacci(65_536))}), AFTER_HIGHEST),
    ],
)
def test_a_section_that_contradicts_its_specification_says_why(text: str, reason: str | None) -> None:
    assert reader().why_invalid(text) == reason


@pytest.mark.parametrize(
    ("text", "asked", "status"),
    [
        (EMPTY, {}, "denied"),
        (OF_LIBRARY, {"vendor": 12}, "granted"),
        (OF_LIBRARY, {"vendor": 48, "purposes": (2, 3, 4, 5, 6, 13, 18)}, "granted"),
        (OF_LIBRARY, {"vendor": 24, "purposes": (7,)}, "denied"),
        (OF_LIBRARY, {"vendor": 13}, "denied"),
        (OF_LIBRARY, {"vendor": 18}, "denied"),
        (OF_LIBRARY, {"vendor": 18, "purposes": (), "implied": (7, 24)}, "granted"),
        (OF_LIBRARY, {"vendor": 12, "purposes": (), "implied": (7, 24)}, "denied"),
        (DISCLOSED_BY_LIBRARY, {"vendor": 12}, "denied"),
        (RESTRICTED_BY_LIBRARY, {"vendor": 9}, "denied"),
    ],
)
def test_the_librarys_published_strings_are_read_where_that_was_declared(text: str, asked: Any, status: str) -> None:
    assert reader(encoding="iab_library", **asked).read(gpp({5: text})) == status


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # Without a vendor, both encodings are the same.
        (EMPTY, None),
        (OF_LIBRARY, "it ends inside of a field"),
        (DISCLOSED_BY_LIBRARY, "it ends inside of a field"),
        (RESTRICTED_BY_LIBRARY, "it ends inside of a field"),
    ],
)
def test_the_iabs_own_library_contradicts_the_specification(text: str, reason: str | None) -> None:
    assert reader(vendor=12).why_invalid(gpp({5: text})) == reason


def test_the_librarys_ranges_end_at_its_highest_vendor() -> None:
    header = canadian_core()[:199]
    (inside, outside) = (
        gpp(
            {
                5: characters(
                    header + number(highest, 16) + "1" + number(1, 12) + "0" + fibonacci(9) + "0" * 17 + "0" * 12
                )
            }
        )
        for highest in (9, 8)
    )

    assert reader(encoding="iab_library").why_invalid(inside) is None
    assert reader(encoding="iab_library").why_invalid(outside) == AFTER_HIGHEST


vendor_sets = st.sets(st.integers(1, 1200) | st.just(VENDOR), max_size=12)


@settings(max_examples=100, deadline=None)
@given(
    st.sets(st.integers(1, 24)),
    st.sets(st.integers(1, 24)),
    vendor_sets,
    vendor_sets,
    st.lists(st.tuples(st.integers(1, 24), st.integers(0, 2), vendor_sets), max_size=3),
    st.booleans(),
    st.sampled_from(sorted(WRITERS)),
)
def test_any_string_decodes_to_its_parts(
    express: Any, implied: Any, vendors: Any, implied_vendors: Any, limits: Any, as_ranges: bool, encoding: str
) -> None:
    text = written(
        encoding,
        express=express,
        implied=implied,
        vendors=vendors,
        implied_vendors=implied_vendors,
        restrictions=limits,
        as_ranges=as_ranges,
    )

    limited = {(purpose, kind) for purpose, kind, restricted in limits if VENDOR in restricted}
    may = {2, 3} <= express and 7 in implied and VENDOR in vendors and VENDOR in implied_vendors
    may = may and not any((purpose, kind) in limited for purpose in (2, 3) for kind in (0, 2))
    may = may and not limited & {(7, 0), (7, 1)}
    status = ConsentStatus.GRANTED if may else ConsentStatus.DENIED
    assert reader(implied=(7,), encoding=encoding).read(text) is status


@pytest.mark.parametrize("encoding", WRITERS)
@pytest.mark.parametrize("as_ranges", [False, True])
def test_no_shorter_string_grants(encoding: str, as_ranges: bool) -> None:
    whole = written(encoding, publisher(), as_ranges=as_ranges)
    signal = reader(encoding=encoding)
    assert signal.read(whole) is ConsentStatus.GRANTED

    core_end = whole.index(".")
    for end in range(len(whole)):
        # Without the publisher's purposes the string is complete.
        assert (signal.read(whole[:end]) is ConsentStatus.GRANTED) == (end == core_end)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"column": ""}, "GppTcfCanada.column"),
        ({"purposes": (1, 2)}, "GppTcfCanada.purposes: expected a tuple of purposes, 2 to 24"),
        ({"implied": (1,)}, "GppTcfCanada.implied"),
        ({"purposes": ()}, "GppTcfCanada.purposes: expected at least one purpose"),
        ({"implied": (3,)}, "a purpose cannot have two legal bases"),
        ({"vendor": 0}, "GppTcfCanada.vendor"),
        ({"encoding": "v2"}, "GppTcfCanada.encoding"),
    ],
)
def test_refuses_a_declaration_that_could_mislead(asked: Any, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        GppTcfCanada(**{"column": "gpp", "purposes": (2, 3), "vendor": 1, **asked})

    assert any(problem in f"{found.path}: {found.message}" for found in caught.value.problems)
