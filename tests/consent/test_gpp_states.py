"""Tests of the sections with a header of their own: Maryland, Indiana, Kentucky and Rhode Island.

https://github.com/InteractiveAdvertisingBureau/Global-Privacy-Platform, `Sections/US-States`, of October 2025. The
strings of the IAB's library are those of its own tests, in `tests/cases/gpp_sections.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.iab_strings import CORE_ALONE, CORE_AND_ONE, CORE_TO_ONE, characters, gpp, number, section_header

from airflow_consent_retl.consent import ConsentStatus, GppUs
from airflow_consent_retl.errors import PolicyError

CASES = Path(__file__).parents[1] / "cases" / "gpp_sections.json"
OF_LIBRARY = json.loads(CASES.read_text())["without_header"]
IDS = {"usmd": 24, "usin": 25, "usky": 26, "usri": 27}
WITH_KINDS = ("usin", "usky", "usri")
NO_HEADER = "no header of this section, which its specification requires"
ANSWERS = {0: "unknown", 1: "denied", 2: "granted", 3: "invalid"}


def core(section: str, *, sale: int = 2, targeted: int = 2) -> str:
    bits = number(1, 6) + "01" * 5 + number(sale, 2) + number(targeted, 2)
    return bits + ("" if section == "usmd" else "01") + "10"


def written(section: str, core_bits: str, *more: str, listed: str | None = None, **header: int) -> str:
    """Return a string with one section, by the specification."""
    bits = section_header(**{"id_": IDS[section], **header}, listed=listed or (CORE_AND_ONE if more else CORE_ALONE))
    return gpp({IDS[section]: ".".join(map(characters, (bits, core_bits, *more)))})


def reader(section: str, **asked: Any) -> GppUs:
    return GppUs("gpp", section=section, **{"opt_outs": ("SaleOptOut", "TargetedAdvertisingOptOut"), **asked})


@pytest.mark.parametrize("section", IDS)
@pytest.mark.parametrize(
    ("sale", "targeted", "status"),
    [(2, 2, "granted"), (1, 2, "denied"), (2, 1, "denied"), (0, 2, "unknown"), (0, 1, "denied"), (3, 1, "invalid")],
)
def test_a_section_is_read_behind_its_own_header(section: str, sale: int, targeted: int, status: str) -> None:
    assert reader(section).read(written(section, core(section, sale=sale, targeted=targeted))) == status


@pytest.mark.parametrize(
    ("gpc", "status"), [("011", "denied"), ("010", "granted"), ("001", "invalid"), ("101", "invalid")]
)
@pytest.mark.parametrize("listed", [CORE_AND_ONE, CORE_TO_ONE])
def test_the_subsection_of_maryland_is_global_privacy_control(gpc: str, status: str, listed: str) -> None:
    text = written("usmd", core("usmd"), gpc, listed=listed)

    assert reader("usmd").read(text) == status
    assert reader("usmd", gpc="ignored").read(text) == ("invalid" if status == "invalid" else "granted")


@pytest.mark.parametrize("section", WITH_KINDS)
@pytest.mark.parametrize("listed", [CORE_AND_ONE, CORE_TO_ONE])
def test_the_subsection_of_the_others_is_sensitive_data(section: str, listed: str) -> None:
    given = (2, 1, 0, 2, 1, 0, 2, 3)
    text = written(section, core(section), "".join(number(answer, 2) for answer in given), listed=listed)

    for kind, answer in enumerate(given, start=1):
        assert reader(section, opt_outs=(), sensitive=(kind,)).read(text) == ANSWERS[answer]
    assert reader(section).read(text) is ConsentStatus.GRANTED
    assert reader(section, sensitive=(1, 2)).read(text) is ConsentStatus.DENIED
    assert reader(section, sensitive=(1, 2, 3)).read(text) is ConsentStatus.DENIED


@pytest.mark.parametrize("section", WITH_KINDS)
def test_no_subsection_of_sensitive_data_is_no_answer(section: str) -> None:
    text = written(section, core(section))

    assert reader(section, opt_outs=(), sensitive=(1,)).read(text) is ConsentStatus.UNKNOWN
    assert reader(section, sensitive=(1,)).read(text) is ConsentStatus.UNKNOWN


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (gpp({24: characters(core("usmd"))}), NO_HEADER),
        (written("usmd", core("usmd"), id_=25), NO_HEADER),
        (written("usmd", core("usmd"), version=2), "another version of the section"),
        (
            written("usmd", core("usmd"), listed=CORE_AND_ONE),
            "other subsections than the section's header lists",
        ),
        (written("usmd", core("usmd"), "010", listed=CORE_ALONE), "other subsections than the section's header lists"),
        # One subsection with the id 1: the core is missing.
        (
            written("usmd", core("usmd"), listed=number(1, 12) + "0" + "11"),
            "more bits than its fields have",
        ),
        (written("usmd", core("usmd"), listed=number(0, 12)), "it ends inside of a field"),
        (written("usmd", core("usmd"), listed=number(0, 13)), "other subsections than the section's header lists"),
        (written("usmd", core("usmd"), "010", "010"), "other subsections than the section's header lists"),
        (
            gpp({24: characters(section_header(24, listed=CORE_ALONE))}),
            "other subsections than the section's header lists",
        ),
        # More zeros than fill up a string.
        (written("usmd", core("usmd"), listed=CORE_ALONE + "0" * 30), "more bits than its fields have"),
        (written("usmd", core("usmd"), listed=CORE_ALONE + "1"), "more bits than its fields have"),
        (written("usmd", core("usmd")[:-6]), "too few fields for a version of the section that is known"),
        (written("usmd", core("usmd") + "1"), "more bits than its fields have"),
        (written("usmd", core("usmd"), "100"), "a segment of another kind than Global Privacy Control"),
        (written("usmd", core("usmd"), "01"), None),
        (written("usmd", core("usmd", sale=3)), "an answer that the specification does not have"),
        (gpp({24: ""}), "characters outside of web-safe Base64"),
        (gpp({25: "x"}), None),
        (gpp({24: "x"})[:-2], "another number of sections than its header lists"),
        ("CAAA~x", "another header than that of the Global Privacy Platform, version 1"),
    ],
)
def test_a_section_that_contradicts_its_specification_says_why(text: str, reason: str | None) -> None:
    signal = reader("usmd")

    assert signal.why_invalid(text) == reason
    assert (signal.read(text) is ConsentStatus.INVALID) == (reason is not None)


@pytest.mark.parametrize("vector", OF_LIBRARY, ids=lambda vector: vector["section"])
def test_the_iabs_own_library_contradicts_the_specification(vector: dict[str, Any]) -> None:
    section = vector["section"]
    of_library = reader(section, encoding="iab_library")

    for text in (vector["all_applicable"], vector["nothing_applies"], vector["core_alone"]):
        wrapped = gpp({IDS[section]: text})
        assert reader(section).why_invalid(wrapped) == NO_HEADER
        assert of_library.why_invalid(wrapped) is None
    assert of_library.read(gpp({IDS[section]: vector["all_applicable"]})) is ConsentStatus.DENIED
    assert of_library.read(gpp({IDS[section]: vector["nothing_applies"]})) is ConsentStatus.UNKNOWN
    for kind, answer in enumerate(vector["sensitive"], start=1):
        signal = reader(section, opt_outs=(), sensitive=(kind,), encoding="iab_library")
        assert signal.read(gpp({IDS[section]: vector["all_applicable"]})) == ANSWERS[answer]


@pytest.mark.parametrize("section", IDS)
def test_one_encoding_is_invalid_for_the_other(section: str) -> None:
    of_library = reader(section, encoding="iab_library")

    assert of_library.read(gpp({IDS[section]: characters(core(section))})) is ConsentStatus.GRANTED
    assert of_library.read(written(section, core(section))) is ConsentStatus.INVALID
    assert of_library.read(gpp({IDS[section]: f"{characters(core(section))}.Q.Q"})) is ConsentStatus.INVALID


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(IDS)), st.booleans(), st.data())
def test_a_character_that_is_changed_never_turns_a_no_into_a_yes(section: str, alone: bool, data: Any) -> None:
    text = written(section, core(section, sale=1), *([] if alone else ["010" if section == "usmd" else "10" * 8]))
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"))
    changed = text[:place] + other + text[place + 1 :]

    # Only the answer's own character may: bits 16 and 17 of the core.
    own = text.index(".") + 1 + 16 // 6
    assert reader(section).read(changed) is not ConsentStatus.GRANTED or place == own


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(IDS)), st.booleans())
def test_no_shorter_string_grants(section: str, alone: bool) -> None:
    whole = written(section, core(section), *([] if alone else ["010" if section == "usmd" else "10" * 8]))
    assert reader(section).read(whole) is ConsentStatus.GRANTED

    for end in range(len(whole) - 1):
        assert reader(section).read(whole[:end]) is ConsentStatus.INVALID


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"section": "usmd", "sensitive": (1,)}, "GppUs.sensitive"),
        ({"section": "usin", "sensitive": (9,)}, "numbers from 1 to 8"),
        ({"section": "usmd", "opt_outs": ("SharingOptOut",)}, "GppUs.opt_outs"),
        ({"section": "usmd", "encoding": "library"}, "expected `specification` or `iab_library`"),
        ({"section": "usca", "opt_outs": ("SaleOptOut",), "encoding": "iab_library"}, "libraries write `usca` as its"),
        ({"section": "uspv1", "opt_outs": ("SaleOptOut",), "encoding": "iab_library"}, "GppUs.encoding"),
    ],
)
def test_refuses_a_question_that_the_section_does_not_have(asked: Any, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem):
        reader(**asked)
