"""The reader of the policy document: every check, with all problems reported at once.

Contains `parse_policy`. Never looks at a DAG or a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeGuard, get_args

from airflow_consent_retl.consent.destination_name import parse_destination
from airflow_consent_retl.consent.document_reader import DocumentReader
from airflow_consent_retl.consent.json_path import child, type_name
from airflow_consent_retl.consent.officer_reader import OfficerReader
from airflow_consent_retl.consent.policy import (
    Category,
    CategoryId,
    ConsentPolicy,
    DestinationName,
    DestinationRule,
    FieldClass,
    Match,
    MissingConsentColumn,
    UnmappedDestinations,
    base_of,
)
from airflow_consent_retl.consent.policy_clauses import clause_problems
from airflow_consent_retl.consent.strict_json import MalformedJsonError, read_json
from airflow_consent_retl.consent.terms import TERMS, read_terms
from airflow_consent_retl.errors import PolicyError, Problem
from airflow_consent_retl.near import nearest_destination

NAME_CHARACTERS = 20
ID_CHARACTERS = 35

_TOP_KEYS = ("unmapped_destinations", "missing_consent_column", "categories", "destinations", "officer")
_CATEGORY_KEYS = ("id", "name", "destinations", "enabled", *TERMS)
_RULE_KEYS = ("match", "consent", "reason", "any_may_permit_without_consent")


def parse_policy(document: str | bytes | Mapping[str, object]) -> ConsentPolicy:
    """Read and check a policy document. This is the only maker of a `ConsentPolicy` that rows are decided under.

    Text and bytes are JSON (bytes in UTF-8). Raises `PolicyError` with every problem, each with its JSON path. For a
    name that is nearly right, the message suggests the name that was probably meant.
    """
    reader = _PolicyReader()
    policy = reader.policy(_loaded(document))
    problems = reader.problems or clause_problems(policy, reader.guarded_at)
    if problems:
        raise PolicyError(problems)
    return policy


def parse_recorded_policy(document: Mapping[str, object]) -> ConsentPolicy:
    """Read the document of a policy that an earlier run decided under, to compare it with a present one.

    Only its form is checked: what `parse_policy` refuses about its clauses may have been accepted at that time. Raises
    `PolicyError`.
    """
    reader = _PolicyReader()
    policy = reader.policy(document)
    if reader.problems:
        raise PolicyError(reader.problems)
    return policy


def _loaded(document: object) -> Mapping[str, object]:
    if isinstance(document, bytes):
        try:
            document = document.decode()
        except UnicodeDecodeError:
            raise PolicyError([Problem("$", "the document is not UTF-8")]) from None
    if isinstance(document, str):
        try:
            document = read_json(document)
        except MalformedJsonError as error:
            raise PolicyError([Problem("$", f"the document is not JSON: {error}")]) from None
    if not isinstance(document, Mapping):
        raise PolicyError([Problem("$", f"expected an object, found {type_name(document)}")])
    return document


class _PolicyReader(DocumentReader):
    """A reader of one policy. Its results are valid only if it noted no problem."""

    def __init__(self) -> None:
        super().__init__()
        # The path where each destination, category id and name occurred first.
        self.mapped_at: dict[DestinationName, str] = {}
        self.guarded_at: dict[DestinationName, str] = {}
        self.id_at: dict[str, str] = {}
        self.name_at: dict[str, str] = {}

    def policy(self, document: Mapping[str, object]) -> ConsentPolicy:
        self.known_keys(document, "$", _TOP_KEYS, required=("categories",))
        unmapped: UnmappedDestinations = self.choice(
            document, "$", "unmapped_destinations", get_args(UnmappedDestinations), "permit"
        )
        missing: MissingConsentColumn = self.choice(
            document, "$", "missing_consent_column", get_args(MissingConsentColumn), "error"
        )
        read = [
            self.category(raw, f"$.categories[{index}]")
            for index, raw in enumerate(self.filled_list(document, "$", "categories"))
        ]
        categories = [category for category in read if category is not None]
        rules = self.rules(document)
        self.check_not_required(categories, rules)
        self.check_inherited_any(rules)
        self.check_near_matches(rules)
        policy = ConsentPolicy(
            categories=tuple(sorted(categories, key=lambda category: category.id)),
            destination_rules=tuple((name, rules[name]) for name in sorted(rules)),
            unmapped_destinations=unmapped,
            missing_consent_column=missing,
        )
        if "officer" not in document:
            return policy
        officer = OfficerReader(self, categories=list(self.id_at), destinations=policy.destinations)
        return replace(policy, officer=officer.read(document["officer"]))

    def category(self, raw: object, path: str) -> Category | None:
        document = self.an_object(raw, path)
        if document is None:
            return None
        # A category may guard only fields, and no destination as a whole.
        needed = ("id", "name") if "fields" in document else ("id", "name", "destinations")
        self.known_keys(document, path, _CATEGORY_KEYS, required=needed)
        category_id = self.label(document, path, "id", ID_CHARACTERS, self.id_at)
        name = self.label(document, path, "name", NAME_CHARACTERS, self.name_at)
        destinations: list[DestinationName] = []
        for index, listed in enumerate(self.filled_list(document, path, "destinations")):
            at = f"{path}.destinations[{index}]"
            destination = self.destination(listed, at)
            if destination is None:
                continue
            if destination in destinations:
                self.note(at, f"destination `{destination}` is listed twice")
            destinations.append(destination)
            self.mapped_at.setdefault(destination, at)
        enabled = document.get("enabled", True)
        if not isinstance(enabled, bool):
            self.note(f"{path}.enabled", f"expected a boolean, found {type_name(enabled)}")
        fields, classes = self.fields(document, path)
        terms = read_terms(self, document, path)
        if category_id is None or name is None:
            return None
        category = Category(CategoryId(category_id), name, tuple(sorted(destinations)), enabled is not False)
        return replace(category, fields=fields, field_classes=classes, **terms)

    def fields(
        self, document: Mapping[str, object], path: str
    ) -> tuple[
        tuple[tuple[DestinationName, tuple[str, ...]], ...], tuple[tuple[DestinationName, tuple[FieldClass, ...]], ...]
    ]:
        if "fields" not in document:
            return (), ()
        section = self.an_object(document["fields"], f"{path}.fields")
        if section is None:
            return (), ()
        self.note_repeated(section, f"{path}.fields")
        if not section:
            self.note(f"{path}.fields", "expected at least one destination with its guarded fields")
        guarded: dict[DestinationName, tuple[str, ...]] = {}
        classes: dict[DestinationName, tuple[FieldClass, ...]] = {}
        for key in section:
            at = child(f"{path}.fields", str(key))
            destination = self.destination(key, at)
            listed = self.filled_list(section, f"{path}.fields", key)
            found = [self.field_class(raw, f"{at}[{index}]") for index, raw in enumerate(listed) if not _is_name(raw)]
            names: list[str] = [raw for raw in listed if _is_name(raw)]
            names += [name for guard in found if guard is not None for name in (guard.name, *guard.aliases)]
            if len(set(names)) < len(names):
                self.note(at, "expected the names of fields, each once")
            elif destination is not None:
                guarded[destination] = tuple(sorted(names))
                self.guarded_at.setdefault(destination, at)
                if found:
                    classes[destination] = tuple(sorted(guard for guard in found if guard is not None))
        return tuple(sorted(guarded.items())), tuple(sorted(classes.items()))

    def field_class(self, raw: object, path: str) -> FieldClass | None:
        if not isinstance(raw, Mapping):
            self.note(path, "expected the name of a field, or a data class with its aliases")
            return None
        self.known_keys(raw, path, ("class", "aliases"), required=("class", "aliases"))
        aliases = self.filled_list(raw, path, "aliases")
        name = raw.get("class")
        if not _is_name(name) or not all(map(_is_name, aliases)):
            self.note(path, "expected the names of a data class and of its aliases, as text")
            return None
        return FieldClass(name, tuple(sorted(map(str, aliases))))

    def destination(self, raw: object, path: str) -> DestinationName | None:
        try:
            return parse_destination(raw)
        except ValueError as error:
            self.note(path, str(error))
            return None

    def rules(self, document: Mapping[str, object]) -> dict[DestinationName, DestinationRule]:
        section = self.an_object(document.get("destinations", {}), "$.destinations")
        if section is None:
            return {}
        self.note_repeated(section, "$.destinations")
        rules = {}
        for key, raw in section.items():
            path = child("$.destinations", str(key))
            destination = self.destination(key, path)
            if destination is not None:
                rules[destination] = self.rule(raw, path)
        return rules

    def rule(self, raw: object, path: str) -> DestinationRule:
        document = self.an_object(raw, path)
        if document is None:
            return DestinationRule()
        self.known_keys(document, path, _RULE_KEYS, required=())
        match: Match = self.choice(document, path, "match", get_args(Match), "all")
        consent_required = (
            self.choice(document, path, "consent", ("required", "not_required"), "required") == "required"
        )
        without_consent = document.get("any_may_permit_without_consent", False)
        if not isinstance(without_consent, bool):
            self.note(
                f"{path}.any_may_permit_without_consent", f"expected a boolean, found {type_name(without_consent)}"
            )
        any_without_consent = without_consent is True
        if any_without_consent and match != "any":
            self.note(f"{path}.any_may_permit_without_consent", 'it belongs to `"match": "any"` only')
        raw_reason = document.get("reason")
        reason = raw_reason if isinstance(raw_reason, str) and raw_reason.strip() else None
        if consent_required and not any_without_consent and "reason" in document:
            self.note(f"{path}.reason", 'a reason belongs to `"consent": "not_required"` only')
        elif any_without_consent and reason is None:
            self.note(f"{path}.reason", "a destination that may permit without consent needs a reason, as text")
        elif not consent_required and reason is None:
            self.note(f"{path}.reason", "a destination without required consent needs a reason, as text")
        if not consent_required and "match" in document:
            self.note(f"{path}.match", "where consent is not required there is nothing to match")
        return DestinationRule(match, consent_required, reason, any_without_consent)

    def check_not_required(
        self, categories: Sequence[Category], rules: Mapping[DestinationName, DestinationRule]
    ) -> None:
        for destination, rule in rules.items():
            covering = {destination, base_of(destination)}
            mapped = [category.id for category in categories if covering.intersection(category.destinations)]
            if mapped and not rule.consent_required:
                shown = ", ".join(f"`{category_id}`" for category_id in mapped)
                self.note(f"{child('$.destinations', destination)}.consent", f"`{destination}` is mapped to {shown}")

    def check_inherited_any(self, rules: Mapping[DestinationName, DestinationRule]) -> None:
        for destination, path in self.mapped_at.items():
            base = base_of(destination)
            if destination != base and destination not in rules and rules.get(base, DestinationRule()).match == "any":
                # INVARIANT: a mapping to an instance never enlarges its recipients unless the document states it.
                self.note(
                    path,
                    f"`{base}` takes any of its categories, and `{destination}` has a category of its own: name "
                    f"`{destination}` with its `match` in the `destinations` section",
                )

    def check_near_matches(self, rules: Mapping[DestinationName, DestinationRule]) -> None:
        seen: list[DestinationName] = []
        # What a category names is taken for the right spelling, where guarded fields or rules have another one.
        places = dict(self.mapped_at)
        for destination, path in self.guarded_at.items():
            places.setdefault(destination, path)
        for destination in rules:
            places.setdefault(destination, child("$.destinations", destination))
        for destination, path in places.items():
            deliberate = rules if destination in rules else {}
            near = nearest_destination(destination, (name for name in seen if name not in deliberate))
            if near is not None:
                self.note(
                    path,
                    f"destination `{destination}` resembles `{near}`, did you mean `{near}`? "
                    "If they differ, name both in the `destinations` section",
                )
            seen.append(destination)


def _is_name(raw: object) -> TypeGuard[str]:
    return isinstance(raw, str) and bool(raw)
