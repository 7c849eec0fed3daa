"""Tests of counts by destination and reason: they add up."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from airflow_consent_retl.consent import (
    ColumnKind,
    DestinationCounts,
    DestinationName,
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
