"""Tests of GPP strings: the header lists the sections, and each section is read field by field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.iab_strings import VENDOR, characters, core, disclosed, fibonacci, gpp, number, tcf

from airflow_consent_retl.consent import ConsentStatus, GppTcf, GppUs
from airflow_consent_retl.consent.formats.gpp_sections import SECTIONS
from airflow_consent_retl.errors import PolicyError

VECTORS = json.loads((Path(__file__).parents[1] / "cases" / "gpp_sections.json").read_text())["sections"]
ANSWERS = {0: "unknown", 1: "denied", 2: "granted"}
TCF = tcf(core(consented=(1, 3, 4)), disclosed())
# https://github.com/InteractiveAdvertisingBureau/Global-Privacy-Platform, `Core/Consent String Specification.md`
PUBLISHED = {
    "DBABM~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA": ("denied", "unknown"),
    "DBACNY~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA~1YNN": ("denied", "granted"),
    "DBACNYA~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA~1YNN": ("denied", "granted"),
    # Sections 5, of Canada, and 6.
    "DBABjw~CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA~1YNN": ("unknown", "granted"),
}
NATIONAL = GppUs("gpp", section="usnat", opt_outs=("SaleOptOut", "TargetedAdvertisingOptOut"))


@pytest.mark.parametrize("text", PUBLISHED)
def test_the_published_examples_are_read(text: str) -> None:
    european = GppTcf("gpp", purposes=(1,), vendor=VENDOR, disclosed="if_present", oldest_policy=2)
    american = GppUs("gpp", section="uspv1", opt_outs=("SaleOptOut",))

    assert (european.read(text), american.read(text)) == PUBLISHED[text]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["section"])
def test_the_published_strings_of_each_section_decode_to_their_fields(vector: dict[str, Any]) -> None:
    name, sensitive = vector["section"], vector["sensitive"]
    asked = [field for field, _ in SECTIONS[name].layouts[0].fields if field.endswith("OptOut")]
    text = gpp({SECTIONS[name].id: vector["all_applicable"]})
    empty = gpp({SECTIONS[name].id: vector["nothing_applies"]})

    for field in asked:
        signal = GppUs("gpp", section=name, opt_outs=(field,), gpc="ignored")
        assert (signal.read(text), signal.read(empty)) == ("denied", "unknown")
    assert len(sensitive) == max(layout.sensitive for layout in SECTIONS[name].layouts)
    for kind, answered in enumerate(sensitive, start=1):
        signal = GppUs("gpp", section=name, opt_outs=(), sensitive=(kind,), gpc="ignored")
        assert signal.read(text) == ANSWERS[answered]


def national(sale: int, targeted: int, *, version: int = 2, gpc: bool | None = False, sensitive: int = 0) -> str:
    more = [16, 3] if version == 2 else [12, 2]
    bits = number(version, 6) + "01" * 6 + number(sale, 2) + "10" + number(targeted, 2)
    bits += number(sensitive, 2) * more[0] + "00" * more[1] + "00" + "01" * 3
    text = characters(bits)
    return gpp({7: text if gpc is None else f"{text}.{characters('01' + '01'[gpc])}"})


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("sale", "targeted", "gpc", "status"),
    [
        (2, 2, False, "granted"),
        (2, 2, None, "granted"),
        (2, 2, True, "denied"),
        (1, 2, False, "denied"),
        (2, 1, None, "denied"),
        (0, 2, False, "unknown"),
        (0, 1, False, "denied"),
        (0, 0, True, "denied"),
        (3, 2, False, "invalid"),
        (3, 1, True, "invalid"),
    ],
)
def test_the_strictest_answer_counts(version: int, sale: int, targeted: int, gpc: bool | None, status: str) -> None:
    assert NATIONAL.read(national(sale, targeted, version=version, gpc=gpc)) == status


@pytest.mark.parametrize(
    ("version", "kinds", "answer", "status"),
    [
        (2, (13, 14, 15, 16), 2, "granted"),
        (2, (13,), 1, "denied"),
        (2, (16,), 0, "unknown"),
        (2, (16,), 3, "invalid"),
        # Version 1 has 12 kinds: it says nothing about others.
        (1, (13, 14, 15, 16), 2, "unknown"),
        (1, (12, 13), 2, "unknown"),
        (1, (12, 13), 1, "denied"),
        (1, (1, 12), 2, "granted"),
    ],
)
def test_kinds_that_version_2_added_can_be_asked(version: int, kinds: Any, answer: int, status: str) -> None:
    signal = GppUs("gpp", section="usnat", opt_outs=(), sensitive=kinds)

    assert signal.read(national(2, 2, version=version, sensitive=answer)) == status


def test_global_privacy_control_is_ignored_if_declared() -> None:
    signal = GppUs("gpp", section="usnat", opt_outs=("SaleOptOut",), gpc="ignored")

    assert signal.read(national(2, 1, gpc=True)) is ConsentStatus.GRANTED


def test_a_section_of_tcf_is_read_with_others() -> None:
    signal = GppTcf("gpp", purposes=(1, 3), vendor=VENDOR)
    usnat = national(2, 2).partition("~")[2]

    assert signal.read(gpp({2: TCF, 6: "1YNN", 7: usnat})) is ConsentStatus.GRANTED
    assert NATIONAL.read(gpp({2: TCF, 6: "1YNN", 7: usnat})) is ConsentStatus.GRANTED
    assert signal.read(gpp({7: usnat})) is ConsentStatus.UNKNOWN
    assert NATIONAL.read(gpp({2: TCF})) is ConsentStatus.UNKNOWN


@pytest.mark.parametrize(
    ("text", "status"),
    [("1YNN", "granted"), ("1NNN", "granted"), ("1YYN", "denied"), ("1Y-N", "unknown"), ("1---", "unknown")]
    + [(text, "invalid") for text in ("", "1YN", "1YNNN", "2YNN", "1ynn", "1YXN", " 1YNN")],
)
def test_the_us_privacy_string_contains_the_opt_out_of_sale(text: str, status: str) -> None:
    assert GppUs("gpp", section="uspv1", opt_outs=("SaleOptOut",)).read(gpp({6: text})) == status


@pytest.mark.parametrize(
    "text",
    [
        "",
        "~",
        "DBABM",
        national(2, 2) + "~",
        national(2, 2) + "~1YNN",
        national(2, 2).replace("~", "."),
        national(2, 2) + "." + characters("010"),
        national(2, 2, gpc=None) + "." + characters("100"),
        national(2, 2, gpc=None) + ".",
        gpp({7: national(2, 2, gpc=None).partition("~")[2]}, version=2),
        gpp({7: national(2, 2, gpc=None).partition("~")[2]}, kind=2),
        gpp({7: national(2, 2, gpc=None).partition("~")[2][:-2]}),
        gpp({7: national(2, 2, gpc=None).partition("~")[2] + "A" * 4}),
        gpp({7: "C" + national(2, 2, version=1, gpc=None).partition("~")[2][1:]}),
        gpp({7: "D" + national(2, 2, gpc=None).partition("~")[2][1:]}),
        "D" + characters(number(1, 6) + number(4095, 12) + "0")[1:] + "~1YNN",
        # A group of sections without an end.
        characters(number(3, 6) + number(1, 6) + number(1, 12) + "1" + "11" + "0" * 60 + "11") + "~1YNN",
    ],
)
def test_a_string_that_does_not_decode_exactly_is_invalid(text: str) -> None:
    assert NATIONAL.read(text) is ConsentStatus.INVALID


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([1, 2]), st.sampled_from([None, False]))
def test_no_string_shorter_than_its_fields_grants(version: int, gpc: bool | None) -> None:
    whole = national(2, 2, version=version, gpc=gpc)
    assert NATIONAL.read(whole) is ConsentStatus.GRANTED

    for end in range(len(whole)):
        # The padding of the last characters is not a field.
        if whole[end] != "." and (gpc is not None or end < len(whole) - 1):
            assert NATIONAL.read(whole[:end]) is ConsentStatus.INVALID


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text("ABCDEFabc019-_.~", max_size=60))
def test_no_arbitrary_text_raises_or_grants(text: str) -> None:
    for signal in (NATIONAL, GppTcf("gpp", purposes=(1,), vendor=VENDOR)):
        assert signal.read(text) in (ConsentStatus.INVALID, ConsentStatus.UNKNOWN)


OPT_OUTS_OF_USVA = "expected a tuple of `SaleOptOut`, `TargetedAdvertisingOptOut`"


@pytest.mark.parametrize(
    ("asked", "problems"),
    [
        ({"column": ""}, ["expected the name of a column @ GppUs.column"]),
        ({"section": "usnatt"}, ["there is no section `usnatt`, did you mean `usnat`? @ GppUs.section"]),
        ({"section": "uspv"}, ["there is no section `uspv`, did you mean `uspv1`? @ GppUs.section"]),
        ({"section": "wyoming"}, ["there is no section `wyoming` @ GppUs.section"]),
        ({"section": 7}, ["there is no section `7` @ GppUs.section"]),
        ({"opt_outs": ("SharingOptOut",)}, [f"{OPT_OUTS_OF_USVA} @ GppUs.opt_outs"]),
        ({"opt_outs": "SaleOptOut"}, [f"{OPT_OUTS_OF_USVA} @ GppUs.opt_outs"]),
        ({"sensitive": (9,)}, ["expected a tuple of numbers from 1 to 8 @ GppUs.sensitive"]),
        ({"sensitive": (0,)}, ["expected a tuple of numbers from 1 to 8 @ GppUs.sensitive"]),
        ({"sensitive": (True,)}, ["expected a tuple of numbers from 1 to 8 @ GppUs.sensitive"]),
        ({"sensitive": 1}, ["expected a tuple of numbers from 1 to 8 @ GppUs.sensitive"]),
        ({"section": "usnat", "sensitive": (17,)}, ["expected a tuple of numbers from 1 to 16 @ GppUs.sensitive"]),
        ({"section": "uspv1", "sensitive": (1,)}, ["expected a tuple of numbers from 1 to 0 @ GppUs.sensitive"]),
        (
            {"section": "uspv1", "opt_outs": ("TargetedAdvertisingOptOut",)},
            ["expected a tuple of `SaleOptOut` @ GppUs.opt_outs"],
        ),
        ({"opt_outs": ()}, ["expected at least one question @ GppUs.opt_outs"]),
        ({"gpc": "no"}, ["expected `denies` or `ignored` @ GppUs.gpc"]),
        (
            {"opt_outs": ("x",), "sensitive": (9,), "gpc": None, "encoding": None},
            [
                f"{OPT_OUTS_OF_USVA} @ GppUs.opt_outs",
                "expected a tuple of numbers from 1 to 8 @ GppUs.sensitive",
                "expected `denies` or `ignored` @ GppUs.gpc",
                "expected `specification` or `iab_library` @ GppUs.encoding",
            ],
        ),
    ],
)
def test_refuses_a_declaration_that_could_mislead(asked: Any, problems: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        GppUs(**{"column": "x", "section": "usva", "opt_outs": ("SaleOptOut",), **asked})

    assert [str(problem) for problem in caught.value.problems] == problems


def test_refuses_a_wrong_question_to_a_tc_string() -> None:
    with pytest.raises(PolicyError, match=r"TcfString\.purposes"):
        GppTcf("x", purposes=(), vendor=1)


TOO_FEW = "too few fields for a version of the section that is known"
HEADER_OF_ONE = number(3, 6) + number(1, 6) + number(1, 12) + "0"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (national(2, 2) + "." + characters("010"), "more segments than the section has"),
        (
            gpp({7: "D" + national(2, 2, gpc=None).partition("~")[2][1:]}),
            TOO_FEW,
        ),
        (gpp({7: "C"}), TOO_FEW),
        (
            characters(HEADER_OF_ONE + "0" * 30 + "11") + "~x",
            "a section with an impossible number",
        ),
        (characters(HEADER_OF_ONE + "0" * 9), "it ends inside of a field"),
        (national(2, 2), None),
    ],
)
def test_an_invalid_string_says_why(text: str, reason: str | None) -> None:
    assert NATIONAL.why_invalid(text) == reason


def test_a_us_privacy_string_that_is_none_says_why() -> None:
    signal = GppUs("gpp", section="uspv1", opt_outs=("SaleOptOut",))

    assert signal.why_invalid(gpp({6: "1YNX"})) == "other characters than those of a US Privacy string"
    assert signal.why_invalid(gpp({6: "1YNN"})) is None


def test_the_highest_section_that_a_header_can_list() -> None:
    for section, status in ((4_095, ConsentStatus.UNKNOWN), (4_096, ConsentStatus.INVALID)):
        assert NATIONAL.read(gpp({section: "x"})) is status


def test_a_group_of_sections_is_read() -> None:
    # Sections 6 to 8, in one group.
    header = characters(number(3, 6) + number(1, 6) + number(1, 12) + "1" + fibonacci(6) + fibonacci(2))
    usnat = national(2, 2).partition("~")[2]

    assert NATIONAL.read("~".join([header, "1YNN", usnat, "x"])) is ConsentStatus.GRANTED
    assert NATIONAL.read("~".join([header, "1YNN", usnat])) is ConsentStatus.INVALID
