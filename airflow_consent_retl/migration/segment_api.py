"""A workspace as Segment's Public API describes it: sources, Reverse ETL models, destinations and their mappings.

The shapes: `SourceV1`, `ReverseEtlModel`, `DestinationV1` and `DestinationSubscription` of
https://github.com/segmentio/public-api-sdk-typescript (read 2026-11-29), in the answers of `GET /sources`,
`/reverse-etl-models`, `/destinations` and `/destinations/{id}/subscriptions`. The API has no consent.

INVARIANT: the settings of sources and destinations contain secrets. They are never read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from airflow_consent_retl.consent.document_reader import DocumentReader
from airflow_consent_retl.consent.json_path import child, type_name
from airflow_consent_retl.consent.strict_json import MalformedJsonError, read_json
from airflow_consent_retl.errors import PolicyError

_LISTS = ("sources", "models", "destinations", "subscriptions")
_SINGLE = {"source": "sources", "model": "models", "destination": "destinations", "subscription": "subscriptions"}


@dataclass(frozen=True, slots=True)
class SegmentModel:
    """A Reverse ETL model."""

    id: str
    source_id: str
    name: str
    enabled: bool
    query: str
    identifier: str


@dataclass(frozen=True, slots=True)
class SegmentDestination:
    """One instance of a destination. `kind` is the destination's own name, to which categories are mapped."""

    id: str
    name: str
    kind: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class SegmentMapping:
    """A mapping, which the API calls a subscription: an action of a destination, fed by a model.

    `settings` are the fields of the action. Their constants may be secrets, so only paths to columns are ever carried
    over.
    """

    id: str
    name: str
    action: str
    destination_id: str
    model_id: str
    enabled: bool
    trigger: str
    settings: Mapping[str, object]
    schedule: Mapping[str, object] | None


@dataclass(frozen=True, slots=True)
class SegmentWorkspace:
    """Everything of a workspace that concerns Reverse ETL."""

    sources: dict[str, str] = field(default_factory=dict)
    models: tuple[SegmentModel, ...] = ()
    destinations: tuple[SegmentDestination, ...] = ()
    mappings: tuple[SegmentMapping, ...] = ()


def read_workspace(answers: Mapping[str, str | bytes]) -> SegmentWorkspace:
    """Return the workspace that answers of the API describe.

    Args:
        answers: by name, for messages: the JSON of one answer, `{"data": {"models": [...], "pagination": {...}}}`, with
            or without `data` around it. Pages of one list are answers of their own.

    Raises:
        PolicyError: an answer cannot be read, or a page is missing. The error contains every problem.
    """
    reader = _ApiReader()
    for name, text in answers.items():
        reader.answer(name, text)
    reader.check_pages()
    if reader.problems:
        raise PolicyError(reader.problems)
    return reader.workspace()


class _ApiReader(DocumentReader):
    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, list[tuple[str, Mapping[str, object]]]] = {name: [] for name in _LISTS}
        # The pages that were read, and those that an answer names as the next one.
        self._pages: set[str] = set()
        self._wanted: dict[str, str] = {}

    def answer(self, name: str, text: str | bytes) -> None:
        """Read one answer of the API."""
        try:
            document = read_json(text.decode() if isinstance(text, bytes) else text)
        except (UnicodeDecodeError, MalformedJsonError):
            self.note(name, "the answer is not JSON")
            return
        found = self.an_object(document, name)
        if found is None:
            return
        self.note_repeated(found, name)
        data = self.an_object(found.get("data", found), f"{name}.data") or {}
        lists = [key for key in (*_LISTS, *_SINGLE) if key in data]
        if not lists:
            self.note(name, f"expected one of {', '.join(f'`{key}`' for key in _LISTS)}, as Segment's API answers")
        for key in lists:
            entries = data[key] if key in _LISTS else [data[key]]
            if not isinstance(entries, list):
                self.note(f"{name}.{key}", f"expected a list, found {type_name(entries)}")
                continue
            for index, raw in enumerate(entries):
                path = f"{name}.{key}[{index}]"
                entry = self.an_object(raw, path)
                if entry is not None:
                    self.note_repeated(entry, path)
                    self._found[_SINGLE.get(key, key)].append((path, entry))
        pagination = data.get("pagination")
        if isinstance(pagination, Mapping):
            self._pages.add(str(pagination.get("current")))
            if pagination.get("next"):
                self._wanted[str(pagination["next"])] = name

    def check_pages(self) -> None:
        """Note every list that goes on, where the next page is not among the answers."""
        for page, name in self._wanted.items():
            if page not in self._pages:
                self.note(name, "the list goes on: give the answer with the next page too")

    def workspace(self) -> SegmentWorkspace:
        """Return the workspace, and raise what is wrong in its entries."""
        workspace = SegmentWorkspace(
            sources={
                self._text(one, path, "id"): self._text(one, path, "name", "slug")
                for path, one in self._found["sources"]
            },
            models=tuple(self._models()),
            destinations=tuple(self._destinations()),
            mappings=tuple(self._mappings()),
        )
        if self.problems:
            raise PolicyError(self.problems)
        return workspace

    def _models(self) -> Iterator[SegmentModel]:
        for path, one in self._found["models"]:
            yield SegmentModel(
                id=self._text(one, path, "id"),
                source_id=self._text(one, path, "sourceId"),
                name=self._text(one, path, "name"),
                enabled=self._flag(one, path),
                query=self._text(one, path, "query"),
                identifier=self._text(one, path, "queryIdentifierColumn"),
            )

    def _destinations(self) -> Iterator[SegmentDestination]:
        for path, one in self._found["destinations"]:
            metadata = self.an_object(one.get("metadata"), f"{path}.metadata") or {}
            kind = self._text(metadata, f"{path}.metadata", "name")
            yield SegmentDestination(
                id=self._text(one, path, "id"),
                name=str(one.get("name") or kind),
                kind=kind,
                enabled=self._flag(one, path),
            )

    def _mappings(self) -> Iterator[SegmentMapping]:
        for path, one in self._found["subscriptions"]:
            # Without a model it is a mapping of events, not of Reverse ETL.
            if not one.get("modelId"):
                continue
            schedule = one.get("reverseETLSchedule")
            yield SegmentMapping(
                id=self._text(one, path, "id"),
                name=self._text(one, path, "name"),
                action=self._text(one, path, "actionSlug"),
                destination_id=self._text(one, path, "destinationId"),
                model_id=self._text(one, path, "modelId"),
                enabled=self._flag(one, path),
                trigger=str(one.get("trigger") or ""),
                settings=self.an_object(one.get("settings") or {}, f"{path}.settings") or {},
                schedule=schedule if isinstance(schedule, Mapping) else None,
            )

    def _text(self, entry: Mapping[str, object], path: str, *keys: str) -> str:
        """Return the first of several keys that has a text."""
        found = next((entry[key] for key in keys if isinstance(entry.get(key), str) and entry[key]), None)
        if found is None:
            self.note(child(path, keys[0]), "expected a text that is not empty")
        return str(found)

    def _flag(self, entry: Mapping[str, object], path: str) -> bool:
        enabled = entry.get("enabled")
        if not isinstance(enabled, bool):
            self.note(child(path, "enabled"), f"expected a boolean, found {type_name(enabled)}")
        return enabled is True
