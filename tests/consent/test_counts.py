"""Tests of counts by destination and reason: they add up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airflow_consent_retl.consent import (
    ColumnKind,
    DestinationCounts,
    DestinationName,
    FirstOf,
    Signature,
    SubjectStatus,
    count_decisions,
    parse_policy,
    plan_consent,
)

AT = datetime(2026, 11, 1, tzinfo=UTC)
PLAN = plan_consent(
    parse_policy(
        {
            "categories": [
                {"id": "C0004", "name": "Ads", "destinations": ["webhook"]},
                {"id": "C0002", "name": "Stats", "destinations": ["webhook", "crm_table"]},
            ]
        }
    ),
    destinations=["webhook", "crm_table"],
    mapping={"C0002": "analytics_ok", "C0004": "ads_ok"},
    columns={"analytics_ok": ColumnKind.BOOLEAN, "ads_ok": ColumnKind.BOOLEAN},
)
OK = SubjectStatus.IDENTIFIED
NOT_REQUIRED = {"consent": "not_required", "reason": "own store"}

Histogram = dict[tuple[SubjectStatus, Signature], int]


def test_counts_rows_by_destination_and_reason() -> None:
    histogram: Histogram = {
        (OK, (2, 1)): 0,
        (OK, (1, 1)): 1000,
        (OK, (1, 2)): 100,
        (OK, (2, 0)): 10,
        (OK, (3, 3)): 4,
        (SubjectStatus.MISSING_ID, (1, 1)): 2,
        (SubjectStatus.DUPLICATE_ID, (2, 1)): 1,
    }

    counts = count_decisions(histogram, PLAN, at=AT)

    assert counts.destinations == {
        "crm_table": DestinationCounts(
            read=1117,
            permitted=1100,
            denied=17,
            denied_by_reason={"C0002:denied": 11, "C0002:invalid": 4, "duplicate_id": 1, "missing_id": 2},
            denied_by_reasons={
                ("C0002:denied",): 10,
                ("C0002:denied", "duplicate_id"): 1,
                ("C0002:invalid",): 4,
                ("missing_id",): 2,
            },
        ),
        "webhook": DestinationCounts(
            read=1117,
            permitted=1000,
            denied=117,
            denied_by_reason={
                "C0002:denied": 11,
                "C0002:invalid": 4,
                "C0004:denied": 100,
                "C0004:invalid": 4,
                "C0004:unknown": 10,
                "duplicate_id": 1,
                "missing_id": 2,
            },
            denied_by_reasons={
                ("C0002:denied", "C0004:unknown"): 10,
                ("C0002:denied", "duplicate_id"): 1,
                ("C0002:invalid", "C0004:invalid"): 4,
                ("C0004:denied",): 100,
                ("missing_id",): 2,
            },
        ),
    }
    assert counts.read == 1117
    assert counts.invalid == 4
    assert counts.for_nobody == 17
    assert counts.by_subject == {
        OK: 1114,
        SubjectStatus.MISSING_ID: 2,
        SubjectStatus.DUPLICATE_ID: 1,
        SubjectStatus.FORGOTTEN: 0,
    }


def test_reasons_are_counted_in_alphabetical_order() -> None:
    histogram: Histogram = {(SubjectStatus.MISSING_ID, (1, 1)): 1, (OK, (3, 3)): 1, (OK, (2, 0)): 1, (OK, (0, 2)): 1}

    counts = count_decisions(histogram, PLAN, at=AT).destinations

    assert list(counts) == ["crm_table", "webhook"]
    for of_destination in counts.values():
        assert list(of_destination.denied_by_reason) == sorted(of_destination.denied_by_reason)
        assert list(of_destination.denied_by_reasons) == sorted(of_destination.denied_by_reasons)


def test_no_rows_are_counted_as_none() -> None:
    counts = count_decisions({(OK, (2, 2)): 0}, PLAN, at=AT)
    nothing = count_decisions({}, PLAN, at=AT)

    assert (counts.read, counts.invalid, counts.for_nobody) == (0, 0, 0)
    assert nothing.destinations[DestinationName("webhook")] == DestinationCounts(0, 0, 0, {}, {})
    assert counts == nothing


def test_refuses_a_negative_number_of_rows() -> None:
    with pytest.raises(ValueError, match=r"^a signature cannot have fewer than 0 rows$"):
        count_decisions({(OK, (1, 1)): -1}, PLAN, at=AT)


def test_counts_as_of_the_time_it_is_given() -> None:
    with pytest.raises(ValueError, match="needs a time zone"):
        count_decisions({(OK, (1, 1)): 1}, PLAN, at=datetime(2026, 11, 1))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("histogram", "always"),
    [
        ({(OK, (1, 1)): 5}, ("C0002", "C0004")),
        ({(OK, (1, 1)): 5, (OK, (1, 2)): 1}, ("C0002",)),
        ({(OK, (1, 1)): 5, (OK, (0, 1)): 1}, ("C0004",)),
        ({(OK, (2, 2)): 3}, ()),
        ({}, ()),
    ],
)
def test_names_the_categories_that_every_row_grants(histogram: Histogram, always: tuple[str, ...]) -> None:
    assert count_decisions(histogram, PLAN, at=AT).always_granted == always


def test_rows_in_which_records_disagree_are_counted_by_category() -> None:
    categories = [{"id": name, "name": name, "destinations": ["webhook"]} for name in ("C0002", "C0004")]
    plan = plan_consent(
        parse_policy({"categories": categories}),
        destinations=["webhook"],
        mapping={"C0002": FirstOf("stats_crm", "stats_web"), "C0004": FirstOf("ads_crm", "ads_web")},
        columns=None,
    )

    def row(**tokens: int) -> tuple[SubjectStatus, Signature]:
        return OK, tuple(tokens.get(signal.column, 0) for signal in plan.signals if signal is not None)

    both = row(stats_crm=1, stats_web=2, ads_crm=2, ads_web=1)
    one, none = row(stats_crm=1, ads_crm=1, ads_web=2), row(stats_web=1, ads_crm=2, ads_web=2)

    counts = count_decisions({both: 7, one: 30, none: 100}, plan, at=AT)

    assert dict(counts.conflicts) == {"C0002": 7, "C0004": 37}
    # Reports print them in this order, whichever was found first.
    assert list(count_decisions({one: 1, both: 1}, plan, at=AT).conflicts) == ["C0002", "C0004"]
    assert count_decisions({none: 1}, plan, at=AT).conflicts == {}


def test_rows_without_a_guarded_field_are_counted_by_field() -> None:
    categories = [
        {"id": "C0002", "name": "Phone", "fields": {"webhook": ["phone", "mobile"]}},
        {"id": "C0004", "name": "Ads", "destinations": ["webhook"], "fields": {"crm_table": ["email"]}},
    ]
    plan = plan_consent(
        parse_policy({"categories": categories, "destinations": {"crm_table": NOT_REQUIRED}}),
        destinations=["webhook", "crm_table"],
        mapping={"C0002": "calls", "C0004": "ads"},
        columns=None,
    )
    histogram: Histogram = {(OK, (1, 1)): 100, (OK, (2, 1)): 20, (OK, (0, 1)): 3, (OK, (1, 2)): 7, (OK, (2, 2)): 1}

    webhook, crm_table = (
        count_decisions(histogram, plan, at=AT).destinations[DestinationName(name)] for name in ("webhook", "crm_table")
    )

    # A row that the destination does not receive is sent without nothing.
    assert dict(webhook.withheld_fields) == {"mobile": 23, "phone": 23}
    assert dict(crm_table.withheld_fields) == {"email": 8}
    assert (webhook.permitted, crm_table.permitted) == (123, 131)


def test_decisions_that_were_made_before_are_not_made_again() -> None:
    granted: Signature = (1, 1)
    denied: Signature = (2, 2)
    # Told from a new decision by its content, which is another signature's.
    before = {(OK, granted): PLAN.decide_signature(denied, at=AT)}

    counts = count_decisions({(OK, granted): 3, (OK, denied): 4}, PLAN, at=AT, decided_before=before)

    assert counts.for_nobody == 7
    assert count_decisions({(OK, granted): 3, (OK, denied): 4}, PLAN, at=AT, decided_before={}).for_nobody == 4
