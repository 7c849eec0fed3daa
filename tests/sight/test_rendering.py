"""Tests of how figures are shown, and of codes in words."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from jinja2 import UndefinedError

from airflow_consent_retl.consent.removal import RemovalCause
from airflow_consent_retl.consent.signals import ConsentStatus
from airflow_consent_retl.sight import words
from airflow_consent_retl.sight.charts import Tone
from airflow_consent_retl.sight.templating import NOTHING, day, duration, environment, number, share, short_digest, when

AT = datetime(2026, 11, 8, 16, 22, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 0, NOTHING),
        (0, 9, "0 %"),
        (9, 9, "100 %"),
        (1, 3, "33.3 %"),
        (1, 10_000, "< 0.1 %"),
        (9_999, 10_000, "> 99.9 %"),
    ],
)
def test_a_share_is_nothing_or_everything_only_where_it_is(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, NOTHING), (0, "0 s"), (59.6, "1 min"), (725, "12 min 5 s"), (86_400, "1 d"), (90_061, "1 d 1 h")],
)
def test_a_duration_has_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_times_and_digests_are_short() -> None:
    assert (when(AT), when(None), day(AT)) == ("2026-11-08 16:22 UTC", NOTHING, "8 Nov")
    assert (short_digest("sha256:0123456789abcdef"), short_digest("")) == ("0123456789ab", NOTHING)
    assert number(1_234_567) == "1,234,567"


def test_a_template_escapes_values_and_refuses_missing_ones() -> None:
    assert environment().from_string("{{ value }}").render(value="<b>") == "&lt;b&gt;"
    with pytest.raises(UndefinedError):
        environment().from_string("{{ value }}").render()


@pytest.mark.parametrize(
    ("code", "text", "tone"),
    [
        ("C0004:denied", "Advertising (C0004): the person said no", Tone.DENIED),
        ("C0002:unknown", "C0002: no answer is recorded", Tone.UNKNOWN),
        ("C0004:linked_doubt", "Advertising (C0004): a linked person's answer is in doubt", Tone.DOUBT),
        ("gpc:denied", "Global Privacy Control: it says no", Tone.DENIED),
        ("suppression:invalid", "suppression list: it cannot be read", Tone.DOUBT),
        ("duplicate_id", "several rows have this id", Tone.UNKNOWN),
        ("forgotten", "the person asked to be forgotten", Tone.DENIED),
        ("of a later release", "of a later release", Tone.UNKNOWN),
    ],
)
def test_a_reason_in_words(code: str, text: str, tone: Tone) -> None:
    assert words.reason(code, {"C0004": "Advertising"}) == text
    assert words.tone(code) is tone


def test_every_status_that_denies_and_every_cause_has_words() -> None:
    for status in set(ConsentStatus) - {ConsentStatus.GRANTED}:
        assert words.reason(f"C0004:{status}", {}) != f"C0004:{status}"
    for cause in RemovalCause:
        assert words.cause(cause) != cause
