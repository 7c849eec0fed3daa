"""Tests of the limits of times as numbers, of the oldest fresh timestamp, and of the numbers of notices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from airflow_consent_retl.consent import MaxAge
from airflow_consent_retl.consent.freshness import (
    EpochUnit,
    epoch_limits,
    epoch_time,
    parse_max_age,
    parse_notice_number,
)

# 1971-01-01 and 9999-12-31, in seconds since 1970.
FIRST, END = 365 * 86_400, 253_402_214_400


@pytest.mark.parametrize(("unit", "parts"), [("s", 1), ("ms", 1_000), ("us", 1_000_000)])
def test_a_number_is_a_time_from_1971_to_the_last_day_of_9999(unit: EpochUnit, parts: int) -> None:
    limits = epoch_limits(unit)

    assert limits == (FIRST * parts, END * parts, 1_000_000 // parts)
    # They are written into SQL, where a fraction would be another type.
    assert [type(limit) for limit in limits] == [int, int, int]
    assert epoch_time(FIRST * parts, unit) == datetime(1971, 1, 1, tzinfo=UTC)
    assert epoch_time(FIRST * parts - 1, unit) is None
    assert epoch_time(END * parts - 1, unit) == datetime(9999, 12, 31, tzinfo=UTC) - timedelta(seconds=1) / parts
    assert epoch_time(END * parts, unit) is None
    assert epoch_time(1_764_374_400 * parts, unit) == datetime(2025, 11, 29, tzinfo=UTC)


@pytest.mark.parametrize("number", [None, True, 1_764_374_400.0, "1764374400", 0, -1_764_374_400])
def test_anything_but_an_integer_between_them_is_no_time(number: object) -> None:
    assert epoch_time(number, "s") is None


@pytest.fixture
def _in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as environment:
        environment.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_in_new_york")
@pytest.mark.parametrize(
    ("age", "at", "oldest"),
    [
        # In New York, it is still February.
        (MaxAge(1, "months"), datetime(2026, 3, 1, 2, tzinfo=UTC), datetime(2026, 2, 1, 2, tzinfo=UTC)),
        # In Berlin, it is March already.
        (
            MaxAge(1, "months"),
            datetime(2026, 3, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))),
            datetime(2026, 1, 28, 23, 30, tzinfo=UTC),
        ),
        # New York's clocks go forward in between.
        (MaxAge(1, "days"), datetime(2026, 3, 8, 12, tzinfo=UTC), datetime(2026, 3, 7, 12, tzinfo=UTC)),
        (MaxAge(1, "months"), datetime(2026, 3, 31, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC)),
        (MaxAge(2, "years"), datetime(2026, 2, 28, tzinfo=UTC), datetime(2024, 2, 28, tzinfo=UTC)),
    ],
)
def test_an_age_is_counted_in_utc_wherever_the_machine_is(age: MaxAge, at: datetime, oldest: datetime) -> None:
    assert age.before(at) == oldest
    assert type(age.before(at)) is datetime


@pytest.mark.parametrize(
    ("version", "number"),
    [
        (0, ()),
        ("0", ()),
        ("0.0", ()),
        (2, (2,)),
        ("2", (2,)),
        ("2.0.0", (2,)),
        ("2.1.0", (2, 1)),
        ("2.0.1", (2, 0, 1)),
        ("02.10", (2, 10)),
        ("1.2.3.4.5.6.7.8", (1, 2, 3, 4, 5, 6, 7, 8)),
        ("999999999", (999_999_999,)),
    ],
)
def test_zeros_at_the_end_of_a_version_do_not_count(version: object, number: tuple[int, ...]) -> None:
    assert parse_notice_number(version) == number


@pytest.mark.parametrize(
    "version", [-1, 2.1, True, None, "", "2.", ".1", "2..1", "v2", " 2", "-1", "1.2.3.4.5.6.7.8.9", "1000000000"]
)
def test_anything_else_is_no_version(version: object) -> None:
    with pytest.raises(ValueError, match=r"^expected an integer, or text of numbers with dots between them"):
        parse_notice_number(version)


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("1 day", MaxAge(1, "days")),
        ("90 days", MaxAge(90, "days")),
        ("13 months", MaxAge(13, "months")),
        ("999 years", MaxAge(999, "years")),
    ],
)
def test_an_age_is_a_number_and_a_unit(text: str, age: MaxAge) -> None:
    assert parse_max_age(text) == age


@pytest.mark.parametrize(
    "text", ["", "0 days", "1000 days", "013 months", "13  months", "13 Months", "1 week", 13, None]
)
def test_anything_else_is_no_age(text: object) -> None:
    with pytest.raises(ValueError, match=r"^expected a number of days, months or years, such as `13 months`$"):
        parse_max_age(text)
