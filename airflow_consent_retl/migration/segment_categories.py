"""Segment's consent categories as a policy document.

Two forms are read. The settings that Segment's libraries load, where every integration names its categories:

    {"consentSettings": {"allCategories": ["C0002", "C0004"], "hasUnmappedDestinations": true},
     "integrations": {"Google Ads": {"consentSettings": {"categories": ["C0004"]}}}}

And the categories as the workspace's page shows them, one by one, written down:

    {"categories": [{"name": "Advertising", "id": "C0004", "destinations": ["Google Ads"], "enabled": true}]}

    python -m airflow_consent_retl.migration.segment_categories settings.json --destinations names.json

Nothing is dropped: a mapping that is left out would open a door.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_consent_retl.consent import PolicyDocument, parse_policy
from airflow_consent_retl.consent.document import DESTINATION_CHARACTERS, NAME_CHARACTERS, parse_destination
from airflow_consent_retl.consent.document_reader import DocumentReader
from airflow_consent_retl.consent.json_path import child, type_name
from airflow_consent_retl.consent.near import suggestion
from airflow_consent_retl.consent.strict_json import MalformedJsonError, read_json
from airflow_consent_retl.errors import PolicyError, Problem

__all__ = ["ImportedPolicy", "import_segment_categories"]

_CATEGORY_KEYS = ("name", "id", "destinations", "enabled")
_HINT = "name it in `destinations`, as this policy calls it"


@dataclass(frozen=True, slots=True)
class ImportedPolicy:
    """A policy document that `parse_policy` reads, and what a person should know of it."""

    document: PolicyDocument
    warnings: tuple[str, ...]


def import_segment_categories(
    document: str | bytes | Mapping[str, object], *, destinations: Mapping[str, str]
) -> ImportedPolicy:
    """Return Segment's categories as a policy document.

    Args:
        document: JSON in one of the two forms.
        destinations: Segment's name of each destination, with this policy's. Every destination that has a category
            has to be there.

    Raises:
        PolicyError: with every problem, each with its JSON path.
    """
    reader = _Reader(destinations)
    loaded = _loaded(document)
    categories = reader.settings(loaded) if "integrations" in loaded else reader.categories(loaded)
    if reader.problems:
        raise PolicyError(reader.problems)
    policy: PolicyDocument = {"unmapped_destinations": "permit", "categories": categories}
    parse_policy(policy)
    return ImportedPolicy(policy, tuple(reader.warnings))


class _Reader(DocumentReader):
    def __init__(self, destinations: Mapping[str, str]) -> None:
        super().__init__()
        self._destinations = destinations
        self.warnings: list[str] = []
        for name, ours in destinations.items():
            try:
                parse_destination(ours)
            except ValueError as error:
                self.note(child("destinations", name), str(error))

    def settings(self, document: Mapping[str, object]) -> list[PolicyDocument]:
        """Read what Segment's libraries load: categories by integration."""
        integrations = self.an_object(document["integrations"], "$.integrations") or {}
        self.note_repeated(integrations, "$.integrations")
        mapped: dict[str, list[str]] = {}
        unmapped = []
        for name, raw in integrations.items():
            path = child("$.integrations", str(name))
            found = self._categories_of(raw, path)
            if not found:
                unmapped.append(str(name))
                continue
            ours = self.ours(name, path)
            for category in found:
                mapped.setdefault(category, []).append(ours)
        listed = self._listed(document)
        for category in listed:
            if category not in mapped:
                self.warnings.append(f"category `{category}` is mapped to no integration of these settings: left out")
        for category in mapped:
            if listed and category not in listed:
                self.note("$.consentSettings.allCategories", f"category `{category}` of an integration is not listed")
        if unmapped:
            names = ", ".join(f"`{name}`" for name in sorted(unmapped))
            self.warnings.append(f"mapped to no category, and sent every row: {names}")
        if not mapped and not self.problems:
            self.note("$.integrations", "no integration has a category")
        # The settings have no names: a category's id stands in for its own.
        return [
            {"id": category, "name": category[:NAME_CHARACTERS], "destinations": sorted(set(names))}
            for category, names in sorted(mapped.items())
        ]

    def categories(self, document: Mapping[str, object]) -> list[PolicyDocument]:
        """Read the categories of the workspace's page."""
        self.known_keys(document, "$", ("categories",), required=("categories",))
        read: list[PolicyDocument] = []
        for index, raw in enumerate(self.filled_list(document, "$", "categories")):
            path = f"$.categories[{index}]"
            category = self.an_object(raw, path)
            if category is None:
                continue
            self.known_keys(category, path, _CATEGORY_KEYS, required=("name", "id", "destinations"))
            names = [
                self.ours(name, f"{path}.destinations[{place}]")
                for place, name in enumerate(self.filled_list(category, path, "destinations"))
            ]
            if category.get("enabled") is False:
                self.warnings.append(f"category `{category.get('id')}` is disabled: not enforced")
            read.append(
                {
                    "id": category.get("id"),
                    "name": category.get("name"),
                    "destinations": sorted(set(names)),
                    "enabled": category.get("enabled", True),
                }
            )
        return read

    def ours(self, name: object, path: str) -> str:
        """Return this policy's name of one of Segment's destinations; one without is noted."""
        if not isinstance(name, str):
            self.note(path, f"expected the name of a destination, found {type_name(name)}")
            return ""
        if name not in self._destinations:
            self.note(path, f"destination `{name[:DESTINATION_CHARACTERS]}` has no name here: {_HINT}")
            near = suggestion(name, self._destinations)
            if near:
                self.note(path, f"destination `{name}` is not in `destinations`{near}")
            return ""
        return self._destinations[name]

    def _categories_of(self, raw: object, path: str) -> list[str]:
        settings = raw.get("consentSettings") if isinstance(raw, Mapping) else None
        if settings is None:
            return []
        consent = self.an_object(settings, f"{path}.consentSettings")
        if consent is None:
            return []
        listed = consent.get("categories", [])
        if not isinstance(listed, list) or not all(isinstance(category, str) and category for category in listed):
            self.note(f"{path}.consentSettings.categories", "expected a list of category ids")
            return []
        return listed

    def _listed(self, document: Mapping[str, object]) -> list[str]:
        settings = document.get("consentSettings")
        listed = settings.get("allCategories") if isinstance(settings, Mapping) else None
        return [category for category in listed if isinstance(category, str)] if isinstance(listed, list) else []


