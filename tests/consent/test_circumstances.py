"""Tests of regimes, the age of consent, notices, several records, and the values of a row that overrule them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.consent import (
    BooleanColumn,
    ColumnKind,
    ConsentPlan,
    ConsentStatus,
    ConsentTime,
    ExcludedDestinations,
    FirstOf,
    IntegrationsObject,
    Literals,
    MostRestrictive,
    NoticeVersion,
    OptOut,
    Permitted,
    Recorded,
    RowConsent,
    SignatureDecision,
    parse_consent_mapping,
    parse_policy,
    plan_consent,
)
from airflow_consent_retl.consent.freshness import parse_max_age, parse_notice_number
from airflow_consent_retl.errors import PolicyError

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
KINDS = {
    "ads": ColumnKind.BOOLEAN,
    "ads_app": ColumnKind.BOOLEAN,
    "at": ColumnKind.MOMENT,
    "notice": ColumnKind.TEXT,
    "country": ColumnKind.TEXT,
    "gpc": ColumnKind.BOOLEAN,
    "written": ColumnKind.TEXT,
    "notice_app": ColumnKind.TEXT,
    "listed": ColumnKind.BOOLEAN,
    "ads_doubt": ColumnKind.INTEGER,
}
EXEMPT = {"regime": "exempt", "reason": "security of the service", "owner": "security team"}


def policy_of(**terms: Any) -> dict[str, Any]:
    return {"categories": [{"id": "C0004", "name": "Advertising", "destinations": ["webhook"], **terms}]}


def planned(policy: dict[str, Any], consent: Any, **elsewhere: Any) -> ConsentPlan:
    mapping = parse_consent_mapping(consent)
    if elsewhere:
        mapping = mapping.with_elsewhere(
            doubts=elsewhere.get("doubts", {}), suppressions=elsewhere.get("suppressions", ())
        )
    return plan_consent(parse_policy(policy), destinations=["webhook"], mapping=mapping, columns=KINDS, at=AT)


def decided(plan: ConsentPlan, **row: Any) -> SignatureDecision:
    tokens = tuple(0 if signal is None else signal.token(row.get(signal.column)) for signal in plan.signals)
    return plan.decide_signature(tokens, at=AT)


def answer(plan: ConsentPlan, **row: Any) -> str | list[str]:
    """Return the ground of a permission, or the reasons of a denial."""
    decision = decided(plan, **row).decisions[plan.destinations[0]]
    return decision.ground if isinstance(decision, Permitted) else [str(reason) for reason in decision.reasons]


def problems_of(policy: dict[str, Any], consent: Any = None, **elsewhere: Any) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        planned(policy, {"C0004": "ads"} if consent is None else consent, **elsewhere)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("regime", "by_value"),
    [
        ("opt_in", {True: "consented", False: ["C0004:denied"], None: ["C0004:unknown"]}),
        ("opt_out", {True: "consented", False: ["C0004:denied"], None: "not_opted_out"}),
    ],
)
def test_the_regime_decides_whether_silence_permits(regime: str, by_value: dict[bool | None, Any]) -> None:
    plan = planned(policy_of(regime=regime), {"C0004": "ads"})

    assert {value: answer(plan, ads=value) for value in by_value} == by_value


def test_under_opt_out_an_unreadable_value_denies() -> None:
    plan = planned(policy_of(regime="opt_out"), {"C0004": Literals("written", granted=("yes",), denied=("no",))})

    assert answer(plan, written="no ") == ["C0004:invalid"]
    assert answer(plan, written="no") == ["C0004:denied"]
    assert answer(plan) == "not_opted_out"


def test_an_exempt_category_needs_no_column_and_permits_every_person() -> None:
    plan = planned(policy_of(**EXEMPT), {"C0004": "gone"})

    assert answer(plan) == "exempt"
    assert plan.statuses((0,)) == (ConsentStatus.UNKNOWN,)
    assert plan.consent_columns == ()
    assert not plan.needs_rows


@pytest.mark.parametrize("region", ["US-CA", "DE", "AQ"])
def test_a_region_has_its_own_regime(region: str) -> None:
    policy = policy_of(regions={"US-CA": "opt_out", "AQ": "exempt", "DE": "opt_in"}, reason="no law", owner="legal")
    plan = planned(policy, RowConsent({"C0004": "ads"}, region="country"))

    assert answer(plan, country=region) == {"US-CA": "not_opted_out", "DE": ["C0004:unknown"], "AQ": "exempt"}[region]


@pytest.mark.parametrize("region", [None, "", "us-ca", "US-CA ", "FR"])
def test_an_unknown_region_takes_the_strictest_regime(region: str | None) -> None:
    loose = planned(
        policy_of(regime="opt_out", regions={"US-CA": "opt_out", "DE": "opt_in"}),
        RowConsent({"C0004": "ads"}, region="country"),
    )

    assert answer(loose, country=region) == ["C0004:unknown"]


def test_a_regime_by_region_needs_a_region_column() -> None:
    policy = policy_of(regions={"US-CA": "opt_out"})

    assert problems_of(policy) == [
        "the regime of `C0004` depends on the region: name the `region` column @ consent.region"
    ]
    assert problems_of(policy, RowConsent({"C0004": "ads"}, region="land")) == [
        "column `land` is not in the model @ consent.region"
    ]
    assert problems_of(policy, RowConsent({"C0004": "ads"}, region="contry")) == [
        "column `contry` is not in the model, did you mean `country`? @ consent.region"
    ]


def test_an_opt_out_category_without_a_column_is_refused_whatever_the_setting() -> None:
    lenient = {"missing_consent_column": "deny", **policy_of(regime="opt_out")}

    assert problems_of(lenient, {"C0004": "missing"}) == [
        "category `C0004`, required by `webhook`, has no column `missing` in the model, and is opt_out: every person "
        "would be permitted @ consent.C0004"
    ]
    with pytest.raises(PolicyError, match="contains only NULL"):
        plan_consent(
            parse_policy(lenient),
            destinations=["webhook"],
            mapping={"C0004": "ads"},
            columns={"ads": ColumnKind.EMPTY},
        )


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (AT, "consented"),
        (datetime(2025, 10, 24, 12, tzinfo=UTC), "consented"),
        (datetime(2025, 10, 24, 11, 59, 59, 999999, tzinfo=UTC), ["C0004:expired"]),
        (datetime(2025, 10, 24, 13, 59, tzinfo=timezone(timedelta(hours=2))), ["C0004:expired"]),
        (AT + timedelta(minutes=5), "consented"),
        (AT + timedelta(minutes=5, microseconds=1), ["C0004:invalid"]),
        (None, ["C0004:unknown"]),
        (datetime(2026, 11, 1), ["C0004:invalid"]),  # noqa: DTZ001
        ("2026-11-01T00:00:00Z", "consented"),
        ("2026-11-01T00:00:00", ["C0004:invalid"]),
        ("2026-11-01", ["C0004:invalid"]),
        ("2025-10-24T13:59:00+02:00", ["C0004:expired"]),
        ("yesterday", ["C0004:invalid"]),
        ("", ["C0004:invalid"]),
        ("0001-01-01T00:00:00+23:59", ["C0004:expired"]),
        ("9999-12-31T23:59:59-23:59", ["C0004:invalid"]),
        (1763985600, ["C0004:invalid"]),
    ],
)
def test_consent_expires(time: object, expected: object) -> None:
    plan = planned(policy_of(max_age="13 months"), RowConsent({"C0004": "ads"}, time="at"))

    assert answer(plan, ads=True, at=time) == expected
    assert answer(plan, ads=False, at=time) == ["C0004:denied"]


def test_a_shorter_month_ends_on_its_last_day() -> None:
    age = parse_max_age("1 month")

    assert age.before(datetime(2026, 3, 31, 8, tzinfo=UTC)) == datetime(2026, 2, 28, 8, tzinfo=UTC)


@pytest.mark.parametrize("text", ["13", "0 days", "13 Months", "1000 days", "-1 days", "1.5 years", 13, None, "1 week"])
def test_refuses_an_invalid_age(text: object) -> None:
    with pytest.raises(ValueError, match="expected a number of days, months or years"):
        parse_max_age(text)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.10", "consented"),
        ("2.9", ["C0004:expired"]),
        ("3", "consented"),
        ("2.10.0", "consented"),
        ("2.10.1", "consented"),
        ("2", ["C0004:expired"]),
        (None, ["C0004:unknown"]),
        ("", ["C0004:invalid"]),
        ("v3", ["C0004:invalid"]),
        (" 3", ["C0004:invalid"]),
        ("٣", ["C0004:invalid"]),
        (True, ["C0004:invalid"]),
        (3, "consented"),
    ],
)
def test_consent_to_an_older_notice_has_expired(version: object, expected: object) -> None:
    plan = planned(policy_of(min_notice_version="2.10"), RowConsent({"C0004": "ads"}, notice_version="notice"))

    assert answer(plan, ads=True, notice=version) == expected


@pytest.mark.parametrize("version", [2.1, True, -1, "1.", "", None, "1,2"])
def test_refuses_a_notice_that_is_no_version(version: object) -> None:
    with pytest.raises(ValueError, match="expected an integer, or text of numbers"):
        parse_notice_number(version)


def test_what_a_category_demands_needs_its_columns() -> None:
    demanding = policy_of(max_age="90 days", min_notice_version=2)

    assert problems_of(demanding) == [
        "category `C0004` has a max_age: name the `time` column of its consent @ consent.C0004",
        "category `C0004` has a min_notice_version: name the `notice_version` column @ consent.C0004",
    ]
    assert problems_of(demanding, RowConsent({"C0004": "ads"}, time="ads_app", notice_version="at")) == [
        "column `ads_app` is boolean, expected moment or text: a moment is a timestamp with a zone, or text in ISO "
        "8601 with an offset @ consent.C0004",
        "column `at` is moment, expected integer or text @ consent.C0004",
    ]


def test_a_category_with_an_age_cannot_be_planned_without_the_time_of_the_run() -> None:
    policy = parse_policy(policy_of(max_age="1 year"))

    with pytest.raises(ValueError, match="`at`, the time of the decision, is missing"):
        plan_consent(policy, destinations=["webhook"], mapping=RowConsent({"C0004": "ads"}, time="at"), columns=None)


def test_under_opt_out_a_yes_that_is_too_old_is_no_refusal() -> None:
    plan = planned(policy_of(regime="opt_out", max_age="1 year"), RowConsent({"C0004": "ads"}, time="at"))

    assert answer(plan, ads=True, at=AT - timedelta(days=400)) == "not_opted_out"
    assert answer(plan, ads=True, at=AT + timedelta(days=1)) == ["C0004:invalid"]


def test_every_category_may_have_a_time_of_its_own() -> None:
    policy = {
        "categories": [
            {"id": "C0004", "name": "Advertising", "destinations": ["webhook"], "max_age": "1 year"},
            {"id": "C0002", "name": "Analytics", "destinations": ["webhook"], "max_age": "1 year"},
        ]
    }
    consent = {"C0004": Recorded("ads", time="at"), "C0002": Recorded("ads_app", time="written")}

    plan = planned(policy, consent)

    old = (AT - timedelta(days=400)).isoformat()
    assert answer(plan, ads=True, ads_app=True, at=AT, written=old) == ["C0002:expired"]


@pytest.mark.parametrize(
    ("first", "second", "precedence", "strictest", "conflicts"),
    [
        (True, True, "consented", "consented", False),
        (True, False, "consented", ["C0004:denied"], True),
        (True, None, "consented", ["C0004:unknown"], False),
        (False, True, ["C0004:denied"], ["C0004:denied"], True),
        (False, None, ["C0004:denied"], ["C0004:denied"], False),
        (None, True, "consented", ["C0004:unknown"], False),
        (None, False, ["C0004:denied"], ["C0004:denied"], False),
        (None, None, ["C0004:unknown"], ["C0004:unknown"], False),
    ],
)
def test_several_records_go_by_precedence_or_by_the_strictest(
    first: bool | None, second: bool | None, precedence: object, strictest: object, conflicts: bool
) -> None:
    by_precedence = planned(policy_of(), {"C0004": FirstOf("ads", "ads_app")})
    by_strictest = planned(policy_of(), {"C0004": MostRestrictive("ads", "ads_app")})

    assert answer(by_precedence, ads=first, ads_app=second) == precedence
    assert answer(by_strictest, ads=first, ads_app=second) == strictest
    assert decided(by_precedence, ads=first, ads_app=second).conflicts == (("C0004",) if conflicts else ())


@pytest.mark.parametrize("combining", [FirstOf, MostRestrictive])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ((True, True), ["C0004:unknown"]),
        ((True, None), ["C0004:unknown"]),
        ((None, None), ["C0004:unknown"]),
        ((False, None), ["C0004:denied"]),
        ((False, True), ["C0004:denied"]),
    ],
)
def test_a_record_without_a_column_denies_whatever_the_others_say(
    combining: type[FirstOf | MostRestrictive], place: int, others: tuple[bool | None, bool | None], expected: object
) -> None:
    records = ["ads", "ads_app"]
    records.insert(place, "nowhere_to_be_found")
    plan = planned({"missing_consent_column": "deny", **policy_of()}, {"C0004": combining(*records)})

    row = dict(zip(("ads", "ads_app"), others, strict=True))

    assert answer(plan, **row) == expected
    assert plan.warnings == (
        "category `C0004`, required by `webhook`, has no column `nowhere_to_be_found` in the model: no row is granted, "
        "whatever its other records contain",
    )


@pytest.mark.parametrize("records", [("nowhere_to_be_found", "ads"), ("ads", "nowhere_to_be_found")])
def test_of_two_records_one_without_a_column_is_enough_to_deny(records: tuple[str, str]) -> None:
    plan = planned({"missing_consent_column": "deny", **policy_of()}, {"C0004": FirstOf(*records)})

    assert answer(plan, ads=True) == ["C0004:unknown"]
    assert plan.warnings[0].endswith(": no row is granted, whatever its other records contain")


def test_an_old_yes_beside_a_record_without_a_column_is_still_told_as_expired() -> None:
    plan = planned(
        {"missing_consent_column": "deny", **policy_of(max_age="1 year")},
        RowConsent({"C0004": FirstOf("nowhere_to_be_found", "ads")}, time="at"),
    )

    assert answer(plan, ads=True, at=AT - timedelta(days=400)) == ["C0004:expired"]
    assert answer(plan, ads=True, at=AT) == ["C0004:unknown"]


@pytest.mark.parametrize("combining", [FirstOf, MostRestrictive])
@pytest.mark.parametrize("regimes", [{"regime": "opt_out"}, {"regions": {"US-CA": "opt_out"}}])
def test_a_record_without_a_column_is_refused_where_silence_permits(
    combining: type[FirstOf | MostRestrictive], regimes: dict[str, Any]
) -> None:
    lenient = {"missing_consent_column": "deny", **policy_of(**regimes)}
    consent = RowConsent({"C0004": combining("ads", "nowhere_to_be_found")}, region="country")

    assert problems_of(lenient, consent) == [
        "category `C0004`, required by `webhook`, has no column `nowhere_to_be_found` in the model, and is opt_out: "
        "every person would be permitted @ consent.C0004"
    ]


def test_a_category_with_a_record_without_a_column_permits_where_it_is_exempt_and_nowhere_else() -> None:
    policy = policy_of(regions={"AQ": "exempt"}, reason="no law", owner="legal")
    consent = RowConsent({"C0004": FirstOf("nowhere_to_be_found", "ads")}, region="country")
    plan = planned({"missing_consent_column": "deny", **policy}, consent)

    assert answer(plan, ads=True, country="AQ") == "exempt"
    assert answer(plan, ads=True, country="DE") == ["C0004:unknown"]


FRESH, STALE = AT - timedelta(days=2), AT - timedelta(days=400)
# A first record without an answer, in terms of `ads`, `at` and `notice`.
SILENT: dict[str, dict[str, Any]] = {
    "expired": {"ads": True, "at": STALE, "notice": "2"},
    "undated": {"ads": True, "at": None, "notice": "2"},
    "to an older notice": {"ads": True, "at": FRESH, "notice": "1"},
    "to no notice": {"ads": True, "at": FRESH, "notice": None},
    "expired and to an older notice": {"ads": True, "at": STALE, "notice": "1"},
    "nothing": {"ads": None, "at": None, "notice": None},
}


def two_records(regime: str) -> ConsentPlan:
    consent = {
        "C0004": FirstOf(
            Recorded("ads", time="at", notice_version="notice"),
            Recorded("ads_app", time="written", notice_version="notice_app"),
        )
    }
    return planned(policy_of(regime=regime, max_age="1 year", min_notice_version=2), consent)


@pytest.mark.parametrize("first", SILENT)
@pytest.mark.parametrize("regime", ["opt_in", "opt_out"])
def test_a_yes_that_is_not_fresh_says_nothing_and_the_next_record_decides(regime: str, first: str) -> None:
    plan = two_records(regime)
    fresh = {"written": FRESH.isoformat(), "notice_app": "2"}

    assert answer(plan, **SILENT[first], ads_app=True, **fresh) == "consented"
    assert answer(plan, **SILENT[first], ads_app=False, **fresh) == ["C0004:denied"]
    # A no never expires, and needs no notice.
    assert answer(plan, **SILENT[first], ads_app=False, written=STALE.isoformat(), notice_app="1") == ["C0004:denied"]
    assert answer(plan, **SILENT[first], ads_app=False) == ["C0004:denied"]
    assert answer(plan, **SILENT[first], ads_app=True, **{**fresh, "written": "yesterday"}) == ["C0004:invalid"]


@pytest.mark.parametrize("first", SILENT)
def test_where_no_record_says_anything_an_old_yes_is_the_reason(first: str) -> None:
    expected = "expired" if first in ("expired", "to an older notice", "expired and to an older notice") else "unknown"

    assert answer(two_records("opt_in"), **SILENT[first]) == [f"C0004:{expected}"]
    assert answer(two_records("opt_in"), **SILENT[first], ads_app=True, written=STALE.isoformat(), notice_app="2") == [
        "C0004:expired"
    ]
    assert answer(two_records("opt_out"), **SILENT[first]) == "not_opted_out"


def test_under_opt_out_a_no_in_any_record_denies_also_after_a_fresh_yes() -> None:
    row = {"ads": True, "at": FRESH, "notice": "2", "ads_app": False}

    assert answer(two_records("opt_in"), **row) == "consented"
    assert answer(two_records("opt_out"), **row) == ["C0004:denied"]


def test_under_opt_out_a_conflict_in_any_record_denies_and_an_explicit_no_is_the_reason() -> None:
    consent = {"C0004": FirstOf("ads", "ads_app")}
    strict, loose = (
        planned(policy_of(regime=regime), consent, doubts={"ads_app": "ads_doubt"}) for regime in ("opt_in", "opt_out")
    )

    assert answer(strict, ads=True, ads_doubt=1) == "consented"
    assert answer(loose, ads=True, ads_doubt=1) == ["C0004:conflict"]
    assert answer(loose, ads=False, ads_doubt=1) == ["C0004:denied"]
    assert answer(loose, ads=True, ads_doubt=2) == "consented"


@pytest.mark.parametrize(
    ("regime", "regions", "expected"),
    [
        ("opt_in", {"US-CA": "opt_out"}, {"US-CA": ["C0004:denied"], "DE": ["C0004:denied"], None: ["C0004:denied"]}),
        ("opt_out", {"DE": "opt_in"}, {"US-CA": ["C0004:denied"], "DE": "consented", None: ["C0004:denied"]}),
        ("opt_in", {"US-CA": "opt_in"}, {"US-CA": "consented", "DE": "consented", None: "consented"}),
        ("opt_in", {"AQ": "exempt"}, {"AQ": "exempt", "DE": "consented", None: "consented"}),
    ],
)
def test_a_no_after_a_yes_counts_wherever_opt_out_may_apply(
    regime: str, regions: dict[str, str], expected: dict[str | None, object]
) -> None:
    more = {"reason": "no law", "owner": "legal"} if "exempt" in regions.values() else {}
    plan = planned(
        policy_of(regime=regime, regions=regions, **more),
        RowConsent({"C0004": FirstOf("ads", "ads_app")}, region="country"),
    )

    assert {region: answer(plan, ads=True, ads_app=False, country=region) for region in expected} == expected


@dataclass(frozen=True)
class RecordAnswer:
    """The answer of one record of a row.

    Args:
        raw: of the column; None: NULL.
        kind: how the column is read: as consent, as an objection, or as one whose absence is declared a yes.
        at: the time of the answer.
        notice: to which version of the notice.
        doubt: that the source has about it.
    """

    raw: bool | None
    kind: str
    at: datetime | None
    notice: int | None
    doubt: int | None

    @property
    def is_fresh_yes(self) -> bool:
        """Whether it is an explicit yes that meets the conditions of the policy below."""
        recent = self.at is not None and AT - timedelta(days=365) <= self.at <= AT
        is_yes = self.raw is {"consent": True, "declared": False}.get(self.kind, ...)
        return is_yes and recent and self.notice is not None and self.notice >= 2 and not self.doubt

    @property
    def is_no(self) -> bool:
        """Whether it is a no without a doubt."""
        return self.raw is (self.kind != "consent") and not self.doubt

    def record(self, word: str) -> Recorded:
        """Return the declaration of the record, in the columns of a word."""
        column = f"{word}_yes"
        signal: str | OptOut = (
            column if self.kind == "consent" else OptOut(column, false_is_yes=self.kind == "declared")
        )
        return Recorded(signal, time=f"{word}_time", notice_version=f"{word}_notice")


answers_by_records = st.lists(
    st.builds(
        RecordAnswer,
        st.sampled_from([True, True, False, None]),
        st.sampled_from(["consent", "consent", "objection", "declared"]),
        st.sampled_from([None, FRESH, STALE, AT + timedelta(days=2)]),
        st.sampled_from([None, 1, 2]),
        st.sampled_from([None, None, None, 0, 1, 2]),
    ),
    min_size=1,
    max_size=4,
)


@given(
    answers_by_records,
    st.sampled_from([FirstOf, MostRestrictive]),
    st.fixed_dictionaries({"regime": st.sampled_from(["opt_in", "opt_out"])})
    | st.fixed_dictionaries(
        {"regions": st.dictionaries(st.sampled_from(["US-CA", "DE"]), st.just("opt_out"), min_size=1)}
    ),
    st.sampled_from([None, "US-CA", "DE", "FR"]),
    st.sets(st.integers(0, 3)),
)
def test_only_an_explicit_present_and_fresh_yes_outvotes_a_no(
    answers: list[RecordAnswer],
    combining: type[FirstOf | MostRestrictive],
    regimes: dict[str, Any],
    region: str | None,
    missing: set[int],
) -> None:
    opts_out = "opt_out" in (regimes.get("regime"), *regimes.get("regions", {}).values())
    # A record without a column is refused if silence may permit.
    there = [not (place in missing and not opts_out) for place in range(len(answers))]
    records = [one.record(word) for word, one in zip(WORDS, answers, strict=False)]
    kinds = {f"{word}_{name}": kind for word in WORDS for name, kind in PER_RECORD.items()} | {"land": ColumnKind.TEXT}
    for record, is_there in zip(records, there, strict=True):
        if not is_there:
            del kinds[record.signal.column]
    mapping = parse_consent_mapping(
        RowConsent({"C0004": combining(*records) if len(records) > 1 else records[0]}, region="land")
    ).with_elsewhere(doubts={f"{word}_yes": f"{word}_doubt" for word in WORDS}, suppressions=())
    policy = {
        "missing_consent_column": "deny",
        **policy_of(max_age="1 year", min_notice_version=2, **regimes),
    }
    plan = plan_consent(parse_policy(policy), destinations=["webhook"], mapping=mapping, columns=kinds, at=AT)
    row: dict[str, Any] = {"land": region}
    for word, one in zip(WORDS, answers, strict=False):
        row |= {
            f"{word}_yes": one.raw,
            f"{word}_time": one.at,
            f"{word}_notice": one.notice,
            f"{word}_doubt": one.doubt,
        }

    found = answer(plan, **row)

    permitted = isinstance(found, str)
    noes = [place for place, one in enumerate(answers) if one.is_no and there[place]]
    named = regimes.get("regions", {})
    any_no_denies = named[region] == "opt_out" if region in named else opts_out
    if permitted and not all(there):
        pytest.fail("a record without a column permitted")
    if permitted and noes:
        assert combining is FirstOf
        assert not any_no_denies
        assert any(one.is_fresh_yes for one in answers[: noes[0]])
    if found == "consented":
        assert any(one.is_fresh_yes for one in answers)
    if noes and any_no_denies:
        assert found == ["C0004:denied"]


WORDS = ("support", "website", "mobile", "newspaper")
PER_RECORD = {
    "yes": ColumnKind.BOOLEAN,
    "time": ColumnKind.MOMENT,
    "notice": ColumnKind.INTEGER,
    "doubt": ColumnKind.INTEGER,
}


@given(
    st.lists(st.sampled_from([True, False, None]), min_size=2, max_size=2),
    st.sampled_from(["opt_in", "opt_out", "exempt"]),
    st.dictionaries(
        st.sampled_from(["US-CA", "DE", "AQ"]), st.sampled_from(["opt_in", "opt_out", "exempt"]), min_size=1
    ),
)
def test_an_unknown_region_is_permitted_no_more_than_any_region_of_the_policy(
    answers: list[bool | None], regime: str, regions: dict[str, str]
) -> None:
    more = {"reason": "no law", "owner": "legal"} if "exempt" in {regime, *regions.values()} else {}
    plan = planned(
        policy_of(regime=regime, regions=regions, **more),
        RowConsent({"C0004": FirstOf("ads", "ads_app")}, region="country"),
    )
    row = dict(zip(("ads", "ads_app"), answers, strict=True))

    if isinstance(answer(plan, **row, country=None), str):
        assert all(isinstance(answer(plan, **row, country=region), str) for region in regions)


def test_a_record_of_precedence_that_cannot_be_read_decides() -> None:
    plan = planned(policy_of(), {"C0004": FirstOf(Literals("written", granted=("yes",)), "ads")})

    assert answer(plan, written="??", ads=True) == ["C0004:invalid"]


@pytest.mark.parametrize(
    ("doubt", "expected"),
    [(None, "consented"), (0, "consented"), (1, ["C0004:conflict"]), (2, ["C0004:invalid"]), (7, ["C0004:invalid"])],
)
def test_a_doubt_denies_whatever_the_answer_is(doubt: int | None, expected: object) -> None:
    plan = planned(policy_of(), {"C0004": "ads"}, doubts={"ads": "ads_doubt"})
    loose = planned(policy_of(regime="opt_out"), {"C0004": "ads"}, doubts={"ads": "ads_doubt"})

    assert answer(plan, ads=True, ads_doubt=doubt) == expected
    assert answer(loose, ads=True, ads_doubt=doubt) == expected
    assert decided(plan, ads=True, ads_doubt=doubt).conflicts == (("C0004",) if doubt == 1 else ())


@pytest.mark.parametrize("regime", ["opt_in", "opt_out"])
def test_global_privacy_control_denies_categories_that_are_not_exempt(regime: str) -> None:
    plan = planned(policy_of(regime=regime), RowConsent({"C0004": "ads"}, gpc="gpc"))

    assert answer(plan, ads=True, gpc=True) == ["gpc:denied"]
    assert answer(plan, ads=True, gpc=False) == answer(plan, ads=True, gpc=None) == "consented"
    assert answer(plan, ads=False, gpc=True) == ["C0004:denied", "gpc:denied"]
    assert answer(planned(policy_of(**EXEMPT), RowConsent({"C0004": "gone"}, gpc="gpc")), gpc=True) == "exempt"


def test_global_privacy_control_denies_in_each_region_where_the_category_is_not_exempt() -> None:
    policy = policy_of(regions={"AQ": "exempt", "DE": "opt_in"}, reason="no law", owner="legal")
    plan = planned(policy, RowConsent({"C0004": "ads"}, region="country", gpc="gpc"))

    assert answer(plan, ads=True, gpc=True, country="AQ") == "exempt"
    assert answer(plan, ads=True, gpc=True, country="DE") == answer(plan, ads=True, gpc=True) == ["gpc:denied"]


def test_global_privacy_control_cannot_be_declared_to_expire() -> None:
    with pytest.raises(PolicyError, match=r"Global Privacy Control does not expire: remove `expired` @ consent\.gpc"):
        RowConsent({"C0004": "ads"}, gpc=Literals("written", granted=("1",), expired=("old",)))


def test_global_privacy_control_that_cannot_be_read_denies() -> None:
    plan = planned(policy_of(), RowConsent({"C0004": "ads"}, gpc=Literals("written", granted=("1",), denied=("0",))))

    assert answer(plan, ads=True, written="1") == ["gpc:denied"]
    assert answer(plan, ads=True, written="0") == answer(plan, ads=True, written=None) == "consented"
    assert answer(plan, ads=True, written="true") == ["gpc:invalid"]


@pytest.mark.parametrize("policy", [policy_of(), policy_of(**EXEMPT), policy_of(enabled=False)])
def test_a_suppression_list_always_denies(policy: dict[str, Any]) -> None:
    plan = planned(policy, {"C0004": "ads"}, suppressions=["listed"])

    assert answer(plan, ads=True, listed=True) == ["suppression:denied"]
    assert answer(plan, ads=True, listed=None) == ["suppression:unknown"]
    assert isinstance(answer(plan, ads=True, listed=False), str)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "consented"),
        ("null", "consented"),
        ("{}", "consented"),
        ('{"Hook": true}', "consented"),
        ('{"Hook": {"id": 7}}', "consented"),
        ('{"All": true}', "consented"),
        ('{"All": false, "Hook": true}', "consented"),
        ('{"Hook": false}', ["row_switch:denied"]),
        ('{"All": false}', ["row_switch:denied"]),
        ('{"All": false, "Other": true}', ["row_switch:denied"]),
        ('{"Hook": "false"}', ["row_switch:invalid"]),
        ('{"Hook": null}', ["row_switch:invalid"]),
        ('{"Hook": 0}', ["row_switch:invalid"]),
        ('{"All": {"id": 7}}', ["row_switch:invalid"]),
        ('{"hook": false}', ["row_switch:invalid"]),
        ('{"all": false}', ["row_switch:invalid"]),
        ('{"ALL": false}', ["row_switch:invalid"]),
        ('{"All ": false}', ["row_switch:invalid"]),
        ('{"\\u0410ll": false}', ["row_switch:invalid"]),
        ('{"all": true}', ["row_switch:invalid"]),
        ('{"All": true, "all": false}', ["row_switch:invalid"]),
        ('{"all": false, "Hook": true}', ["row_switch:invalid"]),
        ('{"Hook": true, "HOOK": false}', ["row_switch:invalid"]),
        ('{"webhook": false}', ["row_switch:denied"]),
        ('{"Hook": true, "webhook": false}', ["row_switch:denied"]),
        ('{"Hook": true, "webhook": 0}', ["row_switch:invalid"]),
        ('{"Webhook": false}', ["row_switch:invalid"]),
        ('{"Hook": false, "Hook": true}', ["row_switch:invalid"]),
        ('["Hook"]', ["row_switch:invalid"]),
        ("", ["row_switch:invalid"]),
        ("{", ["row_switch:invalid"]),
    ],
)
def test_segments_integrations_object_can_only_exclude(text: str | None, expected: object) -> None:
    switches = IntegrationsObject("written", names={"webhook": "Hook"})

    plan = planned(policy_of(), RowConsent({"C0004": "ads"}, switches=switches))

    assert answer(plan, ads=True, written=text) == expected
    assert "C0004:denied" in answer(plan, ads=False, written=text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "consented"),
        ("[]", "consented"),
        ('["crm"]', "consented"),
        ('["crm", "webhook"]', ["row_switch:denied"]),
        ('["Webhook"]', ["row_switch:invalid"]),
        ('["All"]', ["row_switch:denied"]),
        ('["all"]', ["row_switch:denied"]),
        ('["crm", " ALL "]', ["row_switch:denied"]),
        ('["A\u200bll"]', ["row_switch:denied"]),
        ('["allegro"]', "consented"),
        ('["crm", 1]', ["row_switch:invalid"]),
        ('{"webhook": true}', ["row_switch:invalid"]),
        ("webhook", ["row_switch:invalid"]),
        ('[""]', ["row_switch:invalid"]),
    ],
)
def test_an_array_of_excluded_destinations_can_only_exclude(text: str | None, expected: object) -> None:
    plan = planned(policy_of(), RowConsent({"C0004": "ads"}, switches=ExcludedDestinations("written")))

    assert answer(plan, ads=True, written=text) == expected


@pytest.mark.parametrize(
    ("key", "token"),
    [
        ("Google Ads", 1),
        ("google_ads", 1),
        ("google_ads:emea", 1),
        ("GOOGLE ADS", 2),
        ("Google_ads", 2),
        ("google_ads:EMEA", 2),
        ("google-ads:emea", 2),
        ("google_ads:emea ", 2),
        ("google_ads:apac", 0),
        ("webhook", 0),
    ],
)
def test_an_instance_is_excluded_under_each_of_its_names(key: str, token: int) -> None:
    names = {"google_ads": "Google Ads"}
    array = ExcludedDestinations("written", names=names).for_destination("google_ads:emea")
    objects = IntegrationsObject("written", names=names).for_destination("google_ads:emea")

    assert array.token(json.dumps([key])) == token
    assert objects.token(json.dumps({key: False})) == token
    assert (
        objects.token(json.dumps({"Google Ads": True, "google_ads": True, "google_ads:emea": True, key: False}))
        == token
    )


def test_a_name_that_the_column_uses_for_another_destination_excludes_only_that_one() -> None:
    switches = IntegrationsObject("written", names={"crm": "webhook", "webhook": "Hook"})

    assert switches.for_destination("crm").token('{"webhook": false}') == 1
    assert switches.for_destination("webhook").token('{"webhook": false}') == 0
    assert switches.for_destination("webhook").token('{"Hook": false}') == 1


def test_switches_also_apply_to_destinations_without_a_category() -> None:
    policy = {"categories": [{"id": "C0004", "name": "Advertising", "destinations": ["elsewhere"]}]}
    plan = planned(policy, RowConsent({"C0004": "ads"}, switches=ExcludedDestinations("written")))

    assert answer(plan, written='["webhook"]') == ["row_switch:denied"]
    assert answer(plan) == "unmapped"
    assert plan.needs_rows


def test_a_category_guards_fields_of_a_destination_that_may_have_the_row() -> None:
    policy = {
        "categories": [
            {"id": "C0004", "name": "Advertising", "destinations": ["webhook"]},
            {"id": "C0005", "name": "Phone", "fields": {"webhook": ["phone", "mobile"]}},
        ]
    }
    plan = planned(policy, {"C0004": "ads", "C0005": "ads_app"})

    assert decided(plan, ads=True, ads_app=True).withheld == {}
    assert decided(plan, ads=True, ads_app=False).withheld == {"webhook": ("mobile", "phone")}
    assert decided(plan, ads=True).withheld == {"webhook": ("mobile", "phone")}
    assert decided(plan, ads=False).withheld == {}


@pytest.mark.parametrize(
    ("terms", "problems"),
    [
        (
            {"regime": "optin"},
            ["expected one of `opt_in`, `opt_out`, `exempt`, found `optin`, did you mean `opt_in`? @ {}.regime"],
        ),
        (
            {"regime": "exempt"},
            [
                "an exempt category needs a reason and an owner: expected `reason` as text @ {}.reason",
                "an exempt category needs a reason and an owner: expected `owner` as text @ {}.owner",
            ],
        ),
        ({"reason": "none"}, ["only a category that is `exempt` somewhere has `reason` @ {}.reason"]),
        ({"regions": {}}, ["expected at least one region with its regime @ {}.regions"]),
        (
            {"regions": {"US-CA": "opt_aut", " DE": "opt_in"}},
            [
                "expected one of `opt_in`, `opt_out`, `exempt`, found `opt_aut`, did you mean `opt_out`? "
                '@ {}.regions["US-CA"]',
                "expected a region as text without space at its ends, found text @ {}.regions",
            ],
        ),
        ({"max_age": "soon"}, ["expected a number of days, months or years, such as `13 months` @ {}.max_age"]),
        (
            {"min_notice_version": 2.1},
            ["expected an integer, or text of numbers with dots between them, such as `2.10` @ {}.min_notice_version"],
        ),
        ({"fields": {}}, ["expected at least one destination with its guarded fields @ {}.fields"]),
        ({"fields": {"webhook": []}}, ["expected a list with at least one entry @ {}.fields.webhook"]),
        ({"fields": {"webhook": ["a", "a"]}}, ["expected the names of fields, each once @ {}.fields.webhook"]),
        (
            {"fields": {"webhook": ["tel", {"class": "phone", "aliases": ["tel"]}]}},
            ["expected the names of fields, each once @ {}.fields.webhook"],
        ),
        (
            {"fields": {"webhook": [{"class": "phone"}]}},
            ["key `aliases` is missing @ {}.fields.webhook[0]"],
        ),
        (
            {"fields": {"webhook": [{"class": "phone", "aliases": []}]}},
            ["expected a list with at least one entry @ {}.fields.webhook[0].aliases"],
        ),
        (
            {"fields": {"webhook": [{"class": "phone", "aliases": "tel"}]}},
            ["expected a list, found text @ {}.fields.webhook[0].aliases"],
        ),
        (
            {"fields": {"webhook": [{"class": "phone", "aliases": [7]}]}},
            ["expected the names of a data class and of its aliases, as text @ {}.fields.webhook[0]"],
        ),
        (
            {"fields": {"webhook": [7]}},
            ["expected the name of a field, or a data class with its aliases @ {}.fields.webhook[0]"],
        ),
        (
            {"fields": {"web_hook": ["phone"]}},
            [
                "destination `web_hook` resembles `webhook`, did you mean `webhook`? If they differ, name both in the "
                "`destinations` section @ {}.fields.web_hook"
            ],
        ),
    ],
)
def test_refuses_wrong_terms_each_at_its_path(terms: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policy(policy_of(**terms))

    assert [str(problem) for problem in caught.value.problems] == [
        problem.replace("{}", "$.categories[0]") for problem in problems
    ]


def test_a_policy_without_terms_keeps_its_digest_and_every_term_changes_it() -> None:
    plain = parse_policy(policy_of())
    terms: list[dict[str, Any]] = [
        {"regime": "opt_out"},
        EXEMPT,
        EXEMPT | {"owner": "another owner"},
        {"regions": {"US-CA": "opt_out"}},
        {"max_age": "1 year"},
        {"min_notice_version": 0},
        {"min_notice_version": 1},
        {"fields": {"webhook": ["phone"]}},
        {"fields": {"webhook": ["phone", "tel"]}},
        {"fields": {"webhook": [{"class": "phone", "aliases": ["tel"]}]}},
    ]

    digests = [parse_policy(policy_of(**some)).digest for some in terms]

    assert plain.digest == "sha256:0f7df1ef37ffd7a361184ed763e5ebdd2279a5b721bb7ef9fb435c9393586b2a"
    assert len({plain.digest, *digests}) == len(terms) + 1
    assert parse_policy(policy_of(regime="opt_in")).digest == plain.digest
    assert parse_policy(policy_of(min_notice_version="2.0")) == parse_policy(policy_of(min_notice_version=2))


@cache
def bare_and_full(regime: str) -> tuple[ConsentPlan, ConsentPlan]:
    """Return a plan of one column, and one with everything else that a row may say."""
    full = RowConsent(
        {"C0004": "ads"}, time="at", notice_version="notice", gpc="gpc", switches=ExcludedDestinations("written")
    )
    policy = policy_of(regime=regime, max_age="1 year", min_notice_version=1)
    return planned(policy_of(regime=regime), {"C0004": "ads"}), planned(policy, full, suppressions=["listed"])


@given(
    st.sampled_from(["opt_in", "opt_out"]),
    st.sampled_from([True, False, None]),
    st.one_of(st.none(), st.datetimes(timezones=st.just(UTC)), st.text(max_size=12)),
    st.one_of(st.none(), st.text(max_size=6)),
    st.sampled_from([None, True, False]),
    st.sampled_from([None, True, False]),
    st.one_of(st.none(), st.just('["webhook"]'), st.text(max_size=12)),
)
def test_no_other_value_of_a_row_can_add_a_permission(
    regime: str,
    ads: bool | None,
    at: object,
    notice: str | None,
    gpc: bool | None,
    listed: bool | None,
    written: str | None,
) -> None:
    bare, full = bare_and_full(regime)
    row = {"ads": ads, "at": at, "notice": notice, "gpc": gpc, "listed": listed, "written": written}

    assert set(decided(full, **row).recipients) <= set(decided(bare, ads=ads).recipients)


@given(
    st.one_of(st.none(), st.datetimes(), st.datetimes(timezones=st.just(UTC)), st.text(), st.integers(), st.floats())
)
def test_any_value_has_a_token_as_a_time_and_as_a_version(raw: object) -> None:
    for signal in (ConsentTime("at", (AT,)), NoticeVersion("notice", (1,))):
        assert 0 <= signal.token(raw) <= signal.unlisted_token


def test_refuses_declarations_that_are_wrong() -> None:
    with pytest.raises(PolicyError, match="expected at least two records"):
        FirstOf("ads")
    with pytest.raises(PolicyError, match=r"MostRestrictive\[1\]"):
        MostRestrictive("ads", 7)  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match=r"Recorded\.signal"):
        Recorded("")
    with pytest.raises(PolicyError, match=r"Recorded\.time"):
        Recorded("ads", time="")
    with pytest.raises(PolicyError, match=r"consent\.switches"):
        RowConsent({"C0004": "ads"}, switches="written")  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match=r"consent\.region"):
        RowConsent({"C0004": "ads"}, region="")
    with pytest.raises(PolicyError, match=r"consent\.gpc"):
        RowConsent({"C0004": "ads"}, gpc=7)  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match="cannot contain another"):
        RowConsent(RowConsent({"C0004": "ads"}))  # type: ignore[arg-type]
    with pytest.raises(PolicyError, match="expected the name of each destination"):
        IntegrationsObject("written", names={"webhook": 7})  # type: ignore[dict-item]
    with pytest.raises(PolicyError, match="ascending"):
        ConsentTime("at", (AT, AT - timedelta(days=1)))


def test_a_signal_that_several_categories_need_is_read_once() -> None:
    policy = {
        "categories": [
            {"id": "C0002", "name": "Analytics", "destinations": ["webhook"], "max_age": "1 year"},
            {"id": "C0004", "name": "Advertising", "destinations": ["webhook"], "max_age": "1 year"},
        ]
    }

    plan = planned(policy, RowConsent({"C0002": "ads", "C0004": "ads_app"}, time="at"))

    assert [signal and signal.column for signal in plan.signals] == ["ads", "ads_app", "at"]
    assert plan.signals[:2] == (BooleanColumn("ads"), BooleanColumn("ads_app"))
    assert plan.statuses((1, 1, 2)) == (ConsentStatus.GRANTED, ConsentStatus.GRANTED)
