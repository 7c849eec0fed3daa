"""Properties of every policy, every subject and every spelling."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from airflow_consent_retl.consent import (
    CategoryId,
    ColumnKind,
    ConsentObjectKey,
    ConsentPlan,
    ConsentPolicy,
    ConsentStatus,
    DestinationName,
    Literals,
    Permitted,
    Signature,
    SubjectStatus,
    base_of,
    count_decisions,
    decide,
    parse_policy,
    plan_consent,
)
from airflow_consent_retl.errors import PolicyError

AT = datetime(2026, 11, 1, tzinfo=UTC)
IDS = ("C0001", "C0002", "C0003", "C0004")
NAMES = ("webhook", "crm_table", "lake", "lake:japan", "google_ads", "google_ads:emea", "newsletter", "newsletter:us")
ASKED = (*NAMES, "google_ads:apac", "printer")

statuses = st.sampled_from(ConsentStatus)
consents = st.dictionaries(st.sampled_from(IDS).map(CategoryId), statuses)
subjects = st.sampled_from(SubjectStatus)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A valid policy document over the names above."""
    categories: list[dict[str, Any]] = [
        {
            "id": category_id,
            "name": category_id,
            "destinations": draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True)),
            "enabled": draw(st.booleans()),
        }
        for category_id in draw(st.lists(st.sampled_from(IDS), min_size=1, unique=True))
    ]
    mapped = {name for category in categories for name in category["destinations"]}
    rules: dict[str, dict[str, str]] = {}
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        free = not {name, base_of(name)}.intersection(mapped)
        # A clause needs categories that it applies to, and `any` categories of the name's own.
        kinds = ["not_required"] if free else ["all", "default", *(["any"] if name in mapped else [])]
        kind = draw(st.sampled_from(kinds))
        if kind == "not_required":
            rules[name] = {"consent": "not_required", "reason": "own store"}
        else:
            rules[name] = {} if kind == "default" else {"match": kind}
    for name in mapped.difference(rules):
        if rules.get(base_of(name), {}).get("match") == "any":
            rules[name] = {"match": draw(st.sampled_from(["all", "any"]))}
    return {
        "unmapped_destinations": draw(st.sampled_from(["permit", "deny", "error"])),
        "missing_consent_column": "deny",
        "categories": categories,
        "destinations": rules,
    }


policies = documents().map(parse_policy)


def recipients(
    policy: ConsentPolicy,
    consent: dict[CategoryId, ConsentStatus],
    subject: SubjectStatus = SubjectStatus.IDENTIFIED,
) -> set[str]:
    return {name for name in ASKED if isinstance(decide(policy, name, consent, subject=subject, at=AT), Permitted)}


@given(policies, consents, st.sampled_from(IDS), statuses)
def test_removing_a_grant_never_enlarges_the_recipients(
    policy: ConsentPolicy, consent: dict[CategoryId, ConsentStatus], category: str, status: ConsentStatus
) -> None:
    assume(status is not ConsentStatus.GRANTED)
    granted = {**consent, CategoryId(category): ConsentStatus.GRANTED}
    taken_back = {**consent, CategoryId(category): status}
    missing = {key: value for key, value in consent.items() if key != category}

    before = recipients(policy, granted)

    assert recipients(policy, taken_back) <= before
    assert recipients(policy, missing) <= before


@given(policies, consents, subjects)
def test_a_subject_who_is_not_identified_is_denied_everything(
    policy: ConsentPolicy, consent: dict[CategoryId, ConsentStatus], subject: SubjectStatus
) -> None:
    assume(subject is not SubjectStatus.IDENTIFIED)

    assert recipients(policy, consent, subject) == set()


