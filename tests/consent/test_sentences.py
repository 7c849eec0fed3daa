"""Tests of the places of problems and findings, and of what stands beside them, where no other test is about them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    BooleanColumn,
    CategorySignal,
    ConsentObject,
    ConsentStatus,
    IntegrationsObject,
    OptOut,
    SuppressionList,
    parse_consent_mapping,
    parse_policy,
)
from airflow_consent_retl.consent.format_document import format_document, parse_signal, parse_switches, parse_whole
from airflow_consent_retl.consent.formats.cookiebot import CookiebotCategory
from airflow_consent_retl.consent.formats.opt_outs import OptOuts
from airflow_consent_retl.consent.formats.two_lists import TwoLists
from airflow_consent_retl.consent.policy_lint import always_yes, brought_by, lint_mapping, lint_policy
from airflow_consent_retl.consent.region_presets import PRESETS
from airflow_consent_retl.consent.source_checks import same_column_problems
from airflow_consent_retl.errors import PolicyError


def status(signal: CategorySignal, raw: object) -> ConsentStatus:
    return signal.status(signal.token(raw))


@pytest.mark.parametrize(
    ("parse", "declared", "what"),
    [
        (parse_signal, ConsentObject("doc"), "ConsentObject is not a format of one category"),
        (parse_whole, BooleanColumn("ok"), "BooleanColumn is not a format of all categories"),
        (parse_switches, BooleanColumn("ok"), "BooleanColumn is not a format of a row's switches"),
        (parse_signal, IntegrationsObject("all"), "IntegrationsObject is not a format of one category"),
    ],
)
def test_a_format_of_another_kind_is_a_problem_of_the_mapping(parse: Any, declared: Any, what: str) -> None:
    with pytest.raises(PolicyError) as refused:
        parse(format_document(declared))

    assert [(problem.path, problem.message) for problem in refused.value.problems] == [("consent", what)]


@pytest.mark.parametrize(
    ("columns", "paths"),
    [
        ({"subject": None, "key": None}, []),
        ({"subject": "id", "key": "other"}, []),
        ({"subject": "id", "key": None, "time": "id", "profile": "id"}, ["S.time", "S.profile"]),
    ],
)
def test_a_column_in_two_roles_is_a_problem_of_the_later_one(columns: dict[str, str | None], paths: list[str]) -> None:
    problems = same_column_problems("S", columns)

    assert [problem.path for problem in problems] == paths
    assert all(
        problem.message == "the column `id` is `subject` already: select it a second time under a name of its own "
        f"(`id AS {problem.path.removeprefix('S.')}`)"
        for problem in problems
    )


@pytest.mark.parametrize(
    ("cookie", "is_near"),
    [
        ("{stamp:'x',Marketing:true}", True),
        ("{stamp:'x',marketing:true,Marketing:true}", False),
        ("{stamp:'x',statistics:true}", False),
        ("no cookie", False),
    ],
)
def test_a_category_of_cookiebot_is_near_only_where_it_is_missing(cookie: str, is_near: bool) -> None:
    assert CookiebotCategory("cookie", "marketing").has_near_key(cookie) is is_near


def test_opt_outs_pass_on_the_name_of_a_category_and_the_meaning_of_its_no() -> None:
    by_name = OptOuts(ConsentObject("doc", path="", key_by="name"), ["C1"], false_is_yes=True)
    turned = by_name.for_category("C1", "Advertising")

    assert status(turned, '{"Advertising": true}') is ConsentStatus.DENIED
    assert status(turned, '{"Advertising": false}') is ConsentStatus.GRANTED
    assert status(by_name.for_category("C2", "Analytics"), '{"Analytics": true}') is ConsentStatus.GRANTED
    silent = OptOuts(ConsentObject("doc", path=""), ["C1"]).for_category("C1", "Advertising")
    assert status(silent, '{"C1": false}') is ConsentStatus.UNKNOWN


def test_an_id_that_is_missing_in_the_second_of_two_lists_says_nothing() -> None:
    lists: Any = TwoLists("allowed", "denied", separator=",").for_category("C1", "Advertising")

    denied = lists.parts[1].signal
    assert isinstance(denied, OptOut)
    assert (status(denied, "C1"), status(denied, "C2")) == (ConsentStatus.DENIED, ConsentStatus.UNKNOWN)


def test_findings_about_a_mapping_stand_at_the_mapping() -> None:
    policy = parse_policy(
        {"categories": [{"id": "C1", "name": "Do not sell", "destinations": ["crm"], "regions": "preset:2026-11"}]}
    )

    found = lint_mapping(policy, parse_consent_mapping({"C1": "sell_ok"}))

    assert [(finding.rule, finding.place) for finding in found] == [
        ("opposite_names", "consent.C1"),
        ("unread_signal", "consent"),
    ]
    assert found[0].sentence == "category `C1` is called `Do not sell`, and its column `sell_ok`"
    assert lint_mapping(policy, parse_consent_mapping({"C9": "sell_ok"}))[0].rule == "unread_signal"


def test_a_category_that_all_rows_grant_is_a_finding_with_their_number() -> None:
    finding = always_yes("C1", 12_000, "$.officer")

    assert (finding.rule, finding.place) == ("always_yes", "$.officer")
    assert finding.sentence == "category `C1`: all 12,000 rows say yes"
    assert finding.reason.startswith("A column that holds nothing but yes was filled with a constant")


def test_only_sources_bring_columns() -> None:
    assert brought_by([SuppressionList("SELECT 1", subject="id"), object()]) == {"suppressed"}


def test_templates_of_a_list_are_rendered_in_its_query_and_its_connection() -> None:
    declared = SuppressionList("SELECT {{ day }}", subject="id", conn_id="{{ crm }}", column="listed", min_rows=3)

    rendered = declared.rendered(lambda text: text.replace("{{ day }}", "7").replace("{{ crm }}", "w"))

    assert rendered == SuppressionList("SELECT 7", subject="id", conn_id="w", column="listed", min_rows=3)


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the machine stand where a new day begins 14 hours earlier."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_east")
def test_the_age_of_a_preset_is_counted_in_days_of_utc() -> None:
    preset = PRESETS["2026-11"]

    assert not preset.is_old(datetime(2027, 11, 29, 23, tzinfo=UTC))
    assert preset.is_old(datetime(2027, 11, 30, 0, tzinfo=UTC))


def test_findings_about_the_officers_mappings_stand_at_each_of_them() -> None:
    with_signal = {"format": "RowConsent", "categories": {"C1": "sell_ok"}, "gpc": "gpc"}
    policy = parse_policy(
        {
            "categories": [
                {"id": "C1", "name": "Do not sell", "destinations": ["crm"], "regions": "preset:2026-11"},
            ],
            "officer": {
                "models": {"people": {"consent": {"C1": "sell_ok"}}, "rows": {"consent": with_signal}},
                "connections": {"crm": {"consent": {"C1": "sell_ok"}}, "w": {"consent": with_signal}},
            },
        }
    )

    found = [(one.rule, one.place) for one in lint_policy(policy, at=datetime(2026, 11, 30, tzinfo=UTC))]

    assert found == [
        *(("opposite_names", f"$.officer.connections.{name}.consent.C1") for name in ("crm", "w")),
        *(("opposite_names", f"$.officer.models.{name}.consent.C1") for name in ("people", "rows")),
        ("unread_signal", "$.officer.connections.crm.consent"),
        ("unread_signal", "$.officer.models.people.consent"),
        *(("written_by_the_dag", f"$.officer.connections.{name}.consent") for name in ("crm", "w")),
        *(("written_by_the_dag", f"$.officer.models.{name}.consent") for name in ("people", "rows")),
    ]
