"""Tests of every combination of several records against an oracle: the same rule, written in SQL.

The oracle shares no code with the law. It states the rule over a table of records, each with what it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import duckdb
import pytest

from airflow_consent_retl.consent import (
    FirstOf,
    MostRestrictive,
    OptOut,
    Permitted,
    Recorded,
    RowConsent,
    parse_consent_mapping,
    parse_policy,
    plan_consent,
)

# Measuring the coverage of so many decisions takes several times as long as making them.
pytestmark = pytest.mark.no_cover

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
TIMES = {
    "fresh": AT - timedelta(days=2),
    "old": AT - timedelta(days=400),
    "undated": None,
    "future": AT + timedelta(days=2),
}
READINGS = ("consent", "objection", "declared")
REGIMES: dict[str, dict[str, Any]] = {
    "opt_in": {"regime": "opt_in"},
    "opt_out": {"regime": "opt_out"},
    "exempt": {"regime": "exempt", "reason": "no law", "owner": "legal"},
    "regional": {"regions": {"US": "opt_out", "DE": "opt_in"}},
}
COUNTRIES = ("US", "DE", None)
# One record: the raw value, its time, and whether its source is in doubt about it.
State = tuple[bool | None, str, bool]
Row = tuple[State, ...]

ORACLE = """
    with said as (
        select row, place, case
            when doubt then 'conflict'
            when raw is null then 'silent'
            when raw = (reading <> 'consent') then 'no'
            when reading = 'objection' then 'silent'
            when time = 'fresh' then 'yes'
            when time = 'old' then 'old'
            when time = 'undated' then 'silent'
            else 'unreadable'
        end as word
        from record
    ),
    counted as (
        select
            row,
            coalesce(first(word order by place) filter (word not in ('silent', 'old')), 'silent') as deciding,
            bool_and(word = 'yes') as all_yes,
            bool_or(word in ('no', 'conflict')) as any_no,
            bool_or(word = 'unreadable') as any_unreadable
        from said group by row
    ),
    applied as (
        select
            *,
            case when combining = 'FirstOf' then deciding = 'yes' else all_yes end as opted_in,
            not any_no and case
                when combining = 'FirstOf' then deciding <> 'unreadable' else not any_unreadable
            end as not_opted_out
        from counted, (select ?::varchar as combining, ?::varchar as regime, ?::varchar as country)
    )
    select row, case
        when regime = 'exempt' then true
        when regime = 'opt_in' or (regime = 'regional' and country = 'DE') then opted_in
        when regime = 'opt_out' or country = 'US' then not_opted_out
        -- A country that the policy does not name is permitted no more than any that it names.
        else opted_in and not_opted_out
    end
    from applied
"""


def oracle(
    readings: Sequence[str], rows: Sequence[Row], combining: str, regime: str, country: str | None
) -> list[bool]:
    """Return whether each row is permitted."""
    records = [
        (number, place, reading, raw, time, doubt)
        for number, row in enumerate(rows)
        for place, (reading, (raw, time, doubt)) in enumerate(zip(readings, row, strict=True))
    ]
    with duckdb.connect() as connection:
        connection.execute(
            "create table record as select unnest(?::integer[]) as row, unnest(?::integer[]) as place, "
            "unnest(?::varchar[]) as reading, unnest(?::boolean[]) as raw, unnest(?::varchar[]) as time, "
            "unnest(?::boolean[]) as doubt",
            [list(column) for column in zip(*records, strict=True)],
        )
        found = dict(connection.execute(ORACLE, [combining, regime, country]).fetchall())
    return [found[number] for number in range(len(rows))]


def law(
    readings: Sequence[str],
    rows: Sequence[Row],
    combining: type[FirstOf | MostRestrictive],
    regime: str,
    country: str | None,
) -> list[bool]:
    """Return whether each row is permitted."""
    records = [
        Recorded(
            f"raw_{place}" if reading == "consent" else OptOut(f"raw_{place}", false_is_yes=reading == "declared"),
            time=f"time_{place}",
        )
        for place, reading in enumerate(readings)
    ]
    mapping = parse_consent_mapping(RowConsent({"C0004": combining(*records)}, region="country")).with_elsewhere(
        doubts={f"raw_{place}": f"doubt_{place}" for place in range(len(readings))}, suppressions=()
    )
    category = {"id": "C0004", "name": "Ads", "destinations": ["webhook"], "max_age": "1 year", **REGIMES[regime]}
    plan = plan_consent(
        parse_policy({"categories": [category]}), destinations=["webhook"], mapping=mapping, columns=None, at=AT
    )
    found = []
    for row in rows:
        values: dict[str, Any] = {"country": country}
        for place, (raw, time, doubt) in enumerate(row):
            values |= {f"raw_{place}": raw, f"time_{place}": TIMES[time], f"doubt_{place}": 1 if doubt else None}
        tokens = tuple(0 if signal is None else signal.token(values[signal.column]) for signal in plan.signals)
        found.append(isinstance(plan.decide_signature(tokens, at=AT).decisions[plan.destinations[0]], Permitted))
    return found


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("combining", [FirstOf, MostRestrictive])
@pytest.mark.parametrize("readings", list(product(READINGS, repeat=2)))
def test_the_law_and_the_oracle_agree_on_two_records(
    readings: tuple[str, ...], combining: type[FirstOf | MostRestrictive], regime: str
) -> None:
    states: list[State] = list(product([True, False, None], TIMES, [False, True]))
    rows = list(product(states, repeat=2))

    for country in COUNTRIES if regime == "regional" else (None,):
        decided = law(readings, rows, combining, regime, country)

        assert len(decided) == 24**2
        assert decided == oracle(readings, rows, combining.__name__, regime, country)


@pytest.mark.parametrize("regime", ["opt_in", "opt_out", "regional"])
@pytest.mark.parametrize("combining", [FirstOf, MostRestrictive])
@pytest.mark.parametrize(
    "readings", [("consent",) * 3, ("objection", "consent", "declared"), ("consent", "declared", "objection")]
)
def test_the_law_and_the_oracle_agree_on_three_records(
    readings: tuple[str, ...], combining: type[FirstOf | MostRestrictive], regime: str
) -> None:
    states: list[State] = [(raw, time, False) for raw, time in product([True, False, None], ["fresh", "old"])]
    rows = list(product([*states, (True, "fresh", True)], repeat=3))

    for country in COUNTRIES if regime == "regional" else (None,):
        decided = law(readings, rows, combining, regime, country)

        assert decided == oracle(readings, rows, combining.__name__, regime, country)
