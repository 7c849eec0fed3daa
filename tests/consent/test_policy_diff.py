"""Tests of policy documents and policy diffs: a policy is equal after a round trip, and diffs are exact."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from consent.test_properties import documents
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.consent import (
    Permitted,
    SubjectStatus,
    pair_plans,
    parse_policy,
    plan_consent,
    policy_document,
)
from airflow_consent_retl.consent.policy_diff import DestinationDiff
from airflow_consent_retl.errors import PolicyError

AT = datetime(2026, 11, 24, tzinfo=UTC)
MAPPING = {"C0001": "c1", "C0002": "c2", "C0003": "c3", "C0004": "c4"}
ASKED = ("webhook", "crm_table", "lake")
TERMS: dict[str, Any] = {
    "regime": "exempt",
    "regions": {"US-CA": "opt_out", "DE": "opt_in"},
    "max_age": "13 months",
    "min_notice_version": "2.10",
    "fields": {"webhook:emea": ["phone", "street"]},
    "reason": "none",
    "owner": "legal",
}


@given(documents())
def test_a_policy_survives_being_written_down(document: dict[str, Any]) -> None:
    policy = parse_policy(document)

    assert parse_policy(json.dumps(policy_document(policy))) == policy


@pytest.mark.parametrize(
    "terms",
    [
        TERMS,
        {"min_notice_version": 0},
        {"fields": {"webhook": ["a"]}},
        {
            "fields": {
                "webhook": ["street", {"class": "phone", "aliases": ["tel", "mobile"]}],
                "webhook:emea": ["phone"],
            }
        },
        {"max_age": "1 year", "enabled": False},
    ],
)
def test_terms_survive_being_written_down(terms: dict[str, Any]) -> None:
    document = {"categories": [{"id": "C0004", "name": "Advertising", "destinations": ["webhook"], **terms}]}

    policy = parse_policy(document)

    assert parse_policy(policy_document(policy)) == policy


@given(documents(), documents(), st.lists(st.tuples(*[st.sampled_from([True, False, None])] * 4), max_size=12))
def test_gains_and_losses_equal_those_of_deciding_every_row_twice(
    old_document: dict[str, Any], new_document: dict[str, Any], people: list[tuple[bool | None, ...]]
) -> None:
    documents_ = [{**document, "unmapped_destinations": "permit"} for document in (old_document, new_document)]
    try:
        plans = [
            plan_consent(parse_policy(d), destinations=ASKED, mapping=MAPPING, columns=None, at=AT) for d in documents_
        ]
    except PolicyError:
        return  # one of them is refused: nothing to compare
    pair = pair_plans(*plans)
    rows = [dict(zip(MAPPING.values(), answers, strict=True)) for answers in people]
    counted = [(SubjectStatus.IDENTIFIED, tokens_of(pair.plan, row), 1) for row in rows]

    diff = pair.diff(counted, at=AT)

    for name in ASKED:
        before, after = (
            [isinstance(plan.decide_signature(tokens_of(plan, row), at=AT).decisions[name], Permitted) for row in rows]  # type: ignore[index]
            for plan in plans
        )
        found = diff.destinations[name]  # type: ignore[index]
        assert (found.permitted_before, found.permitted_after) == (sum(before), sum(after))
        assert found.gained == sum(is_ and not was for was, is_ in zip(before, after, strict=True))
        assert found.lost == sum(was and not is_ for was, is_ in zip(before, after, strict=True))
        assert found.permitted_after == found.permitted_before + found.gained - found.lost
        # Rows that both permit, with fewer and with more fields withheld.
        withheld = [
            [set(plan.decide_signature(tokens_of(plan, row), at=AT).withheld.get(name, ())) for row in rows]  # type: ignore[call-overload]
            for plan in plans
        ]
        both = [(was, is_) for was, is_, *permitted in zip(*withheld, before, after, strict=True) if all(permitted)]
        assert found.opened == sum(bool(was - is_) for was, is_ in both)
        assert found.closed == sum(bool(is_ - was) for was, is_ in both)
        assert (found.released, found.taken) == (found.gained + found.opened, found.lost + found.closed)
        assert sum(found.opened_fields.values()) == sum(len(was - is_) for was, is_ in both)


def tokens_of(plan: Any, row: dict[str, Any]) -> tuple[int, ...]:
    return tuple(signal.token(row[signal.column]) for signal in plan.signals)


def test_the_report_names_categories_and_numbers() -> None:
    old = {"categories": [{"id": "C0004", "name": "Advertising", "destinations": ["webhook", "lake"]}]}
    new = {"categories": [{"id": "C0002", "name": "Analytics", "destinations": ["webhook"]}]}
    plans = [
        plan_consent(parse_policy(d), destinations=["webhook", "lake"], mapping=MAPPING, columns=None)
        for d in (old, new)
    ]
    pair = pair_plans(*plans)
    people = [(True, False, 5), (False, True, 3), (None, True, 2), (True, True, 1)]
    counted = [(SubjectStatus.IDENTIFIED, tokens_of(pair.plan, {"c4": c4, "c2": c2}), rows) for c4, c2, rows in people]

    lines = pair.diff(counted, at=AT).to_markdown().splitlines()

    assert lines == [
        f"Of 11 rows, under {plans[0].policy.digest} before and {plans[1].policy.digest} after:",
        "",
        "| destination | permitted before | after | gain | lose | denied before because | denied now because |",
        "|---|---:|---:|---:|---:|---|---|",
        "| `lake` | 6 | 11 | 5 | 0 | C0004:denied 3, C0004:unknown 2 |  |",
        "| `webhook` | 6 | 6 | 5 | 5 | C0004:denied 3, C0004:unknown 2 | C0002:denied 5 |",
    ]
    with pytest.raises(ValueError, match="every destination of the old one"):
        pair_plans(plans[0], plan_consent(parse_policy(new), destinations=["lake"], mapping=MAPPING, columns=None))


def test_rows_and_fields_that_a_change_releases_or_takes_are_counted_for_each_destination() -> None:
    def policy(lake: str, webhook: list[str], crm: list[str]) -> Any:
        destinations = {"C0002": ["webhook", "crm"], "C0004": []}
        destinations[lake] = [*destinations[lake], "lake"]
        fields = {name: names for name, names in (("webhook", webhook), ("crm", crm)) if names}
        return parse_policy(
            {
                "categories": [
                    {"id": "C0002", "name": "Analytics", "destinations": destinations["C0002"]},
                    {
                        "id": "C0004",
                        "name": "Advertising",
                        "fields": fields,
                        **({"destinations": destinations["C0004"]} if destinations["C0004"] else {}),
                    },
                ]
            }
        )

    old, new = policy("C0004", ["phone", "street"], ["mail"]), policy("C0002", ["street"], ["mail", "phone"])
    asked = ["webhook", "lake", "crm"]
    plans = [plan_consent(one, destinations=asked, mapping=MAPPING, columns=None) for one in (old, new)]
    pair = pair_plans(*plans)
    people = [(True, None, 5), (True, False, 4), (True, True, 3), (None, True, 2), (False, True, 6)]
    counted = [(SubjectStatus.IDENTIFIED, tokens_of(pair.plan, {"c2": c2, "c4": c4}), rows) for c2, c4, rows in people]
    forgotten = (SubjectStatus.FORGOTTEN, tokens_of(pair.plan, {"c2": True, "c4": None}), 7)

    diff = pair.diff([*counted, forgotten], at=AT)

    assert (diff.rows, diff.old_digest, diff.new_digest) == (27, old.digest, new.digest)
    assert diff.destinations == {
        "crm": DestinationDiff(12, 12, 0, 0, {}, {}, closed=9),
        "lake": DestinationDiff(
            11, 12, 9, 8, {"C0004:denied": 4, "C0004:unknown": 5}, {"C0002:denied": 6, "C0002:unknown": 2}
        ),
        "webhook": DestinationDiff(12, 12, 0, 0, {}, {}, opened=9, opened_fields={"phone": 9}),
    }


def test_a_document_names_nothing_that_a_policy_does_not_declare() -> None:
    categories = [{"id": "C0004", "name": "Advertising", "destinations": ["webhook"]}]

    assert policy_document(parse_policy({"categories": categories})) == {
        "unmapped_destinations": "permit",
        "missing_consent_column": "error",
        "categories": [{**categories[0], "enabled": True}],
    }


def test_a_document_has_the_rule_of_each_destination() -> None:
    categories = [
        {"id": "C0002", "name": "Analytics", "destinations": ["webhook", "crm", "files"]},
        {"id": "C0004", "name": "Advertising", "destinations": ["webhook", "crm", "files"]},
    ]
    rules = {
        "crm": {"match": "any"},
        "files": {"match": "all"},
        "lake": {"consent": "not_required", "reason": "own store"},
        "webhook": {"match": "any", "any_may_permit_without_consent": True, "reason": "tried"},
    }

    document = policy_document(parse_policy({"categories": categories, "destinations": rules}))

    assert document["destinations"] == rules
