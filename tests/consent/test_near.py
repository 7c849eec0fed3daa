"""Tests of names that resemble each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import DamerauLevenshtein

from airflow_consent_retl.near import (
    _fewest_edits,
    destinations_resemble,
    nearest,
    nearest_destination,
    resembles,
    suggestion,
)

CASES = Path(__file__).parents[1] / "cases"


@pytest.mark.parametrize(("name", "other", "expected"), json.loads((CASES / "near_names.json").read_text()))
def test_names_resemble_each_other_both_ways(name: str, other: str, expected: bool) -> None:
    assert resembles(name, other) is expected
    assert resembles(other, name) is expected


@pytest.mark.parametrize(("name", "other", "expected"), json.loads((CASES / "near_destinations.json").read_text()))
def test_destinations_resemble_each_other_part_by_part(name: str, other: str, expected: bool) -> None:
    assert destinations_resemble(name, other) is expected
    assert destinations_resemble(other, name) is expected


def test_the_nearest_is_the_one_with_the_fewest_edits() -> None:
    assert nearest("webhok", ["webhooks", "webhook", "Web_hook"]) == "webhook"
    assert nearest("WEBHOOK", ["webhooks", "web_hook", "webhook", "Webhook"]) == "Webhook"
    assert nearest_destination("webhok:eu", ["webhooks:eu", "webhook:eu", "webhook"]) == "webhook:eu"


def test_of_several_as_near_the_first_by_alphabet_is_suggested() -> None:
    assert nearest("C0003", ["C0004", "C0002"]) == "C0002"
    assert nearest_destination("crm_c", ["crm_b", "crm_a"]) == "crm_a"


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    assert nearest("webhook", ["lake", "webhook"]) is None
    assert nearest_destination("webhook", ["lake", "webhook", "webhook:eu"]) is None
    assert suggestion("webhook", ["lake"]) == ""
    assert suggestion("webhok", ["lake", "webhook"]) == ", did you mean `webhook`?"


@given(st.text("abc_", max_size=7), st.text("abc_", max_size=7))
def test_no_two_names_have_fewer_edits_than_their_characters_need(name: str, other: str) -> None:
    assert _fewest_edits(name, other) <= DamerauLevenshtein.distance(name, other)
    assert _fewest_edits(name, other) == _fewest_edits(other, name)


def test_names_that_have_few_characters_in_common_are_compared_no_further() -> None:
    assert _fewest_edits("crm", "lake") == 4
    assert _fewest_edits("webhook", "webhok") == 1
    assert _fewest_edits("abc", "cab") == 0
