"""Tests of what a policy's officer's part binds: models, sources, consent, destinations and fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    ConsentObject,
    ConsentPolicy,
    ConsentSource,
    GoogleConsent,
    IntegrationsObject,
    Literals,
    RowConsent,
    SuppressionList,
    parse_consent_mapping,
    parse_policy,
)
from airflow_consent_retl.consent.binding import (
    ModelUse,
    bound_mapping,
    bound_sources,
    missing_sources,
    model_problems,
)
from airflow_consent_retl.consent.destination_binding import DestinationUse, destination_problems
from airflow_consent_retl.errors import PolicyError

SQL = "SELECT * FROM people"
SOURCE = ConsentSource("SELECT * FROM said", subject="id", columns=["said"])
NEVER = SuppressionList("SELECT email FROM never", subject="email", conn_id="crm")
OTHER = SuppressionList("SELECT email FROM other", subject="email", column="other")
OFFICER: dict[str, Any] = {
    "models": {
        "people": {
            "connection": "w",
            "primary_key": "id",
            "sql": f" {SQL} ; ",
            "consent": {"C1": "said", "C2": {"format": "Literals", "column": "ads", "granted": ["yes"]}},
            "consent_sources": [{"format": "ConsentSource", "sql": SOURCE.sql, "subject": "id", "columns": ["said"]}],
        },
        "free": {},
    },
    "suppression_lists": [{"sql": NEVER.sql, "subject": "email", "conn_id": "crm"}],
    "destinations": {
        "crm": {
            "operator": "LoadToCrm",
            "connection": "c",
            "parameters": {"table": "t", "schema": None},
            "target": "T",
        },
        "ads": {"fields": {"id": "id"}, "country": "US"},
        "mail": {"fields": ["id"], "country": "DE"},
    },
    "no_assessment_in": ["DE"],
}


def policy(officer: Mapping[str, Any] = OFFICER, **more: Any) -> ConsentPolicy:
    categories = [
        {"id": "C1", "name": "One", "destinations": ["crm", "ads"]},
        {"id": "C2", "name": "Two", "destinations": ["mail"]},
    ]
    return parse_policy({"categories": categories, "officer": officer, **more})


def use(**more: Any) -> ModelUse:
    given: dict[str, Any] = {
        "model": "people",
        "connection": "w",
        "primary_key": "id",
        "queries": (SQL,),
        "sources": (SOURCE, NEVER),
    }
    return ModelUse(**{**given, **more})


def paths(**more: Any) -> list[str]:
    return [problem.path for problem in model_problems(policy().officer, use(**more))]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, []),
        ({"queries": (f"{SQL};",)}, []),
        ({"queries": ()}, []),
        ({"primary_key": None}, []),
        ({"connection": "x"}, ["conn_id"]),
        ({"primary_key": "email"}, ["primary_key"]),
        ({"queries": (SQL, "SELECT 1")}, ["sql"]),
        ({"hook_params": {"schema": "mine"}}, ["hook_params"]),
        ({"model": "poeple"}, ["model"]),
        # Nothing is declared about it.
        ({"model": "free", "connection": "x", "queries": ("SELECT 1",), "hook_params": {"a": 1}}, []),
        ({"model": "leads"}, []),
    ],
)
def test_a_model_is_what_the_policy_declares(more: dict[str, Any], expected: list[str]) -> None:
    assert paths(**more) == expected


def test_a_semicolon_at_the_end_is_no_part_of_a_query() -> None:
    officer = policy({"models": {"people": {"sql": "SELECT X"}}}).officer

    assert model_problems(officer, use(queries=("SELECT X ;",))) == []
    assert len(model_problems(officer, use(queries=("SELECT ",)))) == 1


def test_all_columns_and_countries_that_are_allowed_are_named() -> None:
    two = {"destinations": {"mail": {"fields": ["id", "name"]}}, "no_assessment_in": ["DE", "AT"]}

    (column, country) = found({"name": "mail", "fields": {"email": "email"}}, officer=two)

    assert column.startswith("the policy lets column `id`, `name` go to `mail`, and this DAG sends `email`")
    assert "which the policy requires outside AT, DE" in country


def test_declared_hook_params_are_compared_as_values() -> None:
    officer = policy({"models": {"people": {"hook_params": {"b": 2, "a": 1}}}}).officer

    assert model_problems(officer, use(hook_params={"a": 1, "b": 2})) == []
    assert [one.path for one in model_problems(officer, use())] == ["hook_params"]


def test_undeclared_models_are_refused_where_the_policy_says_so() -> None:
    officer = policy({"connections": {"w": {}}, "undeclared_models": "error"}).officer

    assert model_problems(officer, use(model="leads")) == []
    (problem,) = model_problems(officer, use(model="leads", connection="x"))
    assert problem.message.endswith("others may not be used; it declares `w`")


def test_an_undeclared_model_is_a_problem_of_the_model_with_all_that_is_declared() -> None:
    declared = {"models": {"people": {}, "orders": {}}, "connections": {"crm": {}}, "undeclared_models": "error"}

    (problem,) = model_problems(policy(declared).officer, use(model="leads"))

    assert problem.path == "model"
    assert problem.message.endswith("others may not be used; it declares `orders`, `people`, `crm`")


def test_sources_are_those_of_the_models_connection_too() -> None:
    lists = {"connections": {"w": {"consent_sources": [OFFICER["models"]["people"]["consent_sources"][0]]}}}

    assert len(missing_sources(policy(lists).officer, use(sources=()))) == 1
    assert missing_sources(policy(lists).officer, use(sources=(), connection="other")) == []


def test_the_policys_sources_come_first_and_are_not_repeated() -> None:
    more = SuppressionList("SELECT email FROM ours", subject="email", column="ours")
    officer = policy().officer

    assert bound_sources(officer, use(sources=(more, NEVER, SOURCE))) == (SOURCE, NEVER, more)
    assert bound_sources(officer, use(sources=(NEVER, more))) == (SOURCE, NEVER, more)
    assert bound_sources(officer, use(model="leads", sources=())) == (NEVER,)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (ConsentSource("SELECT 1", subject="id", columns={"x": "SAID"}), "the policy brings column `SAID`"),
        (
            ConsentSource("SELECT 1", subject="id", columns={"x": "ads"}),
            "keeps consent of model `people` in column `ads`",
        ),
        (SuppressionList("SELECT 1", subject="email"), "the policy brings column `suppressed`"),
    ],
)
def test_a_source_cannot_bring_the_policys_columns(source: Any, words: str) -> None:
    with pytest.raises(PolicyError, match=words) as refused:
        bound_sources(policy().officer, use(sources=(OTHER, source)))

    assert [problem.path for problem in refused.value.problems] == ["consent_sources[1]"]


def test_what_a_connection_keeps_cannot_be_brought_to_its_models_only() -> None:
    kept = policy({"connections": {"w": {"consent": {"C1": "ads"}}}}).officer
    source = ConsentSource("SELECT 1", subject="id", columns={"x": "ads"})

    with pytest.raises(PolicyError, match="keeps consent of model `people` in column `ads`"):
        bound_sources(kept, use(sources=(source,)))
    assert bound_sources(kept, use(sources=(source,), connection="other"))[-1] == source


def test_a_model_that_differs_is_described_with_both_sides() -> None:
    (problem,) = model_problems(policy().officer, use(primary_key="email"))

    assert problem.message == ("the policy declares primary key `id` for model `people`, and this DAG has `email`")


@pytest.mark.parametrize(
    ("terms", "is_bound"),
    [
        ({}, False),
        ({"connection": "w"}, False),
        ({"sql": SQL}, True),
        ({"connection": "w", "consent": {"C1": "said"}}, True),
        ({"connection": "w", "consent_sources": OFFICER["models"]["people"]["consent_sources"]}, True),
        ({"connection": "w", "hook_params": {"schema": "s"}}, True),
    ],
)
def test_hook_params_are_bound_where_they_decide_what_a_declared_name_means(
    terms: dict[str, Any], *, is_bound: bool
) -> None:
    officer = policy({"models": {"people": terms}}).officer
    problems = model_problems(officer, use(hook_params={"schema": "mine"}))

    assert [problem.path for problem in problems] == ["hook_params"] * is_bound


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        (
            {"C1": "other"},
            "`C1` of model `people` in BooleanColumn column `said`, and this DAG in BooleanColumn column `other`",
        ),
        (
            {"C1": Literals("word", granted=("yes",))},
            'column `said`, and this DAG in {"format": "Literals", "column": "word", "granted": ["yes"]}: leave it out',
        ),
        ({"C1": GoogleConsent("mode")}, "column `said`, and this DAG in GoogleConsent column `mode`: leave it out"),
        (
            RowConsent({"C1": "said"}, region="country"),
            "the policy keeps `region` of model `people` in no column, and this DAG in column `country`: leave it out",
        ),
        (ConsentObject("doc"), "the policy keeps consent of model `people` in {"),
    ],
)
def test_a_mapping_that_differs_is_shown_with_both_sides(declared: Any, shown: str) -> None:
    with pytest.raises(PolicyError) as refused:
        mapped(declared)

    assert shown in refused.value.problems[0].message


def test_rows_need_every_source_of_the_policy() -> None:
    assert missing_sources(policy().officer, use()) == []
    problems = missing_sources(policy().officer, use(sources=()))
    assert [problem.path for problem in problems] == ["consent_sources"] * 2
    own, named = (problem.message for problem in problems)
    assert " of the model's connection by `id` to model `people`" in own
    assert " of connection `crm` by `email` to model `people`" in named
    assert re.search("SuppressionList sha256:[0-9a-f]{12} of", named)


def mapped(declared: Any, officer: Mapping[str, Any] = OFFICER, model: str = "people") -> Any:
    given = None if declared is None else parse_consent_mapping(declared)
    return bound_mapping(policy(officer).officer, use(model=model), given)


def problems(declared: Any, officer: Mapping[str, Any] = OFFICER) -> list[str]:
    with pytest.raises(PolicyError) as refusal:
        mapped(declared, officer)
    return [problem.path for problem in refusal.value.problems]


def test_the_policys_mapping_is_used_and_extended() -> None:
    whole = mapped(None)

    assert whole.category_ids == ("C1", "C2")
    assert mapped({"C1": "said"}) == whole
    assert mapped({"C9": "more"}).category_ids == ("C1", "C2", "C9")


def test_a_model_without_declared_consent_has_the_dags() -> None:
    assert mapped({"C1": "x"}, model="leads") == parse_consent_mapping({"C1": "x"})
    with pytest.raises(PolicyError, match="does not say where consent of model `leads` is kept: name it"):
        mapped(None, model="leads")


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"C1": "other"}, ["consent.C1"]),
        ({"C1": Literals("said", granted=("yes",)), "C2": "ads"}, ["consent.C1", "consent.C2"]),
        (ConsentObject("doc"), ["consent"]),
        (RowConsent({"C1": "said"}, region="country"), ["consent.region"]),
        (RowConsent({"C1": "said"}, time="at", notice_version="v"), ["consent.time", "consent.notice_version"]),
    ],
)
def test_a_mapping_that_differs_is_refused(declared: Any, expected: list[str]) -> None:
    assert problems(declared) == expected


def test_what_only_denies_may_be_added_and_not_replaced() -> None:
    switches = IntegrationsObject("integrations")
    found = mapped(RowConsent({"C1": "said"}, gpc="gpc", switches=switches))
    row: dict[str, Any] = {"format": "RowConsent", "categories": {"C1": "said"}, "gpc": "signal", "region": "country"}

    assert (found.gpc.column, found.switches) == ("gpc", switches)
    officer = {"models": {"people": {"consent": row}}}
    assert mapped({"C1": "said"}, officer).gpc.column == "signal"
    assert problems(RowConsent({"C1": "said"}, gpc="gpc"), officer) == ["consent.gpc"]
    assert problems(RowConsent({"C1": "said"}, region="other"), officer) == ["consent.region"]


def test_one_format_for_all_categories_is_compared_as_a_whole() -> None:
    officer = {"models": {"people": {"consent": {"format": "ConsentObject", "column": "doc"}}}}

    assert mapped(ConsentObject("doc"), officer).whole == ConsentObject("doc")
    assert problems(ConsentObject("other"), officer) == ["consent"]
    assert problems({"C1": "said"}, officer) == ["consent"]


CRM: dict[str, Any] = {
    "name": "crm",
    "operator": "LoadToCrm",
    "connections": {"conn_id": "c"},
    "parameters": {"table": "t", "schema": None},
    "target": lambda: "T",
}


def found(given: Mapping[str, Any], *, sends: bool = True, is_central: bool = True, **more: Any) -> list[str]:
    listed = destination_problems(policy(**more), DestinationUse(**given), is_central=is_central, sends=sends)
    return [str(problem) for problem in listed]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"operator": "LoadToOther"}, "is loaded by LoadToCrm, and here it is LoadToOther @ destination"),
        ({"connections": {"conn_id": "x"}}, "declares connection `c` for `crm`, and this DAG has `x` @ conn_id"),
        (
            {"connections": {"conn_id": "c", "bulk_conn_id": "x", "more_conn_id": "y"}},
            "declares connection `c` for `crm`, and this DAG has `c`, `x`, `y` @ bulk_conn_id",
        ),
        ({"connections": {}}, "declares connection `c` for `crm`, and this DAG has none @ conn_id"),
        ({"parameters": {"table": "x", "schema": None}}, "declares table `t` for `crm`, and this DAG has `x` @ table"),
        ({"parameters": {"table": "t"}}, "declares schema `None` for `crm`, which the load does not have @ schema"),
        ({"target": lambda: "X"}, "declares target T for `crm`, and this is X @ destination"),
    ],
)
def test_a_name_stands_for_one_place(more: dict[str, Any], words: str) -> None:
    assert found(CRM, sends=False) == []
    assert found({**CRM, "name": "crm:emea"}, sends=False) == []
    (message,) = found({**CRM, **more}, sends=False)
    assert message.endswith(words)


def test_what_is_not_known_yet_is_not_checked() -> None:
    assert found({"name": "crm"}, sends=False) == []
    assert (
        found({**CRM, "connections": {}, "parameters": {}, "unknown": ("conn_id", "table", "schema")}, sends=False)
        == []
    )


def test_only_operators_of_the_package_load_a_place_that_has_no_operator() -> None:
    officer = {"destinations": {"crm": {"connection": "c"}}}
    own: dict[str, Any] = {"name": "crm", "operator": "mine:Load", "is_own_code": True, "connections": {"conn_id": "c"}}

    for given, is_refused in ((own, True), ({**own, "is_own_code": False}, False)):
        messages = [str(one) for one in destination_problems(policy(officer), DestinationUse(**given), is_central=True)]
        assert ["mine:Load could send elsewhere" in one for one in messages] == [True] * is_refused
        assert all(one.endswith(" @ destination") for one in messages)


@pytest.mark.parametrize(
    "given",
    [
        {"connections": {"conn_id": "c"}, "parameters": {"table": "t", "schema": None}},
        {"connections": {"conn_id": "x"}, "target": lambda: "T"},
    ],
)
def test_another_name_cannot_lead_to_the_place_of_a_declared_one(given: dict[str, Any]) -> None:
    (message,) = found({"name": "mail", **given})

    assert "is what the policy declares for `crm`, and this DAG calls it `mail` @ destination" in message


def test_another_place_of_the_same_connection_is_free() -> None:
    assert found({"name": "mail", "connections": {"conn_id": "c"}, "parameters": {"table": "mine"}}) == []


def test_names_that_the_policy_does_not_have() -> None:
    given: dict[str, Any] = {"name": "cmr"}

    assert found(given, sends=False) == [
        "the policy does not name `cmr`, and other names may not be used, did you mean `crm`? @ destination"
    ]
    assert found({"name": "elsewhere"}, sends=False) == [
        "the policy does not name `elsewhere`, and other names may not be used @ destination"
    ]
    assert found({"name": "elsewhere"}, sends=False, is_central=False) == []
    assert found({"name": "elsewhere"}, sends=False, unmapped_destinations="deny") == []
    for allowed, count in (("permit", 0), ("error", 1)):
        listed = destination_problems(policy({"unmapped_names": allowed}), DestinationUse(**given), is_central=False)
        assert len(listed) == count


def test_only_declared_columns_go_to_a_destination() -> None:
    assert found({"name": "mail", "fields": {"any": "id"}}) == []
    (message,) = found({"name": "mail", "fields": {"id": "id", "email": "email"}})
    assert message == "the policy lets column `id` go to `mail`, and this DAG sends `email` as `email` @ fields.email"
    (message, _) = found({"name": "ads", "fields": {"key": "id"}})
    assert message == "the policy lets column `id` as `id` go to `ads`, and this DAG sends `id` as `key` @ fields.key"


def test_a_destination_needs_the_assessment_that_the_policy_requires() -> None:
    assert found({"name": "ads"}, sends=False) == []
    assert found({"name": "ads"}) == [
        "`ads` is in US and has no assessment, which the policy requires outside DE: add `assessment` to it "
        "@ destination"
    ]
    everywhere = policy({"no_assessment_in": []})
    (problem,) = destination_problems(everywhere, DestinationUse(name="mail"), is_central=True)
    assert problem.message == (
        "`mail` is in a country that the policy does not name and has no assessment, which the policy requires: add "
        "`assessment` to it"
    )
