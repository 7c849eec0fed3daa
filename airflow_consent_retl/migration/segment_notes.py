"""The notes of a person for the migration from Segment, about facts that no API has.

    {"categories": [{"name": "Advertising", "id": "C0004", "destinations": ["Webhooks (Actions)"]}],
     "models": {"Customers": {"consent": {"C0004": "ads_ok"}}},
     "connections": {"Warehouse": "warehouse"},
     "destinations": {"Webhooks (Actions)": "webhook"},
     "loads": {"CRM hook": {"destination": "webhook", "operator": "LoadToWebhookOperator",
                            "parameters": {"conn_id": "crm_http", "endpoint": "/people"},
                            "fields": {"id": "user_id"}}}}

`categories` are those of the workspace's page, with Segment's names of destinations. `models` and `connections` go by
the name or the id of a model and of a source, `loads` by those of an instance of a destination. `fields` replace the
fields of Segment's mapping.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_consent_retl.consent.destination_name import parse_destination
from airflow_consent_retl.consent.document_reader import DocumentReader
from airflow_consent_retl.consent.json_path import child, type_name
from airflow_consent_retl.consent.policy import base_of
from airflow_consent_retl.consent.strict_json import MalformedJsonError, read_json
from airflow_consent_retl.errors import PolicyError, Problem
from airflow_consent_retl.near import suggestion

_KEYS = ("categories", "models", "connections", "destinations", "loads")


@dataclass(frozen=True, slots=True)
class ModelNotes:
    """The consent mapping of a model, by category, and the types of columns that its database does not declare."""

    consent: dict[str, str] = field(default_factory=dict)
    column_types: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LoadNotes:
    """The load of an instance of a destination, as the notes declare it."""

    destination: str
    operator: str
    parameters: dict[str, Any]
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class SegmentNotes:
    """The notes, checked."""

    categories: list[object]
    models: dict[str, ModelNotes]
    connections: dict[str, str]
    destinations: dict[str, str]
    loads: dict[str, LoadNotes]


def read_notes(text: str | bytes, *, operators: Collection[str]) -> SegmentNotes:
    """Return the notes.

    Args:
        text: JSON.
        operators: the names of the operators that load.

    Raises:
        PolicyError: the notes are wrong. The error contains every problem with its JSON path.
    """
    try:
        document = read_json(text.decode() if isinstance(text, bytes) else text)
    except (UnicodeDecodeError, MalformedJsonError):
        raise PolicyError([Problem("$", "the notes are not JSON")]) from None
    reader = _NotesReader(operators)
    found = reader.an_object(document, "$") or {}
    notes = reader.notes(found)
    if reader.problems:
        raise PolicyError(reader.problems)
    return notes


class _NotesReader(DocumentReader):
    def __init__(self, operators: Collection[str]) -> None:
        super().__init__()
        self._operators = operators

    def notes(self, document: Mapping[str, object]) -> SegmentNotes:
        """Read the whole document."""
        self.known_keys(document, "$", _KEYS, required=_KEYS)
        models = self.an_object(document.get("models", {}), "$.models") or {}
        loads = self.an_object(document.get("loads", {}), "$.loads") or {}
        self.note_repeated(models, "$.models")
        self.note_repeated(loads, "$.loads")
        destinations = self._texts(document.get("destinations", {}), "$.destinations")
        return SegmentNotes(
            categories=list(self.filled_list(document, "$", "categories")),
            models={name: self._model(raw, child("$.models", name)) for name, raw in models.items()},
            connections=self._texts(document.get("connections", {}), "$.connections"),
            destinations=destinations,
            loads={name: self._load(raw, child("$.loads", name), destinations) for name, raw in loads.items()},
        )

    def _model(self, raw: object, path: str) -> ModelNotes:
        entry = self.an_object(raw, path) or {}
        self.known_keys(entry, path, ("consent", "column_types"), required=("consent",))
        return ModelNotes(
            consent=self._texts(entry.get("consent", {}), f"{path}.consent"),
            column_types=self._texts(entry.get("column_types", {}), f"{path}.column_types"),
        )

    def _load(self, raw: object, path: str, destinations: Mapping[str, str]) -> LoadNotes:
        entry = self.an_object(raw, path) or {}
        known = ("destination", "operator", "parameters", "fields")
        self.known_keys(entry, path, known, required=("destination", "operator"))
        operator, destination = str(entry.get("operator")), str(entry.get("destination"))
        if operator not in self._operators:
            self.note(f"{path}.operator", f"there is no operator `{operator}`{suggestion(operator, self._operators)}")
        try:
            parse_destination(destination)
        except ValueError as error:
            self.note(f"{path}.destination", str(error))
        ours = set(destinations.values())
        if destination not in ours and base_of(destination) not in ours:
            near = suggestion(destination, ours)
            self.note(f"{path}.destination", f"`{destination}` is not a value of `destinations`{near}")
        parameters = self.an_object(entry.get("parameters", {}), f"{path}.parameters") or {}
        self.note_repeated(parameters, f"{path}.parameters")
        return LoadNotes(
            destination, operator, dict(parameters), self._texts(entry.get("fields", {}), f"{path}.fields")
        )

    def _texts(self, raw: object, path: str) -> dict[str, str]:
        entry = self.an_object(raw, path) or {}
        self.note_repeated(entry, path)
        for key, value in entry.items():
            if not isinstance(value, str) or not value:
                self.note(child(path, key), f"expected a text that is not empty, found {type_name(value)}")
        return {key: str(value) for key, value in entry.items()}
