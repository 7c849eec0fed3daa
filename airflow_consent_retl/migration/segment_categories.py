"""The import of Segment's consent categories into a policy document.

Segment's Public API has no consent categories (its clients name none), so two other forms are read. The first form
holds the categories as the workspace's page shows them, written down:

    {"categories": [{"name": "Advertising", "id": "C0004", "destinations": ["Google Ads"], "enabled": true}]}

The second form is the settings that Segment's libraries load for one source. Every integration names its categories:

    {"consentSettings": {"allCategories": ["C0002", "C0004"], "hasUnmappedDestinations": true},
     "integrations": {"Google Ads": {"consentSettings": {"categories": ["C0004"]}}}}

Source of the settings: `CDNSettings` in https://github.com/segmentio/analytics-next (read 2026-11-24). It says that
`allCategories` may contain categories of destinations that the settings do not name. Such categories are refused.

INVARIANT: no mapping is dropped, even if its form is wrong: a missing mapping would let rows through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from airflow_consent_retl.consent import PolicyDocument, parse_policy
from airflow_consent_retl.consent.destination_name import DESTINATION_CHARACTERS, parse_destination
from airflow_consent_retl.consent.document import ID_CHARACTERS, NAME_CHARACTERS
from airflow_consent_retl.consent.document_reader import DocumentReader
from airflow_consent_retl.consent.json_path import child, type_name
from airflow_consent_retl.consent.strict_json import MalformedJsonError, read_json
from airflow_consent_retl.errors import PolicyError, Problem
from airflow_consent_retl.near import resembles, suggestion

__all__ = ["ImportedPolicy", "import_segment_categories"]

_CATEGORY_KEYS = ("name", "id", "destinations", "enabled")
_CONSENT = "consentSettings"
_WRITE_DOWN = "write the categories down as the workspace's page shows them"


@dataclass(frozen=True, slots=True)
class ImportedPolicy:
    """A policy document that `parse_policy` can read, and warnings about it."""

    document: PolicyDocument
    warnings: tuple[str, ...]


def import_segment_categories(
    document: str | bytes | Mapping[str, object], *, destinations: str | bytes | Mapping[str, str]
) -> ImportedPolicy:
    """Return Segment's categories as a policy document.

    Args:
        document: JSON in one of the two forms. In the first form, unknown keys are refused. The second form is
            Segment's own: keys that do not concern consent are ignored.
        destinations: JSON: Segment's name of each destination, with its name in this policy. Every destination that
            has a category must be there. Several of Segment's destinations may become one destination of this policy,
            which then needs all their categories.

    Raises:
        PolicyError: the document is wrong. The error holds every problem with its JSON path.
    """
    reader = _CategoriesReader(_loaded(destinations, "destinations"))
    loaded = _loaded(document, "$")
    reader.note_repeated(loaded, "$")
    if "integrations" in loaded and "categories" in loaded:
        reader.note("$", "either `categories` or `integrations`, not both")
    categories = reader.settings(loaded) if "integrations" in loaded else reader.categories(loaded)
    if reader.problems:
        raise PolicyError(reader.problems)
    policy: PolicyDocument = {"unmapped_destinations": "permit", "categories": categories}
    parse_policy(policy)
    return ImportedPolicy(policy, (*reader.warnings, *reader.left_open(categories)))


class _CategoriesReader(DocumentReader):
    def __init__(self, destinations: Mapping[str, object]) -> None:
        super().__init__()
        self.warnings: list[str] = []
        self._destinations: dict[str, str] = {}
        # The path where each id and name occurred first, to check that each occurs only once.
        self._id_at: dict[str, str] = {}
        self._name_at: dict[str, str] = {}
        self.note_repeated(destinations, "destinations")
        for name, ours in destinations.items():
            try:
                self._destinations[name] = parse_destination(ours)
            except ValueError as error:
                self._destinations[name] = ""
                self.note(child("destinations", str(name)), str(error))

    def settings(self, document: Mapping[str, object]) -> list[PolicyDocument]:
        """Read the settings that Segment's libraries load: categories by integration."""
        integrations = self.an_object(document["integrations"], "$.integrations") or {}
        self.note_repeated(integrations, "$.integrations")
        mapped: dict[str, list[str]] = {}
        unmapped = []
        for name, raw in integrations.items():
            path = child("$.integrations", name)
            found = self._categories_of(raw, path)
            if not found:
                unmapped.append(name)
                continue
            ours = self._ours(name, path)
            for category in found:
                mapped.setdefault(category, []).append(ours)
        self._check_complete(document, mapped)
        self.warnings.append(
            "the settings cover one source and omit disabled categories: "
            "destinations of other sources, including Reverse ETL sources, are not in this policy"
        )
        if unmapped:
            names = ", ".join(f"`{name}`" for name in sorted(unmapped))
            self.warnings.append(f"Segment maps no category to these destinations and sends them every row: {names}")
        # The settings have no category names, so the id is also the name.
        return [
            {"id": category, "name": category, "destinations": sorted(set(names))}
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
            identity = self.label(category, path, "id", ID_CHARACTERS, self._id_at)
            name = self.label(category, path, "name", NAME_CHARACTERS, self._name_at)
            names = self._listed_destinations(category, path)
            enabled = category.get("enabled", True)
            if not isinstance(enabled, bool):
                self.note(f"{path}.enabled", f"expected a boolean, found {type_name(enabled)}")
            elif not enabled:
                self.warnings.append(f"category `{identity}` is disabled: not enforced")
            read.append({"id": identity, "name": name, "destinations": names, "enabled": enabled})
        return read

    def left_open(self, categories: list[PolicyDocument]) -> list[str]:
        """Return warnings about destinations that receive every row, and about several that become one."""
        guarded = {
            name for category in categories if category.get("enabled", True) for name in category["destinations"]
        }
        open_ = sorted(set(self._destinations.values()) - guarded)
        warnings = []
        if open_:
            names = ", ".join(f"`{name}`" for name in open_)
            warnings.append(f"these destinations have no enabled category and receive every row: {names}")
        by_name: dict[str, list[str]] = {}
        for theirs, ours in self._destinations.items():
            by_name.setdefault(ours, []).append(theirs)
        for ours, several in sorted(by_name.items()):
            if len(several) > 1:
                names = ", ".join(f"`{name}`" for name in sorted(several))
                warnings.append(f"{names} become the one destination `{ours}`, which needs the categories of all")
        return warnings

    def _listed_destinations(self, category: Mapping[str, object], path: str) -> list[str]:
        seen: dict[object, str] = {}
        for place, name in enumerate(self.filled_list(category, path, "destinations")):
            at = f"{path}.destinations[{place}]"
            if isinstance(name, str) and name in seen:
                self.warnings.append(f"destination `{name}` is listed twice in category `{category.get('id')}`")
                continue
            ours = self._ours(name, at)
            if isinstance(name, str):
                seen[name] = ours
        return sorted(set(seen.values()))

    def _ours(self, name: object, path: str) -> str:
        """Return this policy's name of one of Segment's destinations, and note a problem if there is none."""
        if not isinstance(name, str):
            self.note(path, f"expected the name of a destination, found {type_name(name)}")
            return ""
        if name not in self._destinations:
            near = suggestion(name, self._destinations) or ": add it there, with its name in this policy"
            self.note(path, f"destination `{name[:DESTINATION_CHARACTERS]}` is not in `destinations`{near}")
            return ""
        return self._destinations[name]

    def _categories_of(self, raw: object, path: str) -> list[str]:
        """Return the categories of one integration, and note misspelt keys and values that cannot be read."""
        integration = self.an_object(raw, path)
        if integration is None:
            return []
        self.note_repeated(integration, path)
        for key in integration:
            if resembles(key, _CONSENT):
                self.note(child(path, key), f"unknown key `{key}`, did you mean `{_CONSENT}`?")
        if _CONSENT not in integration:
            return []
        at = f"{path}.{_CONSENT}"
        consent = self.an_object(integration[_CONSENT], at)
        if consent is None:
            return []
        self.known_keys(consent, at, ("categories",), required=("categories",))
        listed = self._ids(consent, at, "categories")
        for category in listed:
            if len(category) > NAME_CHARACTERS:
                self.note(
                    f"{at}.categories",
                    f"the settings have no category names, and an id of {len(category)} characters is too long for a "
                    f"name, which has at most {NAME_CHARACTERS}: {_WRITE_DOWN}",
                )
        return listed

    def _ids(self, document: Mapping[str, object], path: str, key: str) -> list[str]:
        listed = document.get(key, [])
        if not isinstance(listed, list) or not all(isinstance(category, str) and category for category in listed):
            self.note(f"{path}.{key}", "expected a list of category ids")
            return []
        return list(dict.fromkeys(listed))

    def _check_complete(self, document: Mapping[str, object], mapped: Mapping[str, object]) -> None:
        if _CONSENT not in document:
            self.note("$", f"key `{_CONSENT}` is missing: without it, omitted categories cannot be detected")
            return
        path = f"$.{_CONSENT}"
        consent = self.an_object(document[_CONSENT], path)
        if consent is None:
            return
        known = ("allCategories", "hasUnmappedDestinations")
        self.known_keys(consent, path, known, required=("allCategories",))
        listed = self._ids(consent, path, "allCategories")
        for category in listed:
            if category not in mapped:
                self.note(
                    f"{path}.allCategories",
                    f"category `{category}` guards destinations that these settings do not name: {_WRITE_DOWN}",
                )
        for category in mapped:
            if category not in listed:
                self.note(f"{path}.allCategories", f"category `{category}` of an integration is not listed")
        if not mapped and not self.problems:
            self.note("$.integrations", "no integration has a category")


def _loaded(document: object, path: str) -> Mapping[str, object]:
    found = document
    if isinstance(document, str | bytes):
        try:
            found = read_json(document.decode() if isinstance(document, bytes) else document)
        except (UnicodeDecodeError, MalformedJsonError):
            raise PolicyError([Problem(path, "the document is not JSON")]) from None
    if not isinstance(found, Mapping):
        raise PolicyError([Problem(path, f"expected an object, found {type_name(found)}")])
    if not all(isinstance(key, str) for key in found):
        raise PolicyError([Problem(path, "a key is not text")])
    return found
