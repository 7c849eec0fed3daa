"""Only an explicit, present yes is told, and only of a category that is a reason for the destination or the field."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_consent_retl.consent import BooleanColumn, ColumnKind, ConsentStatus, parse_policy, plan_consent
from airflow_consent_retl.consent.counts import count_decisions
from airflow_consent_retl.consent.decision import Circumstances, answers_withheld
from airflow_consent_retl.consent.shared_answers import answer_problems, marked_problems
from airflow_consent_retl.fields import consent, constant, expression
from airflow_consent_retl.fields.field_values import answer_name, category_of

NOW = datetime(2026, 11, 29, tzinfo=UTC)
ANY: dict[str, Any] = {
    "categories": [
        {"id": "C1", "name": "One", "destinations": ["ads"]},
        {"id": "C2", "name": "Two", "destinations": ["ads"]},
        {"id": "C3", "name": "Three", "fields": {"ads": ["phone"]}},
        {"id": "C4", "name": "Four", "destinations": ["other"]},
        {"id": "C5", "name": "Five", "destinations": ["ads"], "enabled": False},
    ],
    "destinations": {"ads": {"match": "any"}},
}
REGIMES: list[dict[str, Any]] = [
    {"regime": "opt_in"},
    {"regime": "opt_out"},
    {"regime": "exempt", "reason": "contract", "owner": "legal"},
]


@pytest.mark.parametrize("regime", REGIMES, ids=lambda regime: regime["regime"])
@pytest.mark.parametrize("gpc", [ConsentStatus.UNKNOWN, ConsentStatus.DENIED, ConsentStatus.INVALID])
@pytest.mark.parametrize("status", ConsentStatus)
def test_a_yes_is_told_if_it_is_granted_and_nothing_overrules_it(
    regime: dict[str, Any], gpc: ConsentStatus, status: ConsentStatus
) -> None:
    policy = parse_policy({"categories": [{"id": "C1", "name": "One", "destinations": ["ads"], **regime}]})
    category = policy.categories[0].id

    withheld = answers_withheld(policy, ["C1"], {category: status}, circumstances=Circumstances(gpc=gpc))

    is_overruled = gpc is not ConsentStatus.UNKNOWN and regime["regime"] != "exempt"
    is_yes = status is ConsentStatus.GRANTED and not is_overruled
    assert withheld == (() if is_yes else (answer_name("C1"),))


def test_a_category_without_a_status_or_without_a_place_in_the_policy_is_no_yes() -> None:
    policy = parse_policy(ANY)

    assert answers_withheld(policy, ["C9", "C1"], {}) == (answer_name("C1"), answer_name("C9"))


def test_a_plan_marks_each_answer_by_itself_and_counts_those_that_everyone_gives() -> None:
    plan = plan_consent(
        parse_policy(ANY),
        destinations=["ads", "other"],
        mapping={f"C{number}": BooleanColumn(f"c{number}") for number in (1, 2, 3, 4)},
        columns={f"c{number}": ColumnKind.BOOLEAN for number in (1, 2, 3, 4)},
        at=NOW,
        answers={"ads": ["C2", "C1"], "nowhere": ["C1"], "other": []},
    )
    yes, no = (1, 2)
    told = {}
    for one, two in itertools.product((yes, no), repeat=2):
        decided = plan.decide_signature((one, two, yes, yes), at=NOW)
        told[one, two] = decided.withheld.get("ads")  # type: ignore[call-overload]
        assert "other" not in decided.withheld

    first, second = answer_name("C1"), answer_name("C2")
    # Whoever gives neither is no recipient.
    assert told == {(yes, yes): None, (yes, no): (second,), (no, yes): (first,), (no, no): None}
    counts = count_decisions({(_identified(), (yes, yes, yes, yes)): 3}, plan, at=NOW)
    assert counts.destinations["ads"].withheld_fields == {first: 0, second: 0}  # type: ignore[index]
    assert counts.destinations["other"].withheld_fields == {}  # type: ignore[index]


def test_the_categories_that_a_field_may_tell_are_those_of_the_destination_and_of_the_field() -> None:
    policy = parse_policy(ANY)

    def problems(**fields: str) -> list[str]:
        return [str(problem) for problem in answer_problems(policy, "ads", fields)]

    assert problems(a=consent("C1", granted=1), phone=consent("C3", granted=1), b=constant(1), c=expression("a")) == []
    assert [problem.split(":")[0] for problem in problems(a=consent("C3", granted=1))] == [
        "the answer to category `C3` is no reason for `ads`, which requires `C1`, `C2`"
    ]
    assert "is no reason for `ads`" in problems(a=consent("C4", granted=1))[0]
    assert problems(a=consent("C5", granted=1))[0].startswith("category `C5` is disabled in the policy")
    assert problems(a=consent("c1", granted=1)) == ["category `c1` is not in the policy, did you mean `C1`? @ fields.a"]
    assert problems(a=consent("weather", granted=1)) == ["category `weather` is not in the policy @ fields.a"]


def test_a_filter_marks_answers_to_categories_that_guard_any_field() -> None:
    policy = parse_policy(ANY)

    assert marked_problems(policy, {"ads": ("C1", "C3"), "other": ("C4",)}) == []
    assert [problem.path for problem in marked_problems(policy, {"ads": ("C4", "C1"), "other": ("C9",)})] == [
        "answers.ads",
        "answers.other",
    ]
    assert "which requires no category" in str(marked_problems(parse_policy(ANY), {"lake": ("C1",)})[0])


def test_the_refusal_of_an_answer_says_what_to_do_about_the_field_or_the_filter() -> None:
    reason = (
        "the answer to category `C4` is no reason for `ads`, which requires `C1`, `C2`: map the category to the "
        'destination in the policy, or guard the field with it ("fields": {"ads": ["%s"]}), or use the answer to a '
        "category that it requires"
    )

    (of_field,) = answer_problems(parse_policy(ANY), "ads", {"told": consent("C4", granted=1)})
    (of_filter,) = marked_problems(parse_policy(ANY), {"ads": ("C4",)})

    assert (of_field.path, of_field.message) == ("fields.told", reason % "told")
    assert (of_filter.path, of_filter.message) == ("answers.ads", reason % "…")


def test_the_name_of_an_answer_leads_back_to_its_category() -> None:
    for category in ("C0004", "it's", "a\nb", 'say "x"'):
        assert category_of(answer_name(category)) == category
    for name in ("phone", "consent", "consent(", "consent('C1', granted='x')", "consent(x)"):
        assert category_of(name) is None


def _identified() -> Any:
    from airflow_consent_retl.consent.decision import SubjectStatus

    return SubjectStatus.IDENTIFIED
