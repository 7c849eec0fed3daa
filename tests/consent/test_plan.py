"""Tests of consent plans: the checks of a DAG's request, and the decisions about signatures."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.consent import (
    BooleanColumn,
    CategoryId,
    ColumnKind,
    ConsentMappingLike,
    ConsentObject,
    ConsentPlan,
    ConsentStatus,
    Denied,
    EpochTime,
    ExcludedDestinations,
    FirstOf,
    Literals,
    Recorded,
    RowConsent,
    SubjectStatus,
    decide,
    parse_policy,
    plan_consent,
)
from airflow_consent_retl.consent.plan import CategoryReading, DecidedBefore, RecordReading
from airflow_consent_retl.consent.policy import DestinationName
from airflow_consent_retl.errors import PolicyError
from airflow_consent_retl.fields.field_values import answer_name

CASES = Path(__file__).parents[1] / "cases"
PROBLEMS = json.loads((CASES / "plan_problems.json").read_text())
ROWS = json.loads((CASES / "rows.json").read_text())
AT = datetime(2026, 11, 1, tzinfo=UTC)


def declared(mapping: Any) -> ConsentMappingLike:
    if not isinstance(mapping, dict):
        return mapping  # type: ignore[no-any-return]
    if "object" in mapping:
        options = {key: value for key, value in mapping.items() if key != "object"}
        return ConsentObject(mapping["object"], **options)
    return {
        category: Literals(entry["literals"], granted=entry["granted"], denied=entry.get("denied", ()))
        if isinstance(entry, dict)
        else entry
        for category, entry in mapping.items()
    }


def planned(case: dict[str, Any]) -> ConsentPlan:
    columns = case["columns"]
    return plan_consent(
        parse_policy(case["policy"] | case.get("settings", {})),
        destinations=case["destinations"],
        mapping=declared(case["mapping"]),
        columns=None if columns is None else {name: ColumnKind(kind) for name, kind in columns.items()},
    )


@pytest.mark.parametrize("case", PROBLEMS["cases"], ids=lambda case: case["name"])
def test_a_dags_request_is_checked_against_policy_and_model(case: dict[str, Any]) -> None:
    try:
        plan = planned(PROBLEMS["defaults"] | case)
        problems, warnings = [], list(plan.warnings)
    except PolicyError as error:
        problems, warnings = [str(problem) for problem in error.problems], []

    assert problems == case["problems"]
    assert warnings == case.get("warnings", [])


@pytest.mark.parametrize(
    ("table", "row"),
    [(table, row) for table in ROWS for row in table["rows"]],
    ids=[f"{table['name']} {index}" for table in ROWS for index, _ in enumerate(table["rows"])],
)
def test_a_row_goes_to_the_recipients_of_the_table(table: dict[str, Any], row: dict[str, Any]) -> None:
    plan = planned(table)
    tokens = tuple(signal.token(row["values"][signal.column]) if signal else 0 for signal in plan.signals)

    decided = plan.decide_signature(tokens, SubjectStatus(row.get("subject", "identified")), at=AT)

    assert list(decided.recipients) == row["recipients"]
    assert {
        destination: [str(reason) for reason in decision.reasons]
        for destination, decision in decided.decisions.items()
        if isinstance(decision, Denied)
    } == row["reasons"]


def test_a_plan_contains_everything_that_a_run_needs() -> None:
    policy = parse_policy(PROBLEMS["defaults"]["policy"] | {"missing_consent_column": "deny"})

    plan = plan_consent(
        policy,
        destinations=("webhook", "lake", "crm_table"),
        mapping={"C0004": "elsewhere", "C0002": "ads_ok"},
        columns={"ads_ok": ColumnKind.BOOLEAN, "email": ColumnKind.TEXT},
    )

    assert plan.policy is policy
    assert plan.destinations == ("crm_table", "lake", "webhook")
    assert plan.categories == ("C0002", "C0004")
    assert plan.signals == (BooleanColumn("ads_ok"), None)
    assert plan.consent_columns == ("ads_ok",)


def test_the_columns_of_a_plan_are_sorted_and_each_there_once() -> None:
    document = {
        "categories": [
            {"id": "A", "name": "1", "destinations": ["webhook"]},
            {"id": "B", "name": "2", "destinations": ["webhook"]},
            {"id": "C", "name": "3", "destinations": ["webhook"]},
            {"id": "D", "name": "4", "destinations": ["lake"]},
        ]
    }

    plan = plan_consent(
        parse_policy(document),
        destinations=["webhook"],
        mapping={"A": "zebra", "B": "apple", "C": "zebra", "D": "unused"},
        columns={"zebra": ColumnKind.BOOLEAN, "apple": ColumnKind.BOOLEAN, "unused": ColumnKind.BOOLEAN},
    )

    assert plan.consent_columns == ("apple", "zebra")


def a_plan() -> ConsentPlan:
    return planned(PROBLEMS["defaults"])


def test_a_signature_is_decided_as_each_destination_alone() -> None:
    plan = a_plan()
    consent = {CategoryId("C0002"): ConsentStatus.GRANTED, CategoryId("C0004"): ConsentStatus.UNKNOWN}

    decided = plan.decide_signature((1, 0), at=AT)

    assert decided.statuses == (ConsentStatus.GRANTED, ConsentStatus.UNKNOWN)
    assert decided.decisions == {name: decide(plan.policy, name, consent, at=AT) for name in plan.destinations}


def test_a_plan_without_required_categories_has_one_signature() -> None:
    plan = planned(PROBLEMS["defaults"] | {"destinations": ["lake"]})

    assert plan.categories == ()
    assert plan.decide_signature((), at=AT).recipients == ("lake",)


@pytest.mark.parametrize("tokens", [(), (1,), (1, 1, 1)])
def test_refuses_a_signature_of_another_plan(tokens: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"^a signature of this plan has 2 tokens, found {len(tokens)}$"):
        a_plan().decide_signature(tokens, at=AT)


def test_refuses_a_token_for_a_category_without_a_column() -> None:
    case = {"settings": {"missing_consent_column": "deny"}, "mapping": {"C0002": "analytics_ok"}}
    plan = planned(PROBLEMS["defaults"] | case)

    with pytest.raises(ValueError, match=r"^not a token of a category without a column, which has 0 to 0$"):
        plan.decide_signature((1, 1), at=AT)


def test_refuses_a_token_that_the_column_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"^not a token of column `analytics_ok`, which has 0 to 3$"):
        a_plan().decide_signature((4, 0), at=AT)


def test_what_was_decided_before_is_not_decided_again() -> None:
    plan, before, webhook = a_plan(), DecidedBefore(), DestinationName("webhook")
    first = plan.decide_signature((1, 2), at=AT, before=before)

    assert plan.decide_signature((1, 2), at=AT, before=before).decisions[webhook] is first.decisions[webhook]
    assert plan.decide_signature((1, 2), at=AT).decisions[webhook] is not first.decisions[webhook]
    for key in before.statuses:
        before.statuses[key] = (ConsentStatus.EXPIRED, ())
    assert plan.decide_signature((1, 2), at=AT, before=before).statuses == (ConsentStatus.EXPIRED,) * 2


def test_a_plan_made_up_with_the_answer_of_a_category_without_a_column_has_no_answer() -> None:
    case = {"settings": {"missing_consent_column": "deny"}, "mapping": {"C0002": "analytics_ok"}}
    plan = planned(PROBLEMS["defaults"] | case)
    made_up = dataclasses.replace(plan, readings=(CategoryReading((RecordReading(1),)),) * 2)

    assert plan.statuses((1, 0)) == (ConsentStatus.GRANTED, ConsentStatus.UNKNOWN)
    assert made_up.statuses((1, 0)) == (ConsentStatus.UNKNOWN,) * 2


EXEMPT = {"regime": "exempt", "reason": "contract", "owner": "legal"}
GUARDED = parse_policy(
    {
        "categories": [
            {
                "id": "A",
                "name": "Contract",
                "destinations": ["webhook"],
                "regime": "exempt",
                "reason": "r",
                "owner": "o",
            },
            {"id": "B", "name": "Phone", "fields": {"webhook": ["phone"]}},
            {"id": "C", "name": "Advertising", "destinations": ["lake"]},
        ]
    }
)


@pytest.mark.parametrize(
    ("row", "withheld"),
    [
        ({"b": True, "c": True, "gpc": False}, ()),
        ({"b": True, "c": None, "gpc": False}, (answer_name("C"),)),
        ({"b": None, "c": True, "gpc": False}, ("phone",)),
        ({"b": True, "c": True, "gpc": True}, ("phone", answer_name("C"))),
    ],
)
def test_fields_and_answers_without_a_yes_are_withheld_from_a_destination_that_gets_the_row(
    row: dict[str, bool | None], withheld: tuple[str, ...]
) -> None:
    plan = plan_consent(
        GUARDED,
        destinations=["webhook", "lake"],
        mapping=RowConsent({"B": "b", "C": "c"}, gpc="gpc"),
        columns=None,
        answers={"webhook": ["C"]},
    )
    tokens = tuple(signal.token(row[signal.column]) if signal else 0 for signal in plan.signals)

    decided = plan.decide_signature(tokens, at=AT)

    assert "webhook" in decided.recipients
    assert decided.withheld.get(DestinationName("webhook"), ()) == withheld


def test_a_plan_made_up_with_a_signal_short_decides_nothing() -> None:
    plan = dataclasses.replace(a_plan(), signals=(BooleanColumn("analytics_ok"),))

    with pytest.raises(ValueError, match="has 1 tokens, found 2"):
        plan.decide_signature((1, 1), at=AT)


@pytest.mark.parametrize("readings", [(), (CategoryReading(),), (CategoryReading(),) * 3])
def test_a_plan_made_up_with_other_readings_than_categories_has_no_statuses(
    readings: tuple[CategoryReading, ...],
) -> None:
    plan = dataclasses.replace(a_plan(), readings=readings)

    with pytest.raises(ValueError, match=r"zip\(\) argument 2"):
        plan.statuses((1, 1))


def test_the_time_of_the_decision_is_passed_on() -> None:
    with pytest.raises(ValueError, match="needs a time zone"):
        a_plan().decide_signature((1, 1), at=datetime(2026, 11, 1))  # noqa: DTZ001


ALIKE = ("c0002", "c0003", "c0004", "c0005", "c0006")
BOOLEAN = ColumnKind.BOOLEAN
ONE_EACH = parse_policy(
    {
        "categories": [
            {"id": "C0002", "name": "Analytics", "destinations": ["lake"]},
            {"id": "C0004", "name": "Advertising", "destinations": ["webhook"]},
        ]
    }
)


def test_a_column_of_the_model_is_not_a_misspelling_of_another() -> None:
    mapping = {"C0002": "c0002", "C0004": "c0004"}

    plan = plan_consent(
        ONE_EACH, destinations=["webhook"], mapping=mapping, columns={"c0004": BOOLEAN}, known_columns=["c0002"]
    )

    assert plan.signals == (BooleanColumn("c0004"),)
    with pytest.raises(PolicyError, match="`c0002` is not in the model, did you mean `c0004`"):
        plan_consent(ONE_EACH, destinations=["webhook"], mapping=mapping, columns={"c0004": BOOLEAN})


@pytest.mark.parametrize("known", [["c0002"], ["c0002", "c0004"]])
def test_a_misspelling_of_a_column_that_is_not_read_is_refused(known: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        plan_consent(
            ONE_EACH,
            destinations=["webhook"],
            mapping={"C0002": "c_0002", "C0004": "c0004"},
            columns={"c0004": BOOLEAN},
            known_columns=known,
        )

    assert [str(problem) for problem in caught.value.problems] == [
        "column `c_0002` is not in the model, did you mean `c0002`? @ consent.C0002"
    ]


def test_without_kinds_no_spelling_is_checked_whatever_is_known() -> None:
    plan = plan_consent(
        ONE_EACH, destinations=["webhook"], mapping={"C0004": "c_0004"}, columns=None, known_columns=["c0004"]
    )

    assert plan.signals == (BooleanColumn("c_0004"),)


@given(
    st.sets(st.sampled_from(ALIKE), min_size=1),
    st.tuples(*[st.sampled_from([*ALIKE, "elsewhere"])] * 3),
    st.sampled_from([["lake"], ["webhook"], ["lake", "webhook"]]),
    st.sampled_from(["deny", "error"]),
)
def test_a_plan_on_the_columns_that_are_read_is_the_plan_on_all_of_them(
    model: set[str], mapped: tuple[str, str, str], destinations: list[str], missing: str
) -> None:
    policy = parse_policy(
        {
            "missing_consent_column": missing,
            "categories": [
                {"id": "C0002", "name": "Analytics", "destinations": ["lake"]},
                {"id": "C0004", "name": "Advertising", "destinations": ["webhook"]},
            ],
        }
    )
    mapping: ConsentMappingLike = {"C0002": mapped[0], "C0004": FirstOf(*mapped[1:])}
    wanted = plan_consent(policy, destinations=destinations, mapping=mapping, columns=None).consent_columns

    def outcome(columns: set[str]) -> ConsentPlan | list[str]:
        kinds = dict.fromkeys(sorted(columns), BOOLEAN)
        try:
            return plan_consent(
                policy, destinations=destinations, mapping=mapping, columns=kinds, known_columns=sorted(model)
            )
        except PolicyError as error:
            return [str(problem) for problem in error.problems]

    assert outcome(model.intersection(wanted)) == outcome(model)


def test_every_column_of_a_row_is_checked_for_a_misspelling() -> None:
    columns = ["ads_ok", "consent_at", "notice", "country", "gpc", "excluded"]
    row = RowConsent(
        {"C0004": "adsok"},
        time=EpochTime("consent_att", "s"),
        notice_version="notce",
        region="contry",
        gpc="gp_c",
        switches=ExcludedDestinations("exluded"),
    )

    with pytest.raises(PolicyError) as caught:
        plan_consent(ONE_EACH, destinations=["webhook"], mapping=row, columns=dict.fromkeys(columns, BOOLEAN))

    assert [str(problem) for problem in caught.value.problems] == [
        f"column `{named}` is not in the model, did you mean `{meant}`? @ consent.{path}"
        for named, meant, path in (
            ("adsok", "ads_ok", "C0004"),
            ("consent_att", "consent_at", "time"),
            ("notce", "notice", "notice_version"),
            ("contry", "country", "region"),
            ("gp_c", "gpc", "gpc"),
            ("exluded", "excluded", "switches"),
        )
    ]


@pytest.mark.parametrize(
    ("terms", "record", "what"),
    [
        ({"max_age": "1 year"}, Recorded("ads_ok", time="at"), "a `max_age`"),
        ({}, Recorded("ads_ok", valid_from="since"), "a validity"),
        ({}, Recorded("ads_ok", valid_until="ends"), "a validity"),
    ],
)
def test_what_ends_needs_the_time_of_the_decision(terms: dict[str, str], record: Recorded, what: str) -> None:
    policy = parse_policy({"categories": [{"id": "C0004", "name": "Ads", "destinations": ["webhook"], **terms}]})

    with pytest.raises(ValueError, match=f"^a category has {what}: `at`, the time of the decision, is missing$"):
        plan_consent(policy, destinations=["webhook"], mapping={"C0004": record}, columns=None)
