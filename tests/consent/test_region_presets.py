"""Tests of presets of regimes by region: what they say, where they apply, and that a published one never changes."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    ColumnKind,
    RowConsent,
    SubjectStatus,
    dead_regions,
    parse_consent_mapping,
    parse_policy,
    plan_consent,
    policy_document,
)
from airflow_consent_retl.consent.policy_lint import lint_mapping, lint_policy
from airflow_consent_retl.consent.policy_words import policy_differences
from airflow_consent_retl.consent.regime import Regime
from airflow_consent_retl.consent.region_presets import PRESETS, RegionPreset, preset_named
from airflow_consent_retl.errors import PolicyError

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
# Whoever changes a published preset changes what policies mean without a trace: add a preset instead.
PUBLISHED = {"2026-11": "c3c80c90c10e000d"}


def policy(**terms: Any) -> Any:
    categories = [{"id": "C0004", "name": "Advertising", "destinations": ["webhook"], **terms}]
    return parse_policy({"unmapped_destinations": "deny", "categories": categories})


def digest(preset: RegionPreset) -> str:
    lines = [f"{rule.region} {rule.regime} {rule.gpc}" for rule in sorted(preset.rules, key=lambda rule: rule.region)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def test_no_published_preset_was_changed() -> None:
    assert {name: digest(preset) for name, preset in PRESETS.items()} == PUBLISHED


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_every_rule_names_a_region_a_law_and_a_source(preset: RegionPreset) -> None:
    regions = [rule.region for rule in preset.rules]

    assert len(set(regions)) == len(regions)
    for rule in preset.rules:
        assert re.fullmatch(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", rule.region)
        assert rule.law
        assert rule.source.startswith("https://")
        # An opt-out signal of a browser means nothing where a person has to say yes.
        assert not rule.gpc or rule.regime is Regime.OPT_OUT


@pytest.mark.parametrize(
    ("region", "regime"),
    [
        *((region, "opt_in") for region in ("DE", "FR", "NO", "IS", "LI", "GB", "CH", "BR", "CA-QC", "IN")),
        *((region, "opt_out") for region in ("US-CA", "US-TX", "US-MD", "US-IN", "US-KY", "US-RI")),
        # Whatever the preset does not name gets the strictest regime.
        *((region, "opt_in") for region in ("US", "US-NY", "CA", "CA-ON", "de", "", None)),
    ],
)
def test_a_category_follows_its_preset(region: str | None, regime: str) -> None:
    (category,) = policy(regions="preset:2026-11").categories

    assert category.regime_in(region) == regime


def test_twelve_states_oblige_to_honour_a_signal() -> None:
    states = {region.removeprefix("US-") for region in PRESETS["2026-11"].with_gpc}

    assert states == {"CA", "CO", "CT", "DE", "MD", "MN", "MT", "NE", "NH", "NJ", "OR", "TX"}


def test_a_policy_keeps_the_name_of_its_preset() -> None:
    read = policy(regions="preset:2026-11")
    listed = policy(regions={name: str(regime) for name, regime in PRESETS["2026-11"].regions.items()})

    document = policy_document(read)
    assert document["categories"][0]["regions"] == "preset:2026-11"
    assert parse_policy(document).digest == read.digest
    # A preset means what it lists, neither more nor less.
    assert read.digest == listed.digest


def test_a_difference_names_the_preset_and_not_its_regions() -> None:
    words = " ".join(policy_differences(policy(), policy(regions="preset:2026-11")))

    assert "preset:2026-11" in words
    assert "US-CA" not in words


@pytest.mark.parametrize(
    ("regions", "problem"),
    [
        ("preset:2026-10", "there is no preset `preset:2026-10`, did you mean `preset:2026-11`?"),
        ("2026-11", "there is no preset `2026-11`"),
        ("", "there is no preset ``"),
        ("preset:", "there is `preset:2026-11`"),
        (["preset:2026-11"], "expected an object"),
    ],
)
def test_refuses_a_preset_that_there_is_not(regions: Any, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        policy(regions=regions)

    (found,) = caught.value.problems
    assert found.path == "$.categories[0].regions"
    assert problem in found.message


def test_lint_says_when_a_preset_is_older_than_a_year() -> None:
    read = policy(regions="preset:2026-11")
    last_day = datetime.combine(date(2027, 11, 29), AT.timetz())

    assert lint_policy(read, at=last_day) == []
    (finding,) = lint_policy(read, at=last_day + timedelta(days=1))
    assert (finding.rule, finding.place) == ("old_preset", "$.categories[0].regions")
    assert "read on 2026-11-29, more than a year ago" in finding.sentence
    assert lint_policy(policy(regions="preset:2026-11", enabled=False), at=last_day + timedelta(days=1)) == []
    assert lint_policy(policy(regions={"US-CA": "opt_out"}), at=last_day + timedelta(days=1)) == []


def test_lint_says_when_no_column_has_the_signal_that_laws_oblige_to_honour() -> None:
    read = policy(regions="preset:2026-11")
    without = parse_consent_mapping(RowConsent({"C0004": "ads"}, region="state"))
    with_signal = parse_consent_mapping(RowConsent({"C0004": "ads"}, region="state", gpc="gpc"))

    (finding,) = lint_mapping(read, without)
    assert (finding.rule, finding.place) == ("unread_signal", "consent")
    assert "US-CA, US-CO, US-CT" in finding.reason
    assert lint_mapping(read, with_signal) == []
    assert lint_mapping(policy(regions={"US-CA": "opt_out"}), without) == []


@pytest.mark.parametrize(
    ("terms", "regions", "dead"),
    [
        # A preset names regions of the whole world: that some have no row says nothing.
        ([{"regions": "preset:2026-11"}], ("DE",), ()),
        ([{"regions": "preset:2026-11"}], ("Germany", "US", None), ("preset:2026-11",)),
        ([{"regions": "preset:2026-11"}, {"regions": {"US": "opt_out", "DE": "opt_in"}}], ("DE",), ("US",)),
        ([{"regions": "preset:2026-11"}, {"regions": {"US": "opt_out"}}], ("Germany",), ("US", "preset:2026-11")),
    ],
)
def test_a_preset_of_which_no_row_has_a_region_is_named(terms: Any, regions: Any, dead: Any) -> None:
    categories = [
        {"id": f"C{place}", "name": f"Category {place}", "destinations": ["webhook"], **more}
        for place, more in enumerate(terms)
    ]
    plan = plan_consent(
        parse_policy({"unmapped_destinations": "deny", "categories": categories}),
        destinations=["webhook"],
        mapping=RowConsent({f"C{place}": f"c{place}" for place in range(len(terms))}, region="state"),
        columns={**{f"c{place}": ColumnKind.BOOLEAN for place in range(len(terms))}, "state": ColumnKind.TEXT},
        at=AT,
    )
    rows = [
        (
            SubjectStatus.IDENTIFIED,
            tuple(0 if signal is None or signal.column != "state" else signal.token(region) for signal in plan.signals),
            1,
        )
        for region in regions
    ]

    assert dead_regions(plan, rows) == dead


def test_a_name_without_its_prefix_is_no_preset() -> None:
    assert preset_named("2026-11") is None
    assert preset_named("preset:2026-11") is PRESETS["2026-11"]