def _loaded(document: str | bytes | Mapping[str, object]) -> Mapping[str, object]:
    if isinstance(document, Mapping):
        return document
    try:
        found = read_json(document.decode() if isinstance(document, bytes) else document)
    except (UnicodeDecodeError, MalformedJsonError):
        raise PolicyError([Problem("$", "the document is not JSON")]) from None
    if not isinstance(found, Mapping):
        raise PolicyError([Problem("$", f"expected an object, found {type_name(found)}")])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the policy document; warnings go to standard error. Returns 1 where there are problems."""
    parser = argparse.ArgumentParser(description="Segment's consent categories as a policy document.")
    parser.add_argument("categories", type=Path, help="JSON, in one of the two forms")
    parser.add_argument(
        "--destinations", type=Path, required=True, help="JSON: Segment's name of each destination, with this policy's"
    )
    given = parser.parse_args(arguments)
    try:
        names = json.loads(given.destinations.read_bytes())
        imported = import_segment_categories(given.categories.read_bytes(), destinations=names)
    except (PolicyError, OSError, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command
        return 1
    for warning in imported.warnings:
        print(warning, file=sys.stderr)  # noqa: T201 - a command
    print(json.dumps(imported.document, indent=2))  # noqa: T201 - a command
    return 0


if __name__ == "__main__":
    sys.exit(main())
