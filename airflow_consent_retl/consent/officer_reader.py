"""The reader of the officer's part of a policy document: every check, with a path for each problem."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, get_args

from airflow_consent_retl.consent.destination_name import parse_destination
from airflow_consent_retl.consent.freshness import parse_max_age
from airflow_consent_retl.consent.json_path import child, type_name
from airflow_consent_retl.consent.officer import (
    DestinationTerms,
    ModelTerms,
    OfficerPart,
    Plain,
    Undeclared,
)
from airflow_consent_retl.consent.officer_sources import read_mapping, read_sources
from airflow_consent_retl.consent.plain_json import canonical, whole_numbers
from airflow_consent_retl.consent.policy import base_of
from airflow_consent_retl.consent.retention import KINDS, Kept, Kind, Retention
from airflow_consent_retl.consent.sources import SuppressionList
from airflow_consent_retl.near import nearest_destination, suggestion

if TYPE_CHECKING:
    from airflow_consent_retl.consent.document_reader import DocumentReader

KEYS = (
    "models",
    "connections",
    "suppression_lists",
    "destinations",
    "undeclared_models",
    "unmapped_names",
    "no_assessment_in",
    "retention",
)
OF_A_CONNECTION = ("hook_params", "consent", "consent_sources")
OF_A_MODEL = ("connection", "primary_key", "sql", "current_consent_sql", *OF_A_CONNECTION)
OF_A_DESTINATION = (
    "operator",
    "connection",
    "parameters",
    "target",
    "fields",
    "purpose",
    "assessment",
    "country",
)
_COUNTRY = re.compile(r"[A-Z]{2}")
_PATH = "$.officer"


class OfficerReader:
    """A reader of the officer's part. Its result is valid only if the document's reader noted no problem.

    Args:
        reader: notes the problems.
        categories: the ids of the policy's categories.
        destinations: the destinations that the rest of the policy names.
    """

    def __init__(self, reader: DocumentReader, *, categories: Collection[str], destinations: Collection[str]) -> None:
        self._reader = reader
        self._categories = categories
        self._destinations = frozenset(destinations)

    def read(self, raw: object) -> OfficerPart:
        """Return the officer's part of a document."""
        document = self._reader.an_object(raw, _PATH)
        if document is None:
            return OfficerPart()
        self._reader.known_keys(document, _PATH, KEYS, required=())
        lists = read_sources(self._reader, document, _PATH, "suppression_lists", only=SuppressionList)
        self._check_connections(lists, f"{_PATH}.suppression_lists")
        undeclared: Undeclared = self._reader.choice(
            document, _PATH, "undeclared_models", get_args(Undeclared), "permit"
        )
        names: Undeclared | None = None
        if "unmapped_names" in document:
            # A wrong choice refuses the policy: its default means nothing.
            names = self._reader.choice(
                document,
                _PATH,
                "unmapped_names",
                get_args(Undeclared),
                "error",  # pragma: no mutate
            )
        models = self._models(document, "models", OF_A_MODEL)
        connections = self._models(document, "connections", OF_A_CONNECTION)
        if undeclared == "error" and not (models or connections):
            self._reader.note(f"{_PATH}.undeclared_models", "the policy declares no model, so that none could be used")
        return OfficerPart(
            models=models,
            connections=connections,
            suppression_lists=tuple(one for one in lists if isinstance(one, SuppressionList)),
            destinations=self._named(document, "destinations", self._destination),
            undeclared_models=undeclared,
            unmapped_names=names,
            no_assessment_in=self._countries(document),
            retention=self._retention(document),
        )

    def _named(self, document: Mapping[str, object], key: str, read: Any) -> tuple[tuple[str, Any], ...]:
        section = self._section(document, _PATH, key)
        return tuple(sorted((name, read(name, section[name], child(f"{_PATH}.{key}", name))) for name in section))

    def _section(self, document: Mapping[str, object], path: str, key: str) -> Mapping[str, object]:
        if key not in document:
            return {}
        at = child(path, key)
        section = self._reader.an_object(document[key], at)
        if section is None:
            return {}
        self._reader.note_repeated(section, at)
        if not section:
            self._reader.note(at, "expected at least one entry")
        found = {name: value for name, value in section.items() if isinstance(name, str) and name.strip()}
        if len(found) < len(section):
            self._reader.note(at, "expected names as text that is not empty")
        return found

    def _models(
        self, document: Mapping[str, object], key: str, known: tuple[str, ...]
    ) -> tuple[tuple[str, ModelTerms], ...]:
        return self._named(document, key, lambda name, raw, path: self._model(raw, path, known))

    def _model(self, raw: object, path: str, known: tuple[str, ...]) -> ModelTerms:
        document = self._reader.an_object(raw, path)
        if document is None:
            return ModelTerms()
        self._reader.known_keys(document, path, known, required=())
        consent = read_mapping(self._reader, document, path)
        if consent is not None:
            for category in consent.category_ids:
                if category not in self._categories:
                    near = suggestion(category, self._categories)
                    self._reader.note(
                        child(f"{path}.consent", category), f"category `{category}` is not in the policy{near}"
                    )
        sources = read_sources(self._reader, document, path, "consent_sources")
        if known is OF_A_MODEL and "connection" not in document:
            self._check_connections(sources, f"{path}.consent_sources")
        if "current_consent_sql" in document and "sql" not in document:
            self._reader.note(f"{path}.current_consent_sql", "it belongs to a declared `sql`")
        return ModelTerms(
            connection=self._text(document, path, "connection"),
            primary_key=self._text(document, path, "primary_key"),
            sql=self._text(document, path, "sql"),
            current_consent_sql=self._text(document, path, "current_consent_sql"),
            hook_params=self._hook_params(document, path),
            consent=consent,
            sources=sources,
        )

    def _check_connections(self, sources: tuple[Any, ...], path: str) -> None:
        for index, source in enumerate(sources):
            if source.conn_id is None:
                self._reader.note(
                    f"{path}[{index}]",
                    "`conn_id` is missing: without it the connection is the model's, which a DAG chooses",
                )

    def _hook_params(self, document: Mapping[str, object], path: str) -> str | None:
        if "hook_params" not in document:
            return None
        return canonical(self._reader.an_object(document["hook_params"], f"{path}.hook_params"))

    def _destination(self, name: str, raw: object, path: str) -> DestinationTerms:
        problem = self._name_problem(name)
        if problem is not None:
            self._reader.note(path, problem)
        document = self._reader.an_object(raw, path)
        if document is None:
            return DestinationTerms()
        self._reader.known_keys(document, path, OF_A_DESTINATION, required=())
        country = self._text(document, path, "country")
        if country is not None and not _COUNTRY.fullmatch(country):
            self._reader.note(f"{path}.country", "expected two capital letters of ISO 3166, such as `DE`")
        return DestinationTerms(
            operator=self._text(document, path, "operator"),
            connection=self._text(document, path, "connection"),
            parameters=self._parameters(document, path),
            target=self._text(document, path, "target"),
            fields=self._fields(document, path),
            purpose=self._text(document, path, "purpose"),
            assessment=self._text(document, path, "assessment"),
            country=country,
        )

    def _name_problem(self, name: str) -> str | None:
        try:
            covering = {parse_destination(name), base_of(name)}
        except ValueError as error:
            return str(error)
        if not covering.isdisjoint(self._destinations):
            return None
        near = nearest_destination(name, sorted(self._destinations))
        hint = "" if near is None else f", did you mean `{near}`?"
        return f"destination `{name}` is not in the policy{hint}"

    def _parameters(self, document: Mapping[str, object], path: str) -> tuple[tuple[str, Plain], ...] | None:
        if "parameters" not in document:
            return None
        section = self._section(document, path, "parameters")
        found: dict[str, Plain] = {}
        for name, raw in section.items():
            value = whole_numbers(raw)
            if value is None or isinstance(value, str | int | float):
                found[name] = value
            else:
                at = child(f"{path}.parameters", name)
                self._reader.note(at, f"expected text, a number, a boolean or null, found {type_name(raw)}")
        return tuple(sorted(found.items()))

    def _fields(self, document: Mapping[str, object], path: str) -> tuple[tuple[str | None, str], ...] | None:
        if "fields" not in document:
            return None
        raw, at = document["fields"], f"{path}.fields"
        if isinstance(raw, Mapping):
            section = self._section(document, path, "fields")
            pairs: list[tuple[str | None, object]] = [*section.items()]
        else:
            pairs = [(None, column) for column in self._reader.filled_list(document, path, "fields")]
        found = [(name, column) for name, column in pairs if isinstance(column, str) and column]
        if len(found) < len(pairs) or len(set(found)) < len(found):
            self._reader.note(at, "expected the names of the model's columns, each once")
        return tuple(sorted(found, key=lambda pair: (pair[0] or "", pair[1])))  # pragma: no mutate: any order is one

    def _countries(self, document: Mapping[str, object]) -> tuple[str, ...] | None:
        at = f"{_PATH}.no_assessment_in"
        if "no_assessment_in" not in document:
            return None
        listed = document["no_assessment_in"]
        if not isinstance(listed, list | tuple):
            self._reader.note(at, f"expected a list of countries, found {type_name(listed)}")
            return None
        found = sorted({one for one in listed if isinstance(one, str) and _COUNTRY.fullmatch(one)})
        if len(found) < len(listed):
            self._reader.note(at, "expected countries as two capital letters of ISO 3166, such as `DE`, each once")
        return tuple(found)

    def _retention(self, document: Mapping[str, object]) -> Retention:
        at = f"{_PATH}.retention"
        section = self._section(document, _PATH, "retention")
        self._reader.known_keys(section, at, KINDS, required=())
        found: list[tuple[Kind, Kept]] = [
            (kind, self._kept(section[kind], child(at, kind))) for kind in KINDS if kind in section
        ]
        return Retention(tuple(found))

    def _kept(self, raw: object, path: str) -> Kept:
        document = self._reader.an_object(raw, path)
        if document is None:
            return Kept()
        self._reader.known_keys(document, path, ("max_age", "number"), required=())
        max_age = None
        if "max_age" in document:
            try:
                max_age = parse_max_age(document["max_age"])
            except ValueError as error:
                self._reader.note(f"{path}.max_age", str(error))
        number: Any = whole_numbers(document.get("number"))
        if "number" in document and (type(number) is not int or number < 1):
            self._reader.note(f"{path}.number", "expected a whole number of at least 1")
        if not document:
            self._reader.note(path, "expected `max_age`, `number` or both")
        return Kept(max_age, number)

    def _text(self, document: Mapping[str, object], path: str, key: str) -> str | None:
        text = document.get(key)
        if key in document and not (isinstance(text, str) and text.strip()):
            self._reader.note(f"{path}.{key}", "expected text that is not empty")
            return None
        return str(text).strip() if isinstance(text, str) else None
