"""The readers of consent mappings, consent sources, suppression lists and identities in a policy document.

In a document, the name of a column alone stands for a boolean column, as in a DAG.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.answers import WAYS, Recorded
from airflow_consent_retl.consent.formats.boolean_column import BooleanColumn
from airflow_consent_retl.consent.identities import IdentityLinks
from airflow_consent_retl.consent.json_path import child
from airflow_consent_retl.consent.mapping_documents import parse_mapping_document
from airflow_consent_retl.consent.plain_json import whole_numbers
from airflow_consent_retl.consent.sources import (
    ConsentSource,
    ExternalConsent,
    SuppressionList,
    check_sources,
    parse_source_document,
)
from airflow_consent_retl.consent.strict_json import JsonObject
from airflow_consent_retl.errors import PolicyError

if TYPE_CHECKING:
    from airflow_consent_retl.consent.document_reader import DocumentReader
    from airflow_consent_retl.consent.mapping import ConsentMapping

_COLUMN = BooleanColumn.__name__
_ROW = "RowConsent"
_KINDS: tuple[type[ExternalConsent], ...] = (ConsentSource, SuppressionList, IdentityLinks)
_ALSO_REQUIRED: dict[type, tuple[str, ...]] = {IdentityLinks: ("identifier",)}


def read_mapping(reader: DocumentReader, document: Mapping[str, object], path: str) -> ConsentMapping | None:
    """Return the consent mapping under `consent`, and note every problem; None where there is none."""
    if "consent" not in document:
        return None
    at = f"{path}.consent"
    raw = reader.an_object(document["consent"], at)
    if raw is None:
        return None
    note_repeated(reader, raw, at)
    try:
        return parse_mapping_document(_mapping(whole_numbers(raw))).with_elsewhere(doubts={}, suppressions=())
    except PolicyError as error:
        _note_all(reader, error, at, prefix="consent")
    except (KeyError, TypeError, ValueError, AttributeError):
        reader.note(at, "expected a category's id with a column or a consent format, or one format for all categories")
    return None


def read_sources(
    reader: DocumentReader,
    document: Mapping[str, object],
    path: str,
    key: str,
    *,
    only: type[ExternalConsent] | None = None,
) -> tuple[ExternalConsent, ...]:
    """Return the sources under a key, and note every problem. With `only` one possible kind, `format` is optional."""
    found: list[ExternalConsent] = []
    named = {kind.__name__: kind for kind in (_KINDS if only is None else (only,))}
    for index, raw in enumerate(reader.filled_list(document, path, key)):
        at = f"{path}.{key}[{index}]"
        given = reader.an_object(raw, at)
        if given is None:
            continue
        note_repeated(reader, given, at)
        if only is None and "format" not in given:
            reader.note(at, "key `format` is missing")
            continue
        kind = named[reader.choice(given, at, "format", tuple(named), next(iter(named)))]
        known = [field.name for field in fields(kind)]
        before = len(reader.problems)
        # Repeated keys are noted already.
        reader.known_keys(
            dict(given), at, ("format", *known), required=("sql", "subject", *_ALSO_REQUIRED.get(kind, ()))
        )
        if len(reader.problems) > before:
            continue
        plain: Any = whole_numbers(given)
        try:
            found.append(parse_source_document({**plain, "format": kind.__name__}))
        except PolicyError as error:
            _note_all(reader, error, at, prefix=kind.__name__)
    try:
        return check_sources(found)
    except PolicyError as error:
        for problem in error.problems:
            reader.note(f"{path}.{key}", problem.message)
        return ()


def note_repeated(reader: DocumentReader, value: object, path: str) -> None:
    """Note every repeated key of a value, at any depth."""
    if isinstance(value, JsonObject):
        reader.note_repeated(value, path)
    if isinstance(value, Mapping):
        for key, one in value.items():
            note_repeated(reader, one, child(path, str(key)))
    elif isinstance(value, list | tuple):
        for index, one in enumerate(value):
            note_repeated(reader, one, f"{path}[{index}]")


def _note_all(reader: DocumentReader, error: PolicyError, path: str, *, prefix: str) -> None:
    for problem in error.problems:
        if problem.path.startswith(prefix):
            reader.note(path + problem.path.removeprefix(prefix), problem.message)
        else:
            # A format names its own parameters, which are no place of the document.
            reader.note(path, f"{problem.path}: {problem.message}")


def _mapping(document: Any) -> dict[str, Any]:
    if document.get("format") == _ROW:
        more = {"gpc": _entry(document["gpc"])} if "gpc" in document else {}
        return {**document, **more, "categories": _mapping(document["categories"])}
    if isinstance(document.get("format"), str):
        return dict(document)
    return {category: _entry(entry) for category, entry in document.items()}


def _entry(entry: Any) -> Any:
    if isinstance(entry, str):
        return {"format": _COLUMN, "column": entry}
    if isinstance(entry, Mapping) and entry.get("format") in WAYS:
        return {**entry, "parts": [_entry(part) for part in entry["parts"]]}
    if isinstance(entry, Mapping) and entry.get("format") == Recorded.__name__:
        return {**entry, "signal": _entry(entry["signal"])}
    return entry