@given(documents(), consents, statuses, st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
def test_adding_a_required_category_never_enlarges_the_recipients(
    document: dict[str, Any], consent: dict[CategoryId, ConsentStatus], status: ConsentStatus, mapped: list[str]
) -> None:
    before = parse_policy(document)
    added = {"id": "EXTRA", "name": "Extra", "destinations": mapped}
    try:
        after = parse_policy({**document, "categories": [*document["categories"], added]})
    except PolicyError:
        return  # refused: no destination receives anything

    grown = recipients(after, {**consent, CategoryId("EXTRA"): status}) - recipients(before, consent)

    # A destination that takes any of its categories has one more alternative, as its author asked. A destination that
    # received nothing before (misspelt, or unmapped without permission) can now be consented to.
    for name in grown:
        takes_any = after.rule_for(name).match == "any" and before.required_for(name)
        was_unmapped = before.unmapped_destinations != "permit" and not before.required_for(name)
        assert takes_any or was_unmapped or before.misspelt(name) is not None


@given(policies, consents, st.sampled_from(ASKED))
def test_a_permission_by_consent_always_rests_on_a_grant(
    policy: ConsentPolicy, consent: dict[CategoryId, ConsentStatus], destination: str
) -> None:
    decision = decide(policy, destination, consent, at=AT)

    required = policy.required_for(destination)
    granted = [category for category in required if consent.get(category) is ConsentStatus.GRANTED]
    if required and isinstance(decision, Permitted):
        for match, group in policy.groups_for(destination):
            of_group = [category.id for category in group if category.id in granted]
            assert of_group if match == "any" else of_group == [category.id for category in group]
    if required and granted == list(required):
        assert isinstance(decision, Permitted)


@given(documents(), st.randoms(use_true_random=False))
def test_order_and_layout_of_a_document_leave_the_digest_as_it_is(
    document: dict[str, Any], randomness: random.Random
) -> None:
    shuffled = json.loads(
        json.dumps(document), object_pairs_hook=lambda pairs: dict(randomness.sample(pairs, len(pairs)))
    )
    randomness.shuffle(shuffled["categories"])
    for category in shuffled["categories"]:
        randomness.shuffle(category["destinations"])

    assert parse_policy(json.dumps(shuffled, indent=3)).digest == parse_policy(document).digest


def a_plan(policy: ConsentPolicy, columns: dict[str, ColumnKind]) -> ConsentPlan:
    named = [name for name in ASKED if policy.misspelt(name) is None and policy.guarded_sibling(name) is None]
    open_ = [
        name
        for name in named
        if policy.unmapped_destinations != "error"
        or policy.required_for(name)
        or not policy.rule_for(name).consent_required
    ]
    assume(open_)
    return plan_consent(
        policy,
        destinations=open_,
        mapping={category: f"consent_to_{word}" for category, word in zip(IDS, WORDS, strict=True)}
        if len(policy.categories) == len(IDS)
        else {category.id: f"consent_to_{WORDS[IDS.index(category.id)]}" for category in policy.categories},
        columns=columns,
    )


WORDS = ("storage", "advertising", "measurement", "personalisation")
COLUMNS = {f"consent_to_{word}": ColumnKind.BOOLEAN for word in WORDS}
raw_values = st.sampled_from([True, False, None, "true"])


def tokens_of(plan: ConsentPlan, row: dict[str, object]) -> Signature:
    return tuple(0 if signal is None else signal.token(row.get(signal.column)) for signal in plan.signals)


@given(policies, st.fixed_dictionaries(dict.fromkeys(COLUMNS, raw_values)), st.sampled_from(sorted(COLUMNS)))
def test_dropping_a_column_never_enlarges_the_recipients(
    policy: ConsentPolicy, row: dict[str, object], dropped: str
) -> None:
    whole = a_plan(policy, COLUMNS)
    partial = a_plan(policy, {name: kind for name, kind in COLUMNS.items() if name != dropped})

    before = whole.decide_signature(tokens_of(whole, row), at=AT).recipients
    after = partial.decide_signature(tokens_of(partial, row), at=AT).recipients

    assert set(after) <= set(before)


@given(policies, st.fixed_dictionaries(dict.fromkeys(COLUMNS, raw_values)), subjects)
def test_a_signature_is_answered_as_each_destination_alone(
    policy: ConsentPolicy, row: dict[str, object], subject: SubjectStatus
) -> None:
    plan = a_plan(policy, COLUMNS)
    tokens = tokens_of(plan, row)

    together = plan.decide_signature(tokens, subject, at=AT)

    consent = dict(zip(plan.categories, plan.statuses(tokens), strict=True))
    alone = {name: decide(policy, name, consent, subject=subject, at=AT) for name in plan.destinations}
    assert together.decisions == alone
    assert together.recipients == tuple(sorted(name for name in alone if isinstance(alone[name], Permitted)))


@given(
    policies,
    st.lists(st.tuples(st.fixed_dictionaries(dict.fromkeys(COLUMNS, raw_values)), subjects), max_size=30),
    st.randoms(use_true_random=False),
)
def test_counts_add_up_and_do_not_depend_on_the_order_of_rows(
    policy: ConsentPolicy, rows: list[tuple[dict[str, object], SubjectStatus]], randomness: random.Random
) -> None:
    plan = a_plan(policy, COLUMNS)
    keys = [(subject, tokens_of(plan, row)) for row, subject in rows]
    shuffled = randomness.sample(keys, len(keys))

    counts = count_decisions({key: keys.count(key) for key in keys}, plan, at=AT)

    assert count_decisions({key: keys.count(key) for key in shuffled}, plan, at=AT) == counts
    assert counts.read == len(rows) == sum(counts.by_subject.values())
    for name in plan.destinations:
        of_destination = counts.destinations[name]
        received = sum(name in plan.decide_signature(tokens, subject, at=AT).recipients for subject, tokens in keys)
        assert of_destination.permitted == received
        assert of_destination.read == of_destination.permitted + of_destination.denied == len(rows)
        assert sum(of_destination.denied_by_reasons.values()) == of_destination.denied
    for_nobody = sum(not plan.decide_signature(tokens, subject, at=AT).recipients for subject, tokens in keys)
    assert counts.for_nobody == for_nobody


STRICT = parse_policy(
    {
        "categories": [{"id": "C0004", "name": "Ads", "destinations": ["webhook", "crm_table", "google_ads:emea"]}],
        "destinations": {"lake": {"consent": "not_required", "reason": "own store"}},
    }
)
letters = st.sampled_from("abwlk059_.-:")


@st.composite
def slips(draw: st.DrawFn) -> str:
    """Return a name of the policy with one edit: in a letter, the order of two, the case or a separator."""
    name = draw(st.sampled_from(STRICT.destinations))
    at = draw(st.integers(0, len(name) - 1))
    return draw(
        st.sampled_from(
            [
                name[:at] + name[at + 1 :],
                name[:at] + draw(letters) + name[at:],
                name[:at] + draw(letters) + name[at + 1 :],
                name[:at] + name[at : at + 2][::-1] + name[at + 2 :],
                name[:at] + name[at].swapcase() + name[at + 1 :],
                name.replace("_", "-"),
                name.upper(),
            ]
        )
    )


@given(slips())
def test_a_misspelling_never_makes_a_destination_unmapped(slip: str) -> None:
    assume(slip not in STRICT.destinations)
    # `lake:x` is an instance of `lake`, and another instance of `google_ads` is another destination.
    assume(base_of(slip) != "lake")
    assume(base_of(slip) != "google_ads" or slip == "google_ads" or STRICT.misspelt(slip) is not None)
    assume(base_of(slip) not in STRICT.destinations)

    with pytest.raises(PolicyError):
        plan_consent(STRICT, destinations=[slip], mapping={"C0004": "ads_ok"}, columns=None)
    assert not isinstance(decide(STRICT, slip, {}, at=AT), Permitted)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["p", "C0004", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(json_values)
def test_a_consent_object_grants_exactly_where_json_has_true_at_the_path(value: object) -> None:
    signal = ConsentObjectKey("consent", ("p", "C0004"))
    inner = value.get("p") if isinstance(value, dict) else None

    status = signal.status(signal.token(json.dumps(value)))

    has_nan = any(word in json.dumps(value) for word in ("NaN", "Infinity"))
    is_true = isinstance(inner, dict) and inner.get("C0004") is True
    if status is ConsentStatus.GRANTED:
        assert is_true
    elif is_true:
        assert has_nan
        assert status is ConsentStatus.INVALID


@given(st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text("yesno ", max_size=4) | st.binary())
def test_literals_grant_exactly_what_they_declare(raw: object) -> None:
    text = Literals("ads", granted=("yes",), denied=("no",))
    integer = Literals("ads", granted=(1,), denied=(0,))

    assert (text.status(text.token(raw)) is ConsentStatus.GRANTED) == (raw == "yes")
    assert (integer.status(integer.token(raw)) is ConsentStatus.GRANTED) == (type(raw) is int and raw == 1)


def test_the_names_above_do_not_resemble_each_other() -> None:
    policy = parse_policy({"categories": [{"id": "C", "name": "N", "destinations": list(NAMES)}]})

    assert policy.destinations == tuple(sorted(NAMES))
    assert policy.misspelt(DestinationName("google_ads:apac")) is None
