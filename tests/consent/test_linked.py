"""Tests of the rule for linked people: a no and a doubt reach everybody in a cluster, and a yes reaches no one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.consent import (
    BooleanColumn,
    Circumstances,
    ConsentStatus,
    Denied,
    ExcludedDestinations,
    IdentityLinks,
    LinkedSubject,
    Permitted,
    Reason,
    Regime,
    RowConsent,
    Said,
    SubjectStatus,
    cause_of,
    pair_plans,
    parse_consent_mapping,
    parse_policy,
    parse_source_document,
    plan_consent,
    source_document,
)
from airflow_consent_retl.consent.linked import circumstances_with_links, linked_to, said, with_links
from airflow_consent_retl.errors import PolicyError

AT = datetime(2026, 11, 28, tzinfo=UTC)
OWN = [status for status in ConsentStatus if status not in (ConsentStatus.LINKED_NO, ConsentStatus.LINKED_DOUBT)]
POLICY = parse_policy(
    {
        "categories": [
            {"id": "C0001", "name": "Needed", "destinations": ["crm"], "regime": "exempt", "reason": "a contract",
             "owner": "legal"},
            {"id": "C0002", "name": "Analytics", "destinations": ["lake"], "regime": "opt_out"},
            {"id": "C0004", "name": "Advertising", "destinations": ["ads"], "fields": {"crm": ["phone"]}},
        ]
    }
)  # fmt: skip
CONSENT = RowConsent({"C0001": "needed", "C0002": "stats", "C0004": "ads"}, gpc="gpc")
PLAN = plan_consent(
    POLICY,
    destinations=["ads", "crm", "lake"],
    mapping=parse_consent_mapping(CONSENT).with_elsewhere(doubts={}, suppressions=["suppressed"]),
    columns=None,
    at=AT,
)
YES, NO = 1, 2


def tokens(**answers: int) -> tuple[int, ...]:
    given = {"suppressed": NO, **answers}
    return tuple(0 if signal is None else given.get(signal.column, 0) for signal in PLAN.signals)


def reasons(own: tuple[int, ...], *others: tuple[int, ...], **statuses: SubjectStatus) -> dict[str, tuple[str, ...]]:
    """Return why a row is denied, by destination, in a cluster with others."""
    linked = PLAN.said(own)
    for other in others:
        linked |= PLAN.said(other, statuses.get("other", SubjectStatus.IDENTIFIED))
    decided = PLAN.decide_signature(own, LinkedSubject(SubjectStatus.IDENTIFIED, linked.denying), at=AT)
    return {
        str(name): tuple(map(str, decision.reasons))
        for name, decision in decided.decisions.items()
        if isinstance(decision, Denied)
    }


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("other", OWN)
@pytest.mark.parametrize("regime", Regime)
def test_nobody_gains_by_a_link_and_a_no_or_a_doubt_denies_whoever_is_not_exempt(
    own: ConsentStatus, other: ConsentStatus, regime: Regime
) -> None:
    found = with_links(own, "category:C0004", said({"category:C0004": own}) | said({"category:C0004": other}))

    alone = regime.permits(own)
    # A no and a doubt of the other one deny under every regime that asks anything; silence and a yes change nothing.
    harmless = other in (ConsentStatus.GRANTED, ConsentStatus.UNKNOWN, ConsentStatus.EXPIRED)
    assert regime.permits(found) is (alone and (harmless or regime is Regime.EXEMPT))
    assert not harmless or found is own


def test_a_no_about_one_category_denies_only_where_that_category_is_needed() -> None:
    own = tokens(ads=YES, stats=YES)

    assert reasons(own, tokens(ads=NO)) == {"ads": ("C0004:linked_no",)}
    assert reasons(own, tokens(stats=NO)) == {"lake": ("C0002:linked_no",)}
    assert reasons(own, tokens()) == {}
    assert reasons(own, tokens(needed=NO)) == {}
    assert reasons(tokens(stats=YES), tokens(ads=YES)) == {"ads": ("C0004:unknown",)}


def test_objections_suppressions_and_forgotten_people_reach_the_cluster_as_they_reach_their_own_person() -> None:
    own = tokens(ads=YES, stats=YES)
    everywhere = dict.fromkeys(("ads", "crm", "lake"), ("suppression:linked_no",))

    assert reasons(own, tokens(gpc=YES)) == dict.fromkeys(("ads", "lake"), ("gpc:linked_no",))
    assert reasons(own, tokens(gpc=NO)) == {}
    assert reasons(own, tokens(suppressed=YES)) == everywhere
    # A person who cannot be looked up is denied themself, and says nothing about others.
    assert reasons(own, tokens(suppressed=0)) == {}
    assert reasons(own, tokens(), other=SubjectStatus.FORGOTTEN) == everywhere
    assert circumstances_with_links(Circumstances(switches={"ads": ConsentStatus.GRANTED}), Said()).switches == {
        "ads": ConsentStatus.GRANTED
    }
    refused = said({"row_switch:ads": ConsentStatus.DENIED})
    switched = circumstances_with_links(Circumstances(switches={"ads": ConsentStatus.GRANTED}), refused)
    assert switched.switches == {"ads": ConsentStatus.LINKED_NO}


def test_a_guarded_field_is_withheld_for_the_no_of_another_person() -> None:
    subject = LinkedSubject(SubjectStatus.IDENTIFIED, PLAN.said(tokens(ads=NO)).denying)

    decided = PLAN.decide_signature(tokens(ads=YES), subject, at=AT)

    assert isinstance(decided.decisions[PLAN.destinations[1]], Permitted)
    assert dict(decided.withheld) == {"crm": ("phone",)}


def test_the_own_reason_of_a_forgotten_person_is_not_repeated() -> None:
    subject = LinkedSubject(SubjectStatus.FORGOTTEN, PLAN.said(tokens(), SubjectStatus.FORGOTTEN).denying)

    decided = PLAN.decide_signature(tokens(ads=YES, stats=YES), subject, at=AT)

    (decision,) = set(decided.decisions.values())
    assert decision == Denied((Reason("forgotten"),))


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("C0004:linked_no", "consent_withdrawn"),
        ("gpc:linked_no", "objected"),
        ("row_switch:linked_no", "objected"),
        ("suppression:linked_no", "suppressed"),
        ("C0004:linked_doubt", "consent_missing"),
        ("suppression:linked_doubt", "consent_missing"),
    ],
)
def test_a_linked_no_is_a_withdrawal_that_no_guard_delays_and_a_linked_doubt_is_not(code: str, cause: str) -> None:
    assert cause_of(Denied((Reason(code),)), required_before=["C0004"]) == cause


def test_a_change_of_policy_is_counted_with_what_linked_people_say_to_the_old_categories_too() -> None:
    old, new = (
        plan_consent(
            parse_policy({"categories": [{"id": category, "name": category, "destinations": ["ads"]}]}),
            destinations=["ads"],
            mapping={"C0002": "stats", "C0004": "ads"},
            columns=None,
        )
        for category in ("C0002", "C0004")
    )
    pair = pair_plans(old, new)
    granted, refused = (YES, YES), (YES, NO)
    linked = LinkedSubject(SubjectStatus.IDENTIFIED, pair.plan.said(refused).denying)

    diff = pair.diff([(SubjectStatus.IDENTIFIED, granted, 5), (linked, granted, 3)], at=AT)

    assert pair.plan.said(refused).noes == {"category:C0002"}
    assert pair.plan.said((NO, NO)).noes == {"category:C0002", "category:C0004"}
    assert pair.plan.said(granted, SubjectStatus.FORGOTTEN).noes == PLAN.said(tokens(), SubjectStatus.FORGOTTEN).noes
    found = diff.destinations[pair.plan.destinations[0]]
    # Those who are linked to a no were denied before, and are released.
    assert (found.permitted_before, found.permitted_after, found.gained, found.lost) == (5, 8, 3, 0)
    assert found.gained_by_reason == {"C0002:linked_no": 3}


def test_what_a_row_switches_off_is_passed_on_by_its_destination() -> None:
    mapping = RowConsent({"C0002": "stats"}, switches=ExcludedDestinations("excluded"))
    policy = parse_policy({"categories": [{"id": "C0002", "name": "Analytics", "destinations": ["ads", "crm"]}]})
    plan = plan_consent(policy, destinations=["ads", "crm"], mapping=mapping, columns=None)
    row = {"stats": True, "excluded": '["ads"]'}

    found = plan.said(tuple(0 if signal is None else signal.token(row[signal.column]) for signal in plan.signals))

    assert found.noes == {"row_switch:ads"}


def test_what_others_say_takes_the_place_of_each_circumstance_and_leaves_the_region() -> None:
    own = Circumstances(
        region="US",
        gpc=ConsentStatus.INVALID,
        suppression=ConsentStatus.GRANTED,
        switches={"ads": ConsentStatus.DENIED, "crm": ConsentStatus.GRANTED, "lake": ConsentStatus.GRANTED},
    )
    others = Said(noes=frozenset({"row_switch:ads", "suppression"}), doubts=frozenset({"gpc", "row_switch:crm"}))

    assert circumstances_with_links(own, others) == Circumstances(
        region="US",
        # The person's own no and their own doubt stay the reason.
        gpc=ConsentStatus.INVALID,
        suppression=ConsentStatus.LINKED_NO,
        switches={
            "ads": ConsentStatus.DENIED,
            "crm": ConsentStatus.LINKED_DOUBT,
            "lake": ConsentStatus.GRANTED,
        },
    )
    assert circumstances_with_links(own, Said(yeses=frozenset({"gpc"}))) is own


def test_a_forgotten_person_hears_of_others_everything_but_their_own_reason() -> None:
    others = Said(noes=frozenset({"suppression", "category:C0004"}), doubts=frozenset({"gpc"}))

    assert linked_to(LinkedSubject(SubjectStatus.IDENTIFIED, others)) is others
    assert linked_to(LinkedSubject(SubjectStatus.FORGOTTEN, others)) == Said(
        noes=frozenset({"category:C0004"}), doubts=frozenset({"gpc"})
    )
    assert linked_to(SubjectStatus.FORGOTTEN) == Said()


says = st.builds(
    Said,
    *[st.frozensets(st.sampled_from(["category:C0004", "gpc", "suppression"]))] * 3,
)


@given(says, says, says)
def test_what_a_cluster_says_does_not_depend_on_order_or_repetition(one: Said, two: Said, three: Said) -> None:
    assert (one | two) | three == three | (two | one) | one
    assert (one | two).clashes >= one.clashes | two.clashes


def test_identities_are_read_back_from_their_document_and_wrong_parameters_are_named() -> None:
    links = IdentityLinks("SELECT 1", subject="p", identifier="i", kind="k", key="id", max_cluster_size=7)

    assert parse_source_document(source_document(links)) == links
    with pytest.raises(PolicyError) as caught:
        IdentityLinks(
            "", subject="p", identifier=" ", match="like", max_cluster_size=1, min_rows=-1, max_shrink_ratio=2
        )
    assert [problem.path for problem in caught.value.problems] == [
        f"IdentityLinks.{name}"
        for name in ("sql", "identifier", "match", "max_shrink_ratio", "max_cluster_size", "min_rows")
    ]


def test_only_the_query_and_the_connection_of_identities_are_templates() -> None:
    links = IdentityLinks("select {{ x }}", subject="p", identifier="i", key="id", conn_id="{{ y }}", min_rows=7)

    rendered = links.rendered({"select {{ x }}": "select 1", "{{ y }}": "crm"}.__getitem__)

    assert rendered == IdentityLinks("select 1", subject="p", identifier="i", key="id", conn_id="crm", min_rows=7)
    own = IdentityLinks("select {{ x }}", subject="p", identifier="i")
    assert own.rendered(str.upper) == IdentityLinks("SELECT {{ X }}", subject="p", identifier="i")


def test_booleans_of_the_tests_are_read_as_the_tests_say() -> None:
    assert [BooleanColumn("ads").token(value) for value in (None, True, False)] == [0, YES, NO]
