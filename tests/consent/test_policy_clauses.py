"""Tests of clauses that apply to nothing, open a destination, or mislead: they are refused, or each run says so."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    CategoryId,
    Circumstances,
    ConsentStatus,
    Denied,
    Permitted,
    RowConsent,
    SubjectStatus,
    decide,
    parse_policy,
    parse_recorded_policy,
    plan_consent,
    policy_document,
)
from airflow_consent_retl.errors import PolicyError

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs" / "consent.md"
LAW = {"reason": "no law", "owner": "legal"}
REMEDY = 'map it to a category, or name it in the `destinations` section with `"consent": "not_required"` and a reason'


def category(id_: str, *destinations: str, **terms: Any) -> dict[str, Any]:
    return {"id": id_, "name": id_, **({"destinations": list(destinations)} if destinations else {}), **terms}


def policy_of(*categories: dict[str, Any], **rules: Any) -> dict[str, Any]:
    return {"categories": list(categories), "destinations": rules}


def problems_of(document: dict[str, Any]) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(document)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("unmapped", ["permit", "deny", "error"])
@pytest.mark.parametrize("rule", [{}, {"match": "any"}, {"match": "all"}, {"consent": "required"}])
@pytest.mark.parametrize("name", ["newsletter", "newsletter:us"])
def test_a_rule_for_a_destination_that_no_category_maps_is_refused(
    name: str, rule: dict[str, Any], unmapped: str
) -> None:
    document = policy_of(category("C1", "webhook", "lake:eu"), **{name: rule}) | {"unmapped_destinations": unmapped}

    problems = problems_of(document)

    assert [problem.partition(" @ ")[0] for problem in problems] == [
        f"`{name}` is mapped to no category, so that this clause applies to nothing: {REMEDY}"
    ]


def test_a_category_of_an_instance_does_not_map_its_base() -> None:
    assert problems_of(policy_of(category("C1", "lake:eu"), lake={})) == [
        f"`lake` is mapped to no category, so that this clause applies to nothing: {REMEDY} @ $.destinations.lake"
    ]


@pytest.mark.parametrize(
    "document",
    [
        policy_of(category("C1", "webhook"), webhook={}),
        policy_of(category("C1", "webhook"), **{"webhook:emea": {}}),
        policy_of(category("C1", "webhook", enabled=False), webhook={"match": "any"}),
        policy_of(category("C1", "webhook"), lake={"consent": "not_required", "reason": "own"}),
    ],
)
def test_a_rule_with_something_to_apply_to_is_accepted(document: dict[str, Any]) -> None:
    assert parse_policy(document).destination_rules


@pytest.mark.parametrize("rule", [{"match": "any"}, {"match": "any", "any_may_permit_without_consent": True, **LAW}])
def test_any_of_an_instance_without_a_category_of_its_own_is_refused(rule: dict[str, Any]) -> None:
    rule.pop("owner", None)

    assert problems_of(policy_of(category("C1", "ads"), category("C2", "ads"), **{"ads:emea": rule})) == [
        "`ads:emea` has no category of its own to choose from, and those of `ads` are always required: remove it, or "
        'map `ads:emea` to categories @ $.destinations["ads:emea"].match'
    ]


LOOSE = [
    {"regime": "opt_out"},
    {"regime": "exempt", **LAW},
    {"regions": {"US": "opt_out"}},
    {"regime": "opt_out", "regions": {"DE": "opt_in"}},
    {"regions": {"AQ": "exempt"}, **LAW},
]


@pytest.mark.parametrize("terms", LOOSE)
@pytest.mark.parametrize("name", ["newsletter", "newsletter:us"])
def test_any_beside_a_category_that_permits_without_a_yes_needs_a_reason(name: str, terms: dict[str, Any]) -> None:
    categories = category("C1", name), category("C2", name, **terms)

    assert problems_of(policy_of(*categories, **{name: {"match": "any"}})) == [
        f"any category of `{name}` is enough, and `C2` can permit without a yes, so that nearly every person is "
        'permitted: write `"match": "all"`, or `"any_may_permit_without_consent": true` with a reason @ '
        + ("$.destinations.newsletter.match" if name == "newsletter" else '$.destinations["newsletter:us"].match')
    ]

    accepted = {"match": "any", "any_may_permit_without_consent": True, "reason": "existing customers"}
    policy = parse_policy(policy_of(*categories, **{name: accepted}))
    assert parse_policy(policy_document(policy)) == policy
    assert parse_policy(policy_of(*categories, **{name: accepted | {"reason": "another"}})) != policy


@pytest.mark.parametrize(
    "document",
    [
        policy_of(category("C1", "crm", regime="opt_out"), crm={"match": "any"}),
        policy_of(category("C1", "crm"), category("C2", "crm"), crm={"match": "any"}),
        policy_of(category("C1", "crm"), category("C2", "crm", regime="opt_out", enabled=False), crm={"match": "any"}),
        policy_of(category("C1", "crm"), category("C2", "crm", regime="opt_out"), crm={"match": "all"}),
        policy_of(category("C1", "crm"), category("C2", "lake", regime="opt_out"), crm={"match": "any"}),
    ],
)
def test_any_is_accepted_where_it_offers_no_choice_of_a_category_that_permits_without_a_yes(
    document: dict[str, Any],
) -> None:
    assert parse_policy(document)


@pytest.mark.parametrize(
    ("rule", "problems"),
    [
        (
            {"match": "any", "any_may_permit_without_consent": "yes"},
            ["expected a boolean, found text @ $.destinations.crm.any_may_permit_without_consent"],
        ),
        (
            {"match": "any", "any_may_permit_without_consent": True},
            ["a destination that may permit without consent needs a reason, as text @ $.destinations.crm.reason"],
        ),
        (
            {"any_may_permit_without_consent": True, "reason": "customers"},
            ['it belongs to `"match": "any"` only @ $.destinations.crm.any_may_permit_without_consent'],
        ),
    ],
)
def test_the_term_that_accepts_it_is_checked(rule: dict[str, Any], problems: list[str]) -> None:
    assert problems_of(policy_of(category("C1", "crm"), crm=rule)) == problems


def test_a_rule_without_the_new_term_keeps_its_digest() -> None:
    plain = policy_of(category("C1", "crm"), category("C2", "crm"), crm={"match": "any"})
    spelt_out = policy_of(
        category("C1", "crm"), category("C2", "crm"), crm={"match": "any", "any_may_permit_without_consent": False}
    )

    assert parse_policy(plain).digest == parse_policy(spelt_out).digest
    assert parse_policy(plain).digest == "sha256:8ce2d1bf1dfd6dbe7d861a7ed2d23ea001b9dfbb4250cd6f582d670f51e6dec5"


STATUSES = (ConsentStatus.DENIED, ConsentStatus.GRANTED)


@pytest.mark.parametrize(
    ("rules", "needs"),
    [
        ({}, "A and B and C and D"),
        ({"ads:emea": {"match": "any"}}, "A and B and (C or D)"),
        ({"ads:emea": {"match": "all"}}, "A and B and C and D"),
        ({"ads": {"match": "any"}, "ads:emea": {"match": "any"}}, "(A or B) and (C or D)"),
        ({"ads": {"match": "any"}, "ads:emea": {"match": "all"}}, "A and B and C and D"),
    ],
)
def test_what_a_base_requires_is_always_required_of_its_instances(rules: dict[str, Any], needs: str) -> None:
    categories = category("A", "ads"), category("B", "ads"), category("C", "ads:emea"), category("D", "ads:emea")
    policy = parse_policy(policy_of(*categories, **rules))
    assert policy.needs_of("ads:emea") == needs

    for number in range(16):
        yes = {id_: bool(number >> place & 1) for place, id_ in enumerate("ABCD")}
        consent = {CategoryId(id_): STATUSES[granted] for id_, granted in yes.items()}

        answer = decide(policy, "ads:emea", consent, at=AT)
        base = decide(policy, "ads", consent, at=AT)

        assert isinstance(answer, Permitted) == eval(needs, {}, yes)  # noqa: S307 - the words of the table above
        if isinstance(answer, Permitted):
            assert isinstance(base, Permitted)
        else:
            assert {reason.code.partition(":")[0] for reason in answer.reasons} <= {i for i in yes if not yes[i]}


@pytest.mark.parametrize(
    ("fields", "name"),
    [({"crm": ["phone"]}, "crm"), ({"crm:emea": ["phone"]}, "crm:emea"), ({"webhook": ["a"], "crm": ["b"]}, "crm")],
)
def test_a_destination_that_only_guarded_fields_name_is_refused(fields: dict[str, Any], name: str) -> None:
    document = policy_of(category("C1", "webhook"), category("C2", fields=fields))

    assert [problem.partition(" @ ")[0] for problem in problems_of(document)] == [
        f"guarded fields do not map `{name}`, which would receive every row: {REMEDY}"
    ]
    assert parse_policy(document | {"destinations": {name: {"consent": "not_required", "reason": "own"}}})
    assert parse_policy(policy_of(category("C1", "webhook", "crm"), category("C2", fields=fields)))


def test_guarded_fields_of_an_instance_are_mapped_with_its_base() -> None:
    assert parse_policy(policy_of(category("C1", "crm"), category("C2", fields={"crm:emea": ["phone"]})))


def warnings_of(document: dict[str, Any], *destinations: str) -> tuple[str, ...]:
    policy = parse_policy(document)
    mapping = {str(entry.id): f"column_{entry.id}" for entry in policy.categories}
    consent = RowConsent(mapping, time="at", notice_version="notice", region="country")
    return plan_consent(policy, destinations=destinations, mapping=consent, columns=None, at=AT).warnings


def test_a_disabled_category_that_guards_fields_is_told() -> None:
    document = policy_of(
        category("C1", "webhook", "crm"),
        category("C2", fields={"webhook": ["phone", "mobile"], "crm": ["x"]}, enabled=False),
    )

    assert warnings_of(document, "webhook", "crm:emea") == (
        "category `C2` is disabled: it does not guard the fields `mobile`, `phone` of `webhook`",
        "category `C2` is disabled: it does not guard the fields `x` of `crm:emea`",
    )


@pytest.mark.parametrize(
    ("fields", "destination", "named"),
    [
        ({"webhook": [{"class": "phone", "aliases": ["tel"]}]}, "webhook", "`phone`, `tel` of `webhook`"),
        ({"webhook": ["phone"]}, "webhook:emea", "`phone` of `webhook:emea`"),
        ({"webhook:emea": ["phone"], "webhook": ["mail"]}, "webhook:emea", "`mail`, `phone` of `webhook:emea`"),
        ({"webhook:emea": ["phone"]}, "webhook", ""),
    ],
)
def test_every_field_of_a_disabled_category_is_named(fields: dict[str, Any], destination: str, named: str) -> None:
    document = policy_of(category("C1", "webhook"), category("C2", fields=fields, enabled=False))

    found = warnings_of(document, destination)

    assert found == ((f"category `C2` is disabled: it does not guard the fields {named}",) if named else ())


def test_a_field_that_another_category_guards_is_named_too() -> None:
    guarding = {"webhook": ["phone"]}
    document = policy_of(
        category("C1", "webhook"), category("C2", fields=guarding, enabled=False), category("C3", fields=guarding)
    )

    assert warnings_of(document, "webhook") == (
        "category `C2` is disabled: it does not guard the fields `phone` of `webhook`",
    )


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        ({"regime": "opt_out", "max_age": "1 year"}, "opt_out and has a max_age"),
        ({"regime": "opt_out", "min_notice_version": 2}, "opt_out and has a min_notice_version"),
        (
            {"regions": {"US": "opt_out"}, "max_age": "1 year", "min_notice_version": 2},
            "opt_out in some regions and has a max_age and a min_notice_version",
        ),
    ],
)
def test_terms_that_hardly_bind_under_opt_out_are_told(terms: dict[str, Any], text: str) -> None:
    assert warnings_of(policy_of(category("C1", "webhook", **terms)), "webhook") == (
        f"category `C1` is {text}: a yes that does not meet it counts as silence, which permits there",
    )


def test_terms_that_bind_are_not_told() -> None:
    assert warnings_of(policy_of(category("C1", "webhook", max_age="1 year")), "webhook") == ()
    assert warnings_of(policy_of(category("C1", "webhook", regime="opt_out")), "webhook") == ()


def test_a_policy_of_an_earlier_run_can_be_read_whatever_its_clauses_are() -> None:
    document = policy_of(category("C1", "webhook"), newsletter={"match": "any"})

    recorded = parse_recorded_policy(document)

    assert recorded.rule_for("newsletter").match == "any"
    with pytest.raises(PolicyError, match="key `name` is missing"):
        parse_recorded_policy({"categories": [{"id": "C1", "destinations": ["webhook"]}]})


# The first words of each line of the table in the policy's page, and the policy that it is about.
DESTINATIONS: dict[str, dict[str, Any]] = {
    "has a category": policy_of(category("C1", "crm"), category("C2", "crm", regime="opt_out")),
    "has only `exempt` categories": policy_of(category("C1", "crm", regime="exempt", **LAW)),
    "is `not_required`": policy_of(category("C1", "lake"), crm={"consent": "not_required", "reason": "own"}),
    "is unmapped": policy_of(category("C1", "lake")),
    "has only disabled categories": policy_of(category("C1", "crm", enabled=False)),
}
CONSENT = {CategoryId("C1"): ConsentStatus.GRANTED, CategoryId("C2"): ConsentStatus.UNKNOWN}
CELLS: dict[str, list[tuple[Circumstances, SubjectStatus, str]]] = {
    "Global Privacy Control": [
        (Circumstances(gpc=status), SubjectStatus.IDENTIFIED, f"gpc:{status}")
        for status in (ConsentStatus.DENIED, ConsentStatus.INVALID)
    ],
    "suppression list": [
        (Circumstances(suppression=status), SubjectStatus.IDENTIFIED, f"suppression:{status}")
        for status in ConsentStatus
        if status is not ConsentStatus.GRANTED
    ],
    "row switch": [
        (Circumstances(switches={"crm": status}), SubjectStatus.IDENTIFIED, f"row_switch:{status}")
        for status in (ConsentStatus.DENIED, ConsentStatus.INVALID)
    ],
    "no unique id": [
        (Circumstances(), status, str(status)) for status in SubjectStatus if status is not SubjectStatus.IDENTIFIED
    ],
}


def table() -> list[tuple[str, str, str]]:
    """Return each cell of the table in the page: the words of its line, the head of its column, its text."""
    section = PAGE.read_text().partition("### What still denies a destination without required consent")[2]
    lines = [line for line in section.partition("\n#")[0].splitlines() if line.startswith("|")]
    heads, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return [(row[0], head, cell) for row in rows for head, cell in zip(heads[1:], row[1:], strict=True)]


def test_the_table_of_the_page_has_a_line_for_each_kind_of_destination_and_a_column_for_each_signal() -> None:
    cells = table()

    assert len({words for words, _, _ in cells}) == len(DESTINATIONS)
    assert {head for _, head, _ in cells} == set(CELLS)
    assert len(cells) == len(DESTINATIONS) * len(CELLS)


@pytest.mark.parametrize(("words", "head", "cell"), table())
def test_a_cell_of_the_table_is_what_the_law_decides(words: str, head: str, cell: str) -> None:
    policy = parse_policy(next(policy for start, policy in DESTINATIONS.items() if re.match(re.escape(start), words)))
    assert isinstance(decide(policy, "crm", CONSENT, at=AT), Permitted)

    for circumstances, subject, code in CELLS[head]:
        decision = decide(policy, "crm", CONSENT, circumstances=circumstances, subject=subject, at=AT)

        if cell == "denies":
            assert isinstance(decision, Denied)
            assert [reason.code for reason in decision.reasons] == [code]
        else:
            assert cell == "no effect"
            assert isinstance(decision, Permitted)
