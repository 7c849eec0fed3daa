"""Tests of TC strings: they decode exactly or are invalid; only consent to everything that a category needs grants."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.iab_strings import VENDOR, bits_of, characters, core, disclosed, number, publisher, tcf

from airflow_consent_retl.consent import ConsentStatus, TcfString
from airflow_consent_retl.errors import PolicyError

ADS = TcfString("tc", purposes=(1, 3, 4), vendor=VENDOR)
MEASURED = TcfString("tc", purposes=(1,), legitimate_interest=(7, 10), vendor=VENDOR)
# The specification's example, made under the policies of TCF 2.0.
PUBLISHED = "CQSbk4AQSbk4ANwAAAENAwCgAAAAAAAAAAYgACPAAAAA.IDKQA4AAgAKAGQAygAAA.YAAAAAAAAAAA"


def granting(**parts: Any) -> str:
    return tcf(core(consented=(1, 3, 4), **parts), disclosed())


def test_the_published_example_decodes_to_its_last_bit() -> None:
    of_its_policy = TcfString("tc", purposes=(1,), vendor=2, oldest_policy=2)

    assert of_its_policy.read(PUBLISHED) is ConsentStatus.DENIED
    assert TcfString("tc", purposes=(1,), vendor=2).read(PUBLISHED) is ConsentStatus.INVALID


@pytest.mark.parametrize("multiple", [6, 24])
@pytest.mark.parametrize("as_ranges", [False, True])
def test_consent_to_every_purpose_and_the_vendor_grants(as_ranges: bool, multiple: int) -> None:
    vendors = {1, 2, 3, 7, VENDOR, VENDOR + 1, 1000}
    bits = core(consented=(1, 2, 3, 4), vendors=vendors, interested={2}, as_ranges=as_ranges)

    text = tcf(bits, disclosed(vendors, as_ranges=as_ranges), publisher(), multiple=multiple)

    assert ADS.read(text) is ConsentStatus.GRANTED


def test_the_vendors_that_a_publisher_allows_decide_nothing_but_have_to_be_readable() -> None:
    read, allowed = core(consented=(1, 3, 4)), disclosed((), kind=2)

    assert ADS.read(tcf(read, disclosed(), allowed)) is ConsentStatus.GRANTED
    assert ADS.read(tcf(read, disclosed(), allowed[:12])) is ConsentStatus.INVALID


@pytest.mark.parametrize("custom", [0, 1, 63])
def test_a_publisher_may_have_up_to_63_purposes_of_its_own(custom: int) -> None:
    assert ADS.read(tcf(core(consented=(1, 3, 4)), disclosed(), publisher(custom=custom))) is ConsentStatus.GRANTED


@pytest.mark.parametrize(
    "text",
    [
        tcf(core(consented=(1, 3)), disclosed()),
        tcf(core(consented=(2, 5)), disclosed()),
        granting(vendors=()),
        granting(vendors=(VENDOR - 1, VENDOR + 1)),
        granting(vendors=(VENDOR - 1, VENDOR + 1), as_ranges=True),
        granting(vendors=(1,), interested=(VENDOR,)),
        granting(restrictions=[(3, 0, {VENDOR})]),
        granting(restrictions=[(4, 2, {1, VENDOR})]),
        tcf(core(consented=(1, 3, 4)), disclosed((VENDOR - 1,))),
        tcf(core(consented=(1, 3, 4)), disclosed(()), publisher()),
    ],
)
def test_less_than_that_denies(text: str) -> None:
    assert ADS.read(text) is ConsentStatus.DENIED


@pytest.mark.parametrize(
    "restrictions", [[(3, 1, {VENDOR})], [(3, 0, {VENDOR + 1})], [(2, 0, {VENDOR})], [(2, 2, {1}), (9, 0, {VENDOR})]]
)
def test_a_restriction_of_another_vendor_or_purpose_changes_nothing(restrictions: Any) -> None:
    assert ADS.read(granting(restrictions=restrictions)) is ConsentStatus.GRANTED


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ({"established": (7, 10), "interested": (VENDOR,)}, "granted"),
        ({"established": (7,), "interested": (VENDOR,)}, "denied"),
        ({"established": (7, 10)}, "denied"),
        ({"established": (7, 10), "interested": (VENDOR,), "restrictions": [(7, 1, {VENDOR})]}, "denied"),
        ({"established": (7, 10), "interested": (VENDOR,), "restrictions": [(7, 2, {VENDOR})]}, "granted"),
        ({"established": (7, 10), "interested": (VENDOR,), "restrictions": [(10, 0, {VENDOR})]}, "denied"),
    ],
)
def test_legitimate_interest_must_be_established_and_not_objected_to(parts: Any, status: str) -> None:
    text = tcf(core(consented=(1,), **parts), disclosed())

    assert MEASURED.read(text) == status


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        granting(version=1),
        granting(version=3),
        granting(policy=3),
        granting(service_specific=False),
        granting(language="E["),
        granting(country="{E"),
        *(granting(established=(purpose,)) for purpose in (1, 3, 4, 5, 6)),
        granting(restrictions=[(3, 3, {1})]),
        granting() + "=",
        granting() + ".",
        granting() + " ",
        "  " + granting(),
        granting().replace(".", "~"),
        granting() + "." + characters(disclosed()),
        granting() + "." + characters("000" + "0" * 21),
        granting() + "." + characters("100" + "0" * 21),
        tcf(core(consented=(1, 3, 4))),
        tcf(core(consented=(1, 3, 4)), publisher()),
        tcf(core(consented=(1, 3, 4)) + "1", disclosed()),
        tcf(core(consented=(1, 3, 4)) + "0" * 24, disclosed()),
        tcf(core(consented=(1, 3, 4)), disclosed() + "0" * 24),
        # Ranges of disclosed vendors beyond the highest, below the first, and backwards.
        *(
            tcf(core(consented=(1, 3, 4)), "001" + number(highest, 16) + "1" + number(1, 12) + entry)
            for highest, entry in (
                (2, "0" + number(3, 16)),
                (4, "0" + number(0, 16)),
                (4, "1" + number(3, 16) + number(2, 16)),
            )
        ),
        "COtybn4PA_zT4KjACBENAPCIAEBAAECAAIAAAAAAAAAA",
        "BOEFEAyOEFEAyAHABDENAI4AAAB9vABAASA",
    ],
)
def test_a_string_that_does_not_decode_exactly_is_invalid(text: str) -> None:
    assert ADS.read(text) is ConsentStatus.INVALID


# 1 March 2026, in tenths of a second.
RULE_SINCE = 17_723_232_000


@pytest.mark.parametrize(
    ("created", "updated", "by_date"),
    [
        (RULE_SINCE - 1, RULE_SINCE - 1, "granted"),
        (16_000_000_000, 17_000_000_000, "granted"),
        (RULE_SINCE, RULE_SINCE, "invalid"),
        # Whoever updates a string creates it anew; both times should be the same.
        (RULE_SINCE - 1, RULE_SINCE, "invalid"),
        (RULE_SINCE, RULE_SINCE - 1, "invalid"),
        ((1 << 36) - 1, 0, "invalid"),
    ],
)
def test_disclosed_vendors_are_required_by_the_date_of_the_string(created: int, updated: int, by_date: str) -> None:
    bits = core(consented=(1, 3, 4), created=created, updated=updated)
    required = TcfString("tc", purposes=(1, 3, 4), vendor=VENDOR, disclosed="required")
    if_present = TcfString("tc", purposes=(1, 3, 4), vendor=VENDOR, disclosed="if_present")

    assert ADS.read(tcf(bits)) == ADS.read(tcf(bits, publisher())) == by_date
    assert required.read(tcf(bits)) is ConsentStatus.INVALID
    assert if_present.read(tcf(bits)) is ConsentStatus.GRANTED
    for signal in (ADS, required, if_present):
        assert signal.read(tcf(bits, disclosed())) is ConsentStatus.GRANTED
        assert signal.read(tcf(bits, disclosed((1,)))) is ConsentStatus.DENIED


@pytest.mark.parametrize(
    ("policy", "established", "oldest", "status"),
    [
        # TCF 2.0 and 2.1 allowed legitimate interest for 2 to 10, TCF 2.2 only for 2 and 7 to 11.
        (2, (2, 3, 4, 5, 6, 7, 10), 2, "granted"),
        (3, (3, 6), 0, "granted"),
        (3, (3, 6), 3, "granted"),
        (3, (3, 6), 4, "invalid"),
        (4, (3,), 2, "invalid"),
        (4, (6,), 2, "invalid"),
        (4, (2, 7, 8, 9, 10, 11), 2, "granted"),
        (5, (2, 7), 4, "granted"),
        # Never for purpose 1.
        (2, (1,), 2, "invalid"),
        (5, (1,), 2, "invalid"),
    ],
)
def test_a_legal_basis_that_the_strings_own_policy_allowed_is_valid(
    policy: int, established: Any, oldest: int, status: str
) -> None:
    text = tcf(core(policy=policy, consented=(1, 3, 4), established=established), disclosed())
    signal = TcfString("tc", purposes=(1, 3, 4), vendor=VENDOR, oldest_policy=oldest)

    assert signal.read(text) == status


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (granting(), None),
        (tcf(core(), disclosed()), None),
        (None, None),
        (7, "not text"),
        ("", "characters outside of web-safe Base64"),
        (granting(version=3), "another version of the format than 2"),
        (granting(policy=3), "a version of the policies before the oldest accepted one"),
        (granting(service_specific=False), "global scope, which no longer exists"),
        (granting(language="E["), "a language or a country that has no letters"),
        (granting(established=(3,)), "legitimate interest for a purpose that its policy does not allow this for"),
        (granting(restrictions=[(3, 3, {1})]), "a restriction of another kind"),
        (tcf(core(consented=(1, 3, 4))), "no segment of disclosed vendors, which TCF 2.3 requires"),
        (granting() + "." + characters(disclosed()), "a repeated segment"),
        (granting() + "." + characters("100" + "0" * 21), "a segment of another kind"),
        (granting()[:60] + "." + characters(disclosed()), "it ends inside of a field"),
        (granting() + "AAAAA", "more bits than its fields have"),
        (
            tcf(core(), "001" + number(4, 16) + "1" + number(1, 12) + "0" + number(5, 16)),
            "a range of vendors that is not ascending, or ends after the highest vendor",
        ),
    ],
)
def test_an_invalid_string_says_why(text: object, reason: str | None) -> None:
    assert ADS.why_invalid(text) == reason
    assert (ADS.token(text) == ADS.unlisted_token) == (reason is not None)


def test_a_string_of_tcf_2_2_is_read_where_that_was_declared() -> None:
    old = TcfString("tc", purposes=(1, 3, 4), vendor=VENDOR, disclosed="if_present")

    assert old.read(tcf(core(consented=(1, 3, 4), policy=4))) is ConsentStatus.GRANTED
    assert old.read(tcf(core(consented=(1, 3, 4), policy=4), disclosed((1,)))) is ConsentStatus.DENIED


vendor_sets = st.sets(st.integers(1, 1200) | st.just(VENDOR), max_size=12)
purpose_sets = st.sets(st.integers(1, 24))


@settings(max_examples=150, deadline=None)
@given(
    purpose_sets,
    st.sets(st.sampled_from([2, 7, 8, 9, 10, 11])),
    vendor_sets,
    vendor_sets,
    vendor_sets,
    st.lists(st.tuples(st.integers(1, 24), st.integers(0, 2), vendor_sets), max_size=3),
    st.booleans(),
    st.sampled_from([6, 8 * 3]),
)
def test_any_string_decodes_to_its_parts(
    consented: Any,
    established: Any,
    vendors: Any,
    interested: Any,
    disclosed_vendors: Any,
    limits: Any,
    as_ranges: bool,
    to: int,
) -> None:
    bits = core(
        consented=consented,
        established=established,
        vendors=vendors,
        interested=interested,
        restrictions=limits,
        as_ranges=as_ranges,
    )
    text = tcf(bits, disclosed(disclosed_vendors), multiple=to)

    limited = {(purpose, kind) for purpose, kind, restricted in limits if VENDOR in restricted}
    may = VENDOR in disclosed_vendors and VENDOR in vendors and {1, 3, 4} <= consented
    may = may and not any((purpose, kind) in limited for purpose in (1, 3, 4) for kind in (0, 2))
    assert ADS.read(text) is (ConsentStatus.GRANTED if may else ConsentStatus.DENIED)


@settings(max_examples=60, deadline=None)
@given(st.booleans(), vendor_sets, st.booleans())
@example(as_ranges=True, others=set(), has_publisher=True)
def test_no_string_shorter_than_its_fields_grants(as_ranges: bool, others: set[int], has_publisher: bool) -> None:
    vendors = others | {VENDOR}
    segments = [disclosed(vendors, as_ranges=as_ranges), *([publisher()] if has_publisher else [])]
    whole = tcf(core(consented=(1, 3, 4), vendors=vendors, as_ranges=as_ranges), *segments)
    old = TcfString("tc", purposes=(1, 3, 4), vendor=VENDOR, disclosed="if_present")
    assert ADS.read(whole) is old.read(whole) is ConsentStatus.GRANTED

    for end in range(len(whole)):
        shorter = whole[:end]
        if whole[end] != ".":
            assert old.read(shorter) is ConsentStatus.INVALID
        assert ADS.read(shorter) is ConsentStatus.INVALID or shorter.count(".") == 1 < whole.count(".")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_bit_that_is_turned_never_makes_another_vendors_consent_ours(data: st.DataObject) -> None:
    text = tcf(core(consented=(1, 3, 4), vendors=(VENDOR - 1, VENDOR + 1)), disclosed((VENDOR - 1, VENDOR, VENDOR + 1)))
    head, _, rest = text.partition(".")
    bits = bits_of(head)
    place = data.draw(st.integers(0, len(bits) - 1))
    turned = bits[:place] + "10"[int(bits[place])] + bits[place + 1 :]

    # Only the vendor's own bit may.
    own = 213 + 17 + VENDOR - 1
    assert (ADS.read(f"{characters(turned)}.{rest}") is ConsentStatus.GRANTED) == (place == own)


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text("ABCDEFabc019-_.~", max_size=80))
def test_no_arbitrary_text_raises_or_grants(text: str) -> None:
    assert ADS.read(text) is ConsentStatus.INVALID


PURPOSES = "expected a tuple of purposes, 1 to 24"
NEED_CONSENT = "purposes 1 and 3 to 6 need consent @ TcfString.legitimate_interest"


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ({"column": ""}, ["expected the name of a column @ TcfString.column"]),
        ({"purposes": ()}, ["expected at least one purpose @ TcfString.purposes"]),
        ({"purposes": (0,)}, [f"{PURPOSES} @ TcfString.purposes"]),
        ({"purposes": (25,)}, [f"{PURPOSES} @ TcfString.purposes"]),
        ({"purposes": (True,)}, [f"{PURPOSES} @ TcfString.purposes"]),
        ({"purposes": (1, 1)}, ["a purpose is declared twice @ TcfString.purposes"]),
        ({"purposes": (2,), "legitimate_interest": (2,)}, ["a purpose cannot have two legal bases @ TcfString"]),
        ({"legitimate_interest": (3,)}, [NEED_CONSENT]),
        ({"purposes": (2,), "legitimate_interest": (1,)}, [NEED_CONSENT]),
        ({"legitimate_interest": ("a",)}, [f"{PURPOSES} @ TcfString.legitimate_interest"]),
        ({"legitimate_interest": 2}, [f"{PURPOSES} @ TcfString.legitimate_interest"]),
        ({"vendor": 0}, ["expected the number of a vendor, 1 to 65535 @ TcfString.vendor"]),
        ({"vendor": 65_536}, ["expected the number of a vendor, 1 to 65535 @ TcfString.vendor"]),
        (
            {"disclosed": "no", "oldest_policy": 64},
            [
                "expected `by_date`, `required` or `if_present` @ TcfString.disclosed",
                "expected a number from 0 to 63 @ TcfString.oldest_policy",
            ],
        ),
        ({"oldest_policy": -1}, ["expected a number from 0 to 63 @ TcfString.oldest_policy"]),
    ],
)
def test_refuses_a_declaration_that_could_mislead(given: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        TcfString(**{"column": "tc", "purposes": (1,), "vendor": 1, **given})

    assert [str(problem) for problem in caught.value.problems] == problems


def test_the_first_and_the_last_of_what_exists_can_be_declared() -> None:
    last = TcfString("tc", purposes=(1, 24), vendor=65_535, legitimate_interest=(2, 7), oldest_policy=63)

    assert (last.purposes, last.vendor, last.legitimate_interest, last.oldest_policy) == ((1, 24), 65_535, (2, 7), 63)
    assert TcfString("tc", purposes=(24,), vendor=1, oldest_policy=0).oldest_policy == 0
