"""Segment's categories become a policy, whole or not at all."""

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
    "consentSettings": {"allCategories": ["C0002", "C0004", "C0005"], "hasUnmappedDestinations": True},
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


def test_settings_become_a_policy_that_asks_the_same_of_every_destination() -> None:
    imported = import_segment_categories(json.dumps(SETTINGS), destinations=NAMES)

    policy = parse_policy(imported.document)
    assert {name: policy.required_for(name) for name in policy.destinations} == {
        "braze": ("C0002", "C0004"),
        "google_ads": ("C0004",),
    }
    assert imported.warnings == (
        "category `C0005` is mapped to no integration of these settings: left out",
        "mapped to no category, and sent every row: `Mixpanel`, `Segment.io`",
    )


def test_categories_of_the_workspaces_page_become_a_policy() -> None:
    imported = import_segment_categories(LISTED, destinations=NAMES)

    policy = parse_policy(imported.document)
    assert policy.required_for("braze") == ("C0004",)
    assert policy.required_for("webhook") == ()
    assert imported.warnings == ("category `C0002` is disabled: not enforced",)


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("{", "the document is not JSON @ $"),
        ("[]", "expected an object, found a list @ $"),
        ({}, "key `categories` is missing @ $"),
        ({"categories": []}, "expected a list with at least one entry @ $.categories"),
        ({"integrations": {}}, "no integration has a category @ $.integrations"),
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
            "destination `Mailchimp` has no name here: name it in `destinations`, as this policy calls it "
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
    ],
)
def test_refuses_what_cannot_be_carried_over(document: Any, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        import_segment_categories(document, destinations=NAMES)

    assert problem in [str(found) for found in caught.value.problems]


def test_the_command_prints_the_policy_and_tells_warnings_apart(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS))
    (tmp_path / "names.json").write_text(json.dumps(NAMES))
    command = [sys.executable, "-m", "airflow_consent_retl.migration.segment_categories", "settings.json"]

    done = subprocess.run(
        [*command, "--destinations", "names.json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    failed = subprocess.run(
        [*command, "--destinations", "settings.json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, parse_policy(done.stdout).required_for("google_ads")) == (0, ("C0004",))
    assert "mapped to no category, and sent every row" in done.stderr
    assert (failed.returncode, failed.stdout) == (1, "")
