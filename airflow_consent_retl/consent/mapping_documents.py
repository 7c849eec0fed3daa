"""A consent mapping as a JSON document, with which loads and reports read consent in the same way as the filter.

    {"C0002": {"format": "BooleanColumn", "column": "analytics_ok"}}
    {"format": "ConsentObject", "column": "consent", "path": ["categoryPreferences"], "key_by": "id"}
    {"format": "RowConsent", "categories": {...}, "region": "country"}

The document contains names of columns and declared literals, and no value of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.answers import WAYS, Answers, Recorded
from airflow_consent_retl.consent.format_document import format_document, parse_signal, parse_switches, parse_whole
from airflow_consent_retl.consent.freshness import EpochTime
from airflow_consent_retl.consent.mapping import ConsentMapping, RowConsent, parse_consent_mapping
from airflow_consent_retl.errors import PolicyError, Problem

if TYPE_CHECKING:
    from airflow_consent_retl.consent.signals import CategorySignal, WholeConsent

_ROW = RowConsent.__name__
_ROW_COLUMNS = ("time", "notice_version", "region")
_VALIDITY = ("valid_from", "valid_until")

MappingDocument = dict[str, Any]


def mapping_document(mapping: ConsentMapping) -> MappingDocument:
    """Return the document of a checked mapping."""
    if mapping.whole is not None:
        categories = format_document(mapping.whole)
    else:
        categories = {category_id: _entry_document(entry) for category_id, entry in mapping.entries}
    row: MappingDocument = {name: _time_document(getattr(mapping, name)) for name in _ROW_COLUMNS}
    row |= {
        "gpc": mapping.gpc and format_document(mapping.gpc),
        "switches": mapping.switches and format_document(mapping.switches),
        "doubts": dict(mapping.doubts),
        "suppressions": list(mapping.suppressions),
    }
    present = {name: value for name, value in row.items() if value}
    return {"format": _ROW, "categories": categories, **present} if present else categories


def parse_mapping_document(document: Mapping[str, Any]) -> ConsentMapping:
    """Return the mapping of a document that `mapping_document` wrote.

    Raises:
        PolicyError: this version does not know a format, or one of its parameters.
    """
    if document.get("format") == _ROW:
        return _row(document)
    return parse_consent_mapping(_categories(document))


def _entry_document(entry: Answers | Recorded) -> MappingDocument:
    if isinstance(entry, Answers):
        return {"format": type(entry).__name__, "parts": [_entry_document(part) for part in entry.parts]}
    validity = {name: _time_document(end) for name in _VALIDITY if (end := getattr(entry, name)) is not None}
    if entry.time is None and entry.notice_version is None and not validity:
        return format_document(entry.signal)
    return {
        "format": Recorded.__name__,
        "signal": format_document(entry.signal),
        "time": _time_document(entry.time),
        "notice_version": entry.notice_version,
        **validity,
    }


def _time_document(time: str | EpochTime | None) -> Any:
    return {"column": time.column, "unit": time.unit} if isinstance(time, EpochTime) else time


def _time(document: Any) -> Any:
    if not isinstance(document, Mapping):
        return document
    if document.keys() != {"column", "unit"}:
        raise PolicyError([Problem("consent", "expected the name of a column of times, or its `column` and `unit`")])
    return EpochTime(document["column"], document["unit"])


def _row(document: Mapping[str, Any]) -> ConsentMapping:
    _check_keys(document, *_ROW_COLUMNS, "categories", "gpc", "switches", "doubts", "suppressions")
    if not isinstance(document.get("categories"), Mapping):
        raise PolicyError([Problem("consent", f"{_ROW} needs its `categories`")])
    gpc: Any = None if document.get("gpc") is None else parse_signal(document["gpc"])
    switches = document.get("switches")
    row = RowConsent(
        _categories(document["categories"]),
        **{name: _time(document.get(name)) for name in _ROW_COLUMNS},
        gpc=gpc,
        switches=None if switches is None else parse_switches(switches),
    )
    return parse_consent_mapping(row).with_elsewhere(
        doubts=document.get("doubts", {}), suppressions=document.get("suppressions", ())
    )


def _categories(document: Mapping[str, Any]) -> WholeConsent | dict[str, CategorySignal | Recorded | Answers]:
    # A category may have the id `format` too: its value is an entry, not text.
    if isinstance(document.get("format"), str):
        return parse_whole(document)
    return {category_id: _entry(entry) for category_id, entry in document.items()}


def _entry(entry: Any) -> CategorySignal | Recorded | Answers:
    format_ = entry.get("format") if isinstance(entry, Mapping) else None
    if format_ in WAYS:
        _check_keys(entry, "parts")
        return WAYS[str(format_)](*map(_record, entry["parts"]))
    return _record(entry)


def _record(entry: Any) -> CategorySignal | Recorded:
    if isinstance(entry, Mapping) and entry.get("format") == Recorded.__name__:
        _check_keys(entry, "signal", "time", "notice_version", *_VALIDITY)
        return Recorded(
            parse_signal(entry["signal"]),
            time=_time(entry.get("time")),
            notice_version=entry.get("notice_version"),
            **{name: _time(entry.get(name)) for name in _VALIDITY},
        )
    return parse_signal(entry)


def _check_keys(document: Mapping[str, Any], *known: str) -> None:
    # INVARIANT: nothing that limits a grant is passed over because its name is not known.
    if not {"format", *known}.issuperset(document):
        raise PolicyError([Problem("consent", f"{document['format']} does not accept its parameters")])
