"""Tests of a DAG that loads to the place of another name, or that differs from the policy in several ways at once."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_consent_retl.consent import ConsentPolicy, parse_policy
from airflow_consent_retl.consent.binding import ModelUse, bound_mapping, model_problems
from airflow_consent_retl.consent.destination_binding import DestinationUse, destination_problems
from airflow_consent_retl.consent.officer import DestinationTerms
from airflow_consent_retl.fields import consent

TAKEN = "is what the policy declares for `crm`, and this DAG calls it `mail` @ destination"


def policy(**officer: Any) -> ConsentPolicy:
    category = {"id": "C1", "name": "One", "destinations": ["ads", "crm", "mail"]}
    return parse_policy({"categories": [category], "officer": officer})


def problems(declared: dict[str, Any], name: str = "mail", **given: Any) -> list[str]:
    use = DestinationUse(**{"name": name, "connections": {"conn_id": "m"}, **given})
    found = destination_problems(policy(destinations=declared), use, is_central=True)
    return [str(problem) for problem in found]


def is_at(table: str) -> Any:
    def leads_to(terms: DestinationTerms) -> bool:
        return dict(terms.parameters or ()).get("table") == table

    return leads_to


@pytest.mark.parametrize(
    ("crm", "given", "place"),
    [
        ({"connection": "c"}, {"connections": {"conn_id": "c"}}, "connection `c`"),
        ({"connection": "c", "target": "T"}, {"target": lambda: "T"}, "target T"),
        ({"connection": "c", "parameters": {"table": "t"}}, {"leads_to": is_at("t")}, "connection `c`"),
        ({"parameters": {"table": "t"}}, {"leads_to": is_at("t")}, "this place"),
    ],
)
def test_no_name_leads_to_the_place_of_another(crm: dict[str, Any], given: dict[str, Any], place: str) -> None:
    assert problems({"crm": crm}, **given) == [f"{place} {TAKEN}"]
    assert problems({"crm": crm}) == []
    # Terms of the same name, or of one that is elsewhere, hide nothing.
    assert problems({"ads": {"connection": "a"}, "crm": crm, "mail": {"country": "DE"}}, **given) == [
        f"{place} {TAKEN}"
    ]
    assert problems({"crm": crm}, "crm:eu", **{"connections": None, **given}) == []


def test_an_instance_without_a_place_may_not_lead_to_that_of_a_later_name() -> None:
    declared = {"ads": {"purpose": "audiences"}, "crm": {"connection": "c"}}

    assert problems(declared, "ads:eu", connections={"conn_id": "c"}) == [
        "connection `c` is what the policy declares for `crm`, and this DAG calls it `ads:eu` @ destination"
    ]


def test_a_parameter_that_is_not_known_yet_hides_no_other() -> None:
    declared = {"mail": {"parameters": {"audience": "1", "table": "t"}}}
    given: dict[str, Any] = {"parameters": {"table": "other"}, "unknown": {"audience"}}

    assert problems(declared, **given) == ["the policy declares table `t` for `mail`, and this DAG has `other` @ table"]


def test_every_difference_of_a_model_is_named() -> None:
    terms = {"connection": "w", "primary_key": "id", "sql": "SELECT 1", "current_consent_sql": "SELECT 2"}
    use = ModelUse(model="people", connection="x", primary_key="mail", queries=("SELECT 3",))

    found = model_problems(policy(models={"people": terms}).officer, use)

    assert [str(problem) for problem in found] == [
        "the policy declares connection `w` for model `people`, and this DAG has `x` @ conn_id",
        "the policy declares primary key `id` for model `people`, and this DAG has `mail` @ primary_key",
        "the policy declares query sha256:e004ebd5b553 or sha256:ebbb5b332060 for model `people`, and this DAG has "
        "sha256:1d6a12252ca5 @ sql",
    ]


def test_consent_of_a_model_may_be_declared_for_its_connection() -> None:
    officer = policy(connections={"w": {"consent": {"C1": "ok"}}}).officer

    assert bound_mapping(officer, ModelUse(model="people", connection="w"), None).columns == ("ok",)


def test_an_answer_to_another_category_is_a_difference() -> None:
    (found,) = problems({"mail": {"purpose": "letters"}}, fields={"told": consent("C9", granted=1)})

    assert found.endswith(" @ fields.told")
    assert problems({"mail": {"purpose": "letters"}}, fields={"told": consent("C1", granted=1)}) == []
