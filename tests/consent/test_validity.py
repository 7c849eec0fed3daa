"""Tests of the time in which a consent is valid, of times as numbers, and of records that must agree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_consent_retl.consent import (
    Agreeing,
    ColumnKind,
    ConsentPlan,
    ConsentTime,
    EpochTime,
    FirstOf,
    MostRestrictive,
    OptOut,
    Permitted,
    Recorded,
    RowConsent,
    SubjectStatus,
    TwoLists,
    count_decisions,
    parse_policy,
    plan_consent,
)
from airflow_consent_retl.consent.freshness import EpochUnit, validity_time
from airflow_consent_retl.errors import PolicyError

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
US = timedelta(microseconds=1)
UNITS: dict[EpochUnit, int] = {"s": 1, "ms": 1_000, "us": 1_000_000}


def planned(consent: Any, *, kinds: dict[str, ColumnKind] | None = None, **terms: Any) -> ConsentPlan:
    category = {"id": "C0004", "name": "Advertising", "destinations": ["webhook"], **terms}
    policy = parse_policy({"categories": [category]})
    return plan_consent(policy, destinations=["webhook"], mapping=consent, columns=kinds, at=AT)


def tokens_of(plan: ConsentPlan, row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(0 if signal is None else signal.token(row.get(signal.column)) for signal in plan.signals)


def answer(plan: ConsentPlan, **row: Any) -> str:
    decision = plan.decide_signature(tokens_of(plan, row), at=AT).decisions[plan.destinations[0]]
    return str(decision.ground) if isinstance(decision, Permitted) else " ".join(map(str, decision.reasons))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, "consented"),
        (AT - DAY, AT + DAY, "consented"),
        (AT - DAY, None, "consented"),
        (None, AT + US, "consented"),
        (None, AT + DAY, "consented"),
        (AT, None, "consented"),
        (None, AT - DAY, "C0004:expired"),
        (None, AT, "C0004:expired"),
        (AT + US, None, "C0004:unknown"),
        (AT + DAY, AT + 2 * DAY, "C0004:unknown"),
        (AT + DAY, AT - DAY, "C0004:expired"),
        ("2026-11-23T12:00:00Z", "2026-11-25T12:00:00+01:00", "consented"),
        (None, "2026-11-24T12:00:00Z", "C0004:expired"),
        (None, "2026-11-25", "C0004:invalid"),
        (None, "2026-11-25T12:00:00", "C0004:invalid"),
        ("", None, "C0004:invalid"),
        (None, 1, "C0004:invalid"),
    ],
)
def test_a_yes_counts_only_while_it_is_valid(start: object, end: object, expected: str) -> None:
    plan = planned({"C0004": Recorded("ads", valid_from="since", valid_until="until")})

    assert answer(plan, ads=True, since=start, until=end) == expected
    # A no needs no validity, and never expires.
    assert answer(plan, ads=False, since=start, until=end) == "C0004:denied"
    assert answer(plan, ads=None, since=start, until=end) == "C0004:unknown"


def test_under_opt_out_an_ended_yes_is_silence_and_an_ended_no_is_a_no() -> None:
    plan = planned({"C0004": Recorded("ads", valid_from="since", valid_until="until")}, regime="opt_out")

    assert answer(plan, ads=True, until=AT - DAY) == "not_opted_out"
    assert answer(plan, ads=True, since=AT + DAY) == "not_opted_out"
    assert answer(plan, ads=True, until="soon") == "C0004:invalid"
    assert answer(plan, ads=False, until=AT - DAY) == "C0004:denied"
    assert answer(plan, ads=False, since=AT + DAY) == "C0004:denied"


def test_an_ended_yes_leaves_the_decision_to_the_next_record() -> None:
    plan = planned({"C0004": FirstOf(Recorded("crm", valid_until="until"), "web")})

    assert answer(plan, crm=True, until=AT - DAY, web=True) == "consented"
    assert answer(plan, crm=True, until=AT - DAY, web=False) == "C0004:denied"
    assert answer(plan, crm=True, until=AT - DAY) == "C0004:expired"
    assert answer(plan, crm=True, until="torn", web=True) == "C0004:invalid"


def test_a_validity_needs_the_time_of_the_decision_and_its_columns() -> None:
    policy = parse_policy({"categories": [{"id": "C0004", "name": "Ads", "destinations": ["webhook"]}]})
    consent = {"C0004": Recorded("ads", valid_until="until")}

    with pytest.raises(ValueError, match="a category has a validity: `at`, the time of the decision, is missing"):
        plan_consent(policy, destinations=["webhook"], mapping=consent, columns=None)
    with pytest.raises(PolicyError, match="column `until` is not in the model"):
        planned(consent, kinds={"ads": ColumnKind.BOOLEAN})
    with pytest.raises(PolicyError, match=r"column `until` is other, expected moment or text"):
        planned(consent, kinds={"ads": ColumnKind.BOOLEAN, "until": ColumnKind.OTHER})
    with pytest.raises(
        PolicyError, match=r"column `until` is integer, expected .*; declare the unit of .*, EpochTime\('until', u"
    ):
        planned(consent, kinds={"ads": ColumnKind.BOOLEAN, "until": ColumnKind.INTEGER})
    with pytest.raises(PolicyError, match="column `untill` is not in the model, did you mean `until`"):
        planned(
            {"C0004": Recorded("ads", valid_until="untill")},
            kinds={"ads": ColumnKind.BOOLEAN, "until": ColumnKind.MOMENT},
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EpochTime("", "s"), r"expected the name of a column @ EpochTime\.column"),
        (lambda: EpochTime("at", "days"), r"expected `s`, `ms` or `us` @ EpochTime\.unit"),  # type: ignore[arg-type]
        (lambda: EpochTime("at", ["s"]), r"expected `s`, `ms` or `us` @ EpochTime\.unit"),  # type: ignore[arg-type]
        (lambda: Recorded("ads", valid_until=""), r"or EpochTime for numbers @ Recorded\.valid_until"),
        (lambda: Recorded("ads", valid_from=7), r"or EpochTime for numbers @ Recorded\.valid_from"),  # type: ignore[arg-type]
        (lambda: RowConsent({"C0004": "ads"}, time=7), r"or EpochTime for numbers @ consent\.time"),  # type: ignore[arg-type]
        (lambda: Agreeing("ads"), "expected at least two records @ Agreeing"),
        (lambda: TwoLists("a", "a"), "one column cannot be both lists"),
        (lambda: TwoLists("", "b"), r"expected the name of a column @ TwoLists\.allowed"),
        (lambda: TwoLists("a", "b", separator=""), r"expected text that is not empty, or None for JSON"),
    ],
)
def test_refuses_a_declaration_that_could_mislead(make: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        make()


@pytest.mark.parametrize("unit", UNITS)
def test_a_number_is_a_time_in_its_declared_unit_only(unit: EpochUnit) -> None:
    plan = planned({"C0004": Recorded("ads", valid_until=EpochTime("until", unit))})
    now = int(AT.timestamp()) * UNITS[unit]

    assert answer(plan, ads=True, until=now + 1) == "consented"
    assert answer(plan, ads=True, until=str(now + 1)) == "consented"
    assert answer(plan, ads=True, until=now) == "C0004:expired"
    assert answer(plan, ads=True, until=str(now)) == "C0004:expired"
    for other, factor in UNITS.items():
        if other != unit:
            assert answer(plan, ads=True, until=int((AT + DAY).timestamp()) * factor) == "C0004:invalid"
    for wrong in (0, -1, 2**62, 1.5, True, "", "-1", " 1", f"{now + 1}.0", "9" * 19, "\uff11", AT + DAY):
        assert answer(plan, ads=True, until=wrong) == "C0004:invalid"
    assert answer(plan, ads=True, until=None) == "consented"


# Up to some days before the year 10000.
times = st.integers(366 * 86_400 * 1_000_000, 253_402_000_000 * 1_000_000).map(
    lambda number: datetime(1970, 1, 1, tzinfo=UTC) + number * US
)


@given(st.sampled_from(list(UNITS)), times, times)
@example("s", AT, AT)
@example("s", AT, AT + US)
def test_a_number_and_a_timestamp_of_the_same_time_are_in_the_same_band(
    unit: EpochUnit, time: datetime, bound: datetime
) -> None:
    # A unit holds no parts of itself.
    step = 1_000_000 // UNITS[unit]
    time = time.replace(microsecond=time.microsecond // step * step)
    number = (time - datetime(1970, 1, 1, tzinfo=UTC)) // US // step

    assert ConsentTime("at", (bound,), unit).token(number) == ConsentTime("at", (bound,)).token(time)


@pytest.mark.parametrize(("days", "expected"), [(1, "consented"), (400, "C0004:expired"), (-2, "C0004:invalid")])
def test_the_age_of_consent_can_be_a_number(days: int, expected: str) -> None:
    plan = planned(RowConsent({"C0004": "ads"}, time=EpochTime("at", "ms")), max_age="1 year")
    number = int((AT - days * DAY).timestamp() * 1000)

    assert answer(plan, ads=True, at=number) == expected
    assert answer(plan, ads=True, at=number // 1000) == "C0004:invalid"
    assert answer(plan, ads=True, at=None) == "C0004:unknown"
    assert answer(plan, ads=False, at=number) == "C0004:denied"


def test_a_column_of_numbers_holds_integers_or_text() -> None:
    numbers = validity_time(EpochTime("at", "s"), at=AT)

    assert {kind for kind in ColumnKind if numbers.accepts(kind)} == {"integer", "text", "empty"}
    assert (numbers.time_bounds, len(numbers.number_bounds)) == ((), 3)
    assert ConsentTime("at", (AT,)).number_bounds == ()


RECORDS = {True: "yes", False: "no", None: "silent"}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (True, True, "consented"),
        (True, None, "consented"),
        (None, True, "consented"),
        (None, None, "C0004:unknown"),
        (False, None, "C0004:denied"),
        (None, False, "C0004:denied"),
        (False, False, "C0004:denied"),
        (True, False, "C0004:invalid"),
        (False, True, "C0004:invalid"),
        ("torn", True, "C0004:invalid"),
        (True, "torn", "C0004:invalid"),
        ("torn", None, "C0004:invalid"),
        ("torn", False, "C0004:denied"),
    ],
)
@pytest.mark.parametrize("regime", ["opt_in", "opt_out"])
def test_records_that_must_agree(first: object, second: object, expected: str, regime: str) -> None:
    plan = planned({"C0004": Agreeing("ads", "mail")}, regime=regime)
    if regime == "opt_out" and expected == "C0004:unknown":
        expected = "not_opted_out"

    assert answer(plan, ads=first, mail=second) == expected


def test_a_record_without_a_column_grants_no_one_whatever_the_other_says() -> None:
    policy = {
        "missing_consent_column": "deny",
        "categories": [{"id": "C0004", "name": "Ads", "destinations": ["webhook"]}],
    }
    plan = plan_consent(
        parse_policy(policy),
        destinations=["webhook"],
        mapping={"C0004": Agreeing("ads", OptOut("nowhere_to_be_found"))},
        columns={"ads": ColumnKind.BOOLEAN},
        at=AT,
    )

    assert answer(plan, ads=True) == "C0004:unknown"
    assert answer(plan, ads=False) == "C0004:denied"


@pytest.mark.parametrize("way", [MostRestrictive, FirstOf, Agreeing])
def test_an_unreadable_record_counts_as_invalid_also_beside_one_that_decides(way: Any) -> None:
    plan = planned({"C0004": way("ads", "mail")})
    rows: list[dict[str, Any]] = [
        {"ads": False, "mail": "torn"},
        {"ads": False, "mail": None},
        {"ads": True, "mail": True},
    ]
    histogram = {(SubjectStatus.IDENTIFIED, tokens_of(plan, row)): 10 for row in rows}

    counts = count_decisions(histogram, plan, at=AT)

    assert answer(plan, **rows[0]) == "C0004:denied"
    assert counts.invalid == 10
    assert counts.read == 30


def test_two_lists_name_both_columns_and_share_a_separator() -> None:
    lists = TwoLists("allowed", "refused", separator=",")
    plan = planned(lists)

    assert lists.columns == ("allowed", "refused")
    assert answer(plan, allowed="C0002,C0004", refused=",") == "consented"
    assert answer(plan, allowed="C0002", refused="C0004") == "C0004:denied"
    assert answer(plan, allowed="C0002,C0004", refused="C0004,C0005") == "C0004:invalid"
    with pytest.raises(PolicyError, match="column `refusd` is not in the model, did you mean `refused`"):
        planned(TwoLists("allowed", "refusd"), kinds={"allowed": ColumnKind.TEXT, "refused": ColumnKind.TEXT})


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [('["c0004"]', "[]"), ("[]", '["c0004"]'), ('["C0004 "]', None), (None, '["\u04210004"]'), ("[C0004]", None)],
)
def test_another_spelling_in_either_list_is_invalid_where_silence_permits(
    allowed: str | None, refused: str | None
) -> None:
    plan = planned(TwoLists("allowed", "refused"), regime="opt_out")

    assert answer(plan, allowed=allowed, refused=refused) == "C0004:invalid"
