"""Tests of the import of Segment's categories: they become a policy completely or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.errors import PolicyError
from airflow_consent_retl.migration import import_segment_categories

NAMES = {"Google Ads": "google_ads", "Braze": "braze", "Webhooks": "webhook"}
SETTINGS: dict[str, Any] = {
    "consentSettings": {"allCategories": ["C0002", "C0004"], "hasUnmappedDestinations": True},
    "integrations": {
        "Segment.io": {"apiKey": "x"},
        "Google Ads": {"consentSettings": {"categories": ["C0004"]}, "type": "browser"},
        "Braze": {"consentSettings": {"categories": ["C0002", "C0004"]}},
        "Mixpanel": {"consentSettings": {"categories": []}},
    },
}
LISTED: dict[str, Any] = {
    "categories": [
        {"name": "Advertising", "id": "C0004", "destinations": ["Google Ads", "Braze"]},
        {"name": "Analytics", "id": "C0002", "destinations": ["Webhooks"], "enabled": False},
    ]
}


def settings(**integrations: object) -> dict[str, Any]:
    """Return complete settings, with the given integrations in addition to `Google Ads`."""
    return {
        "consentSettings": {"allCategories": ["C0002", "C0004"]},
        "integrations": {"Google Ads": {"consentSettings": {"categories": ["C0004"]}}, **integrations},
    }


def test_settings_become_a_policy_that_asks_the_same_of_every_destination() -> None:
    imported = import_segment_categories(json.dumps(SETTINGS), destinations=NAMES)

    policy = parse_policy(imported.document)
    assert {name: policy.required_for(name) for name in policy.destinations} == {
        "braze": ("C0002", "C0004"),
        "google_ads": ("C0004",),
    }
    assert imported.warnings == (
        "the settings cover one source and omit disabled categories: "
        "destinations of other sources, including Reverse ETL sources, are not in this policy",
        "Segment maps no category to these destinations and sends them every row: `Mixpanel`, `Segment.io`",
        "these destinations have no enabled category and receive every row: `webhook`",
    )


def test_categories_of_the_workspaces_page_become_a_policy() -> None:
    imported = import_segment_categories(LISTED, destinations=NAMES)

    policy = parse_policy(imported.document)
    assert policy.required_for("braze") == ("C0004",)
    assert policy.required_for("webhook") == ()
    assert imported.warnings == (
        "category `C0002` is disabled: not enforced",
        "these destinations have no enabled category and receive every row: `webhook`",
    )


def test_several_of_segments_destinations_that_are_one_here_need_the_categories_of_all() -> None:
    document = settings(Braze={"consentSettings": {"categories": ["C0002"]}}, Webhooks={})

    imported = import_segment_categories(document, destinations={**NAMES, "Google Ads": "ads", "Braze": "ads"})

    assert parse_policy(imported.document).required_for("ads") == ("C0002", "C0004")
    warning = "`Braze`, `Google Ads` become the one destination `ads`, which needs the categories of all"
    assert warning in imported.warnings


def test_warns_of_a_destination_that_a_category_lists_twice() -> None:
    category = {"name": "Advertising", "id": "C0004", "destinations": ["Braze", "Braze"]}

    imported = import_segment_categories({"categories": [category]}, destinations={"Braze": "braze"})

    assert parse_policy(imported.document).required_for("braze") == ("C0004",)
    assert imported.warnings == ("destination `Braze` is listed twice in category `C0004`",)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("{", "the document is not JSON @ $"),
        ("[]", "expected an object, found a list @ $"),
        ({}, "key `categories` is missing @ $"),
        ({"categories": []}, "expected a list with at least one entry @ $.categories"),
        (
            {"integrations": {}, "consentSettings": {"allCategories": []}},
            "no integration has a category @ $.integrations",
        ),
        (
            {"integrations": SETTINGS["integrations"]},
            "key `consentSettings` is missing: without it, omitted categories cannot be detected @ $",
        ),
        (
            {"integrations": {"Google Ads": {"consentSettings": {"categories": "C0004"}}}},
            'expected a list of category ids @ $.integrations["Google Ads"].consentSettings.categories',
        ),
        (
            {"integrations": {"Gooogle Ads": {"consentSettings": {"categories": ["C0004"]}}}},
            "destination `Gooogle Ads` is not in `destinations`, did you mean `Google Ads`? "
            '@ $.integrations["Gooogle Ads"]',
        ),
        (
            {"categories": [{"name": "Advertising", "id": "C0004", "destinations": ["Mailchimp"], "colour": "red"}]},
            "destination `Mailchimp` is not in `destinations`: add it there, with its name in this policy "
            "@ $.categories[0].destinations[0]",
        ),
        (
            {"categories": [{"name": "A" * 21, "id": "C0004", "destinations": ["Braze"]}]},
            "a category's name has 1 to 20 characters, found 21 @ $.categories[0].name",
        ),
        (
            {**SETTINGS, "consentSettings": {"allCategories": ["C0002"]}},
            "category `C0004` of an integration is not listed @ $.consentSettings.allCategories",
        ),
        (
            '{"integrations": {"Braze": {}, "Braze": {"consentSettings": {"categories": ["C0004"]}}}}',
            "key `Braze` occurs more than once @ $.integrations.Braze",
        ),
        # Segment's own types say this about categories of destinations that run on its servers.
        (
            {**SETTINGS, "consentSettings": {"allCategories": ["C0002", "C0004", "C0005"]}},
            "category `C0005` guards destinations that these settings do not name: "
            "write the categories down as the workspace's page shows them @ $.consentSettings.allCategories",
        ),
        # A lenient reader would lose each of these mappings.
        (
            settings(Braze={"consentSettings": {"categorys": ["C0002"]}}),
            "unknown key `categorys`, did you mean `categories`? @ $.integrations.Braze.consentSettings.categorys",
        ),
        (
            settings(Braze={"consentSetings": {"categories": ["C0002"]}}),
            "unknown key `consentSetings`, did you mean `consentSettings`? @ $.integrations.Braze.consentSetings",
        ),
        (
            settings(Braze={"consentSettings": None}),
            "expected an object, found null @ $.integrations.Braze.consentSettings",
        ),
        (settings(Braze=["C0002"]), "expected an object, found a list @ $.integrations.Braze"),
        (
            {**settings(), "consentSettings": {"allCategories": "C0004"}},
            "expected a list of category ids @ $.consentSettings.allCategories",
        ),
        ({**SETTINGS, **LISTED}, "either `categories` or `integrations`, not both @ $"),
        (
            '{"integrations": {"Braze": {"consentSettings": {"categories": ["C0002"], "categories": []}}}}',
            "key `categories` occurs more than once @ $.integrations.Braze.consentSettings.categories",
        ),
        (
            '{"integrations": {"Braze": {"consentSettings": {"categories": ["C0002"]}, "consentSettings": {}}}}',
            "key `consentSettings` occurs more than once @ $.integrations.Braze.consentSettings",
        ),
        (
            '{"integrations": {"Braze": {"consentSettings": {"categories": ["C0002"]}}}, "integrations": {}}',
            "key `integrations` occurs more than once @ $.integrations",
        ),
        # A name is never cut: the cut name is a different name, and two names may become one.
        (
            settings(Braze={"consentSettings": {"categories": ["advertising_and_marketing"]}}),
            "the settings have no category names, and an id of 25 characters is too long for a name, "
            "which has at most 20: "
            "write the categories down as the workspace's page shows them "
            "@ $.integrations.Braze.consentSettings.categories",
        ),
    ],
)
def test_refuses_what_cannot_be_carried_over(document: Any, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        import_segment_categories(document, destinations=NAMES)

    assert problem in [str(found) for found in caught.value.problems]


@pytest.mark.parametrize(
    ("destinations", "problem"),
    [
        ("[", "the document is not JSON @ destinations"),
        ('["Braze"]', "expected an object, found a list @ destinations"),
        ('{"Braze": null}', "expected a destination, found null @ destinations.Braze"),
        ('{"Braze": "braze", "Braze": "lake"}', "key `Braze` occurs more than once @ destinations.Braze"),
    ],
)
def test_refuses_names_of_destinations_that_can_be_read_in_two_ways(destinations: str, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        import_segment_categories(LISTED, destinations=destinations)

    assert problem in [str(found) for found in caught.value.problems]


def test_reports_every_problem_at_once() -> None:
    document = {
        "categories": [
            {"name": "A" * 21, "id": "", "destinations": ["Brze"], "enabled": "no"},
            {"name": "Analytics", "id": "C0002"},
        ]
    }

    with pytest.raises(PolicyError) as caught:
        import_segment_categories(document, destinations=NAMES)

    assert [problem.path for problem in caught.value.problems] == [
        "$.categories[0].id",
        "$.categories[0].name",
        "$.categories[0].destinations[0]",
        "$.categories[0].enabled",
        "$.categories[1]",
    ]


def test_the_command_prints_the_policy_and_keeps_warnings_apart(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS))
    (tmp_path / "names.json").write_text(json.dumps(NAMES))
    command = [sys.executable, "-m", "airflow_consent_retl.migration.segment", "settings.json"]

    done = subprocess.run(
        [*command, "--destinations", "names.json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    failed = subprocess.run(
        [*command, "--destinations", "settings.json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, parse_policy(done.stdout).required_for("google_ads")) == (0, ("C0004",))
    assert done.stderr.splitlines() == list(import_segment_categories(SETTINGS, destinations=NAMES).warnings)
    assert (failed.returncode, failed.stdout) == (1, "")
