"""Tests of the reader of many TC strings at once, compared with the law."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.iab_strings import VENDOR, characters, core, disclosed, number, publisher, tcf

from airflow_consent_retl.consent import ConsentStatus, TcfString
from airflow_consent_retl.filtering.signatures import SignatureReader
from airflow_consent_retl.filtering.tc_strings import LEFT_TO_THE_LAW, answers

SIGNALS = [
    TcfString("tc", purposes=(1, 3, 4), vendor=VENDOR),
    TcfString("tc", purposes=(1,), legitimate_interest=(2, 7, 24), vendor=VENDOR, disclosed="required"),
    TcfString("tc", purposes=(), legitimate_interest=(10,), vendor=1, disclosed="if_present", oldest_policy=2),
    TcfString("tc", purposes=(24,), vendor=65_535, oldest_policy=5),
]
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
RULE_SINCE = 17_723_232_000

vendor_sets = st.sets(st.integers(1, 1200) | st.sampled_from([1, VENDOR, 65_535]), max_size=12)
purpose_sets = st.sets(st.integers(1, 24)) | st.just(set(range(1, 25)))
allowed_sets = st.sets(st.sampled_from([2, 7, 8, 9, 10, 11, 24]))


@st.composite
def strings(draw: st.DrawFn, *, restrictions: bool = False) -> str:
    """Return strings that the law can read, mostly as one of the signals wants them."""
    limit = st.tuples(st.integers(1, 24), st.integers(0, 2), vendor_sets)
    bits = core(
        consented=draw(purpose_sets),
        established=draw(allowed_sets),
        vendors=draw(vendor_sets),
        interested=draw(vendor_sets),
        as_ranges=draw(st.booleans()),
        policy=draw(st.sampled_from([5, 5, 5, 4, 2])),
        created=draw(st.sampled_from([RULE_SINCE - 1, RULE_SINCE, 17_800_000_000])),
        restrictions=draw(st.lists(limit, min_size=1, max_size=2)) if restrictions else (),
    )
    segments = []
    if draw(st.booleans()):
        segments.append(disclosed(draw(vendor_sets), as_ranges=draw(st.booleans())))
    if draw(st.booleans()):
        segments.append(publisher(custom=draw(st.integers(0, 63))))
    if draw(st.booleans()):
        segments.append(disclosed(draw(vendor_sets), kind=2))
    return tcf(bits, *draw(st.permutations(segments)), multiple=draw(st.sampled_from([6, 24])))


def by_law(texts: list[str], signal: TcfString) -> list[int]:
    return [signal.token(text) for text in texts]


def read(texts: list[str], signal: TcfString) -> list[int]:
    question = signal.tc_question
    assert question is not None
    found: list[int] = answers(pa.array(texts, pa.string()), question).tolist()
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(strings(), max_size=8), st.sampled_from(SIGNALS))
def test_reads_every_valid_string_as_the_law_does(texts: list[str], signal: TcfString) -> None:
    said = by_law(texts, signal)

    assert read(texts, signal) == [LEFT_TO_THE_LAW if token == signal.unlisted_token else token for token in said]


@settings(max_examples=25, deadline=None)
@given(st.lists(strings(restrictions=True), max_size=4), st.sampled_from(SIGNALS))
def test_leaves_the_restrictions_of_publishers_to_the_law(texts: list[str], signal: TcfString) -> None:
    assert set(read(texts, signal)) <= {LEFT_TO_THE_LAW}


@settings(max_examples=150, deadline=None)
@given(strings() | strings(restrictions=True), st.data(), st.sampled_from(SIGNALS))
def test_answers_for_no_damaged_string_otherwise_than_the_law(text: str, data: Any, signal: TcfString) -> None:
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(_ALPHABET + ".=é\n"))
    damaged = [
        text[:place] + other + text[place + 1 :],
        text[:place],
        text[place:],
        text[:place] + other + text[place:],
        text + other,
        text + "." + text[place:],
        text.replace(".", "", 1),
        text,
    ]

    for found, token in zip(read(damaged, signal), by_law(damaged, signal), strict=True):
        assert found in (LEFT_TO_THE_LAW, token)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text() | st.text("ABCDEFabc019-_.~", max_size=80), max_size=6))
def test_leaves_arbitrary_texts_to_the_law(texts: list[str]) -> None:
    assert set(read(texts, SIGNALS[0])) <= {LEFT_TO_THE_LAW}


GRANTING = tcf(core(consented=(1, 3, 4)), disclosed())
DENYING = tcf(core(consented=(1, 3)), disclosed())


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        GRANTING + ".",
        "." + GRANTING,
        GRANTING + ".A",
        GRANTING + "." + characters(disclosed()),
        tcf(core(consented=(1, 3, 4), version=1), disclosed()),
        tcf(core(consented=(1, 3, 4), policy=3), disclosed()),
        tcf(core(consented=(1, 3, 4), service_specific=False), disclosed()),
        tcf(core(consented=(1, 3, 4), language="E["), disclosed()),
        tcf(core(consented=(1, 3, 4), language="[E"), disclosed()),
        tcf(core(consented=(1, 3, 4), country="E["), disclosed()),
        tcf(core(consented=(1, 3, 4), country="[E"), disclosed()),
        *(tcf(core(consented=(1, 3, 4), established=(purpose,)), disclosed()) for purpose in (1, 3, 4, 5, 6)),
        tcf(core(consented=(1, 3, 4))),
        tcf(core(consented=(1, 3, 4)), "000" + "0" * 21),
        tcf(core(consented=(1, 3, 4)), disclosed(), "100" + "0" * 21),
        tcf(core(consented=(1, 3, 4)) + "1", disclosed()),
        tcf(core(consented=(1, 3, 4)) + "0" * 24, disclosed()),
        tcf(core(consented=(1, 3, 4)), disclosed() + "1"),
        tcf(core(consented=(1, 3, 4)), disclosed(), publisher() + "1"),
        tcf(core(consented=(1, 3, 4)), disclosed(), publisher(custom=20)[:-30]),
        *(
            tcf(core(consented=(1, 3, 4)), "001" + number(highest, 16) + "1" + number(1, 12) + entry)
            for highest, entry in (
                (2, "0" + number(3, 16)),
                (4, "0" + number(0, 16)),
                (4, "1" + number(3, 16) + number(2, 16)),
                (4, ""),
            )
        ),
    ],
)
def test_leaves_every_invalid_string_to_the_law(text: str) -> None:
    assert SIGNALS[0].read(text) is ConsentStatus.INVALID

    # Beside strings that it reads.
    assert read([GRANTING, text, DENYING], SIGNALS[0]) == [1, LEFT_TO_THE_LAW, 2]


def test_reads_more_strings_than_a_block_holds_and_a_slice_of_an_array() -> None:
    vendors = set(range(1, 1200, 2)) | {VENDOR}
    granting, denying = (
        tcf(core(consented=consented, vendors=vendors), disclosed(vendors)) for consented in ((1, 3, 4), (1,))
    )
    long = [granting if n % 3 else denying for n in range(2_000)]
    texts = pa.array([*long, "x" * 3_000_000, *long], pa.string())
    question = SIGNALS[0].tc_question
    assert question is not None

    whole, part = answers(texts, question), answers(texts.slice(1_999, 3), question)

    expected = [1 if n % 3 else 2 for n in range(2_000)]
    assert whole.tolist() == [*expected, LEFT_TO_THE_LAW, *expected]
    assert part.tolist() == [1, LEFT_TO_THE_LAW, 2]


def test_signatures_combine_both_readers() -> None:
    restricted = tcf(core(consented=(1, 3, 4), restrictions=[(3, 0, {VENDOR})]), disclosed())
    column = [GRANTING, None, restricted, "x", DENYING, GRANTING]

    codes = SignatureReader([SIGNALS[0]]).codes(pa.record_batch({"tc": pa.array(column, pa.string())}))

    assert codes.tolist() == [1, 0, 2, 3, 2, 1]


class Reversed(TcfString):
    """A format of one's own, which reads the other way round."""

    def read(self, text: str) -> ConsentStatus:
        return ConsentStatus.DENIED if super().read(text) is ConsentStatus.GRANTED else ConsentStatus.INVALID


def test_a_format_that_derives_from_it_is_read_by_itself_alone() -> None:
    signal = Reversed("tc", purposes=(1, 3, 4), vendor=VENDOR)

    codes = SignatureReader([signal]).codes(pa.record_batch({"tc": pa.array([GRANTING, DENYING])}))

    assert signal.tc_question is None
    assert np.array_equal(codes, [2, 3])
