"""A consent mapping as a JSON document, so that whoever asks for consent again reads it as the filter did.

    {"C0002": {"format": "BooleanColumn", "column": "analytics_ok"}}
    {"format": "ConsentObject", "column": "consent", "path": ["categoryPreferences"], "key_by": "id"}
    {"format": "RowConsent", "categories": {...}, "region": "country"}

Names columns and declared literals, and no value of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from airflow_consent_retl.consent.answers import Answers, FirstOf, MostRestrictive, Recorded
from airflow_consent_retl.consent.formats.consent_object import ConsentObject, ConsentObjectKey
from airflow_consent_retl.consent.formats.google import GoogleConsent
from airflow_consent_retl.consent.formats.gpp import GppTcf, GppUs
from airflow_consent_retl.consent.formats.granted_ids import BitMask, GrantedId, GrantedIds
from airflow_consent_retl.consent.formats.onetrust import OptanonConsent, OptanonConsentGroup
from airflow_consent_retl.consent.formats.tcf import TcfString
from airflow_consent_retl.consent.mapping import ConsentMapping, RowConsent, parse_consent_mapping
from airflow_consent_retl.consent.signals import BooleanColumn, CategorySignal, Literals, WholeConsent
from airflow_consent_retl.consent.switches import ExcludedDestinations, IntegrationsObject, RowSwitches
from airflow_consent_retl.errors import PolicyError, Problem

_FORMATS: dict[str, type[CategorySignal]] = {
    format_.__name__: format_
    for format_ in (
        BitMask,
        BooleanColumn,
        ConsentObjectKey,
        GoogleConsent,
        GppTcf,
        GppUs,
        GrantedId,
        Literals,
        OptanonConsentGroup,
        TcfString,
    )
}
_WHOLE: dict[str, type[WholeConsent]] = {
    format_.__name__: format_ for format_ in (ConsentObject, GrantedIds, OptanonConsent)
}

_SWITCHES: dict[str, type[RowSwitches]] = {
    format_.__name__: format_ for format_ in (ExcludedDestinations, IntegrationsObject)
}
_ANSWERS: dict[str, type[FirstOf] | type[MostRestrictive]] = {
    format_.__name__: format_ for format_ in (FirstOf, MostRestrictive)
}
_ROW = RowConsent.__name__
_ROW_COLUMNS = ("time", "notice_version", "region")

MappingDocument = dict[str, Any]
T = TypeVar("T")


def mapping_document(mapping: ConsentMapping) -> MappingDocument:
    """Return the document of a checked mapping."""
    if mapping.whole is not None:
        categories = _document(mapping.whole)
    else:
        categories = {category_id: _entry_document(entry) for category_id, entry in mapping.entries}
    row: MappingDocument = {name: getattr(mapping, name) for name in _ROW_COLUMNS}
    row |= {
        "gpc": mapping.gpc and _document(mapping.gpc),
        "switches": mapping.switches and _document(mapping.switches),
        "doubts": dict(mapping.doubts),
        "suppressions": list(mapping.suppressions),
    }
    said = {name: value for name, value in row.items() if value}
    return {"format": _ROW, "categories": categories, **said} if said else categories


def parse_mapping_document(document: Mapping[str, Any]) -> ConsentMapping:
    """Read back what `mapping_document` wrote.

    Raises:
        PolicyError: a format that this version does not know, or a part that it does not take.
    """
    if document.get("format") == _ROW:
        return _row(document)
    whole = _WHOLE.get(document["format"]) if isinstance(document.get("format"), str) else None
    if whole is not None:
        return parse_consent_mapping(_made(whole, document))
    return parse_consent_mapping({category_id: _entry(entry) for category_id, entry in document.items()})


def _entry_document(entry: Answers | Recorded) -> MappingDocument:
    if isinstance(entry, Answers):
        return {"format": type(entry).__name__, "parts": [_entry_document(part) for part in entry.parts]}
    if entry.time is None and entry.notice_version is None:
        return _document(entry.signal)
    return {
        "format": Recorded.__name__,
        "signal": _document(entry.signal),
        "time": entry.time,
        "notice_version": entry.notice_version,
    }


def _document(declared: Any) -> MappingDocument:
    # Fields in the order of the class, so that one mapping has one document.
    return {"format": type(declared).__name__} | {
        field.name: getattr(declared, field.name) for field in fields(declared)
    }


def _row(document: Mapping[str, Any]) -> ConsentMapping:
    known = {"format", "categories", *_ROW_COLUMNS, "gpc", "switches", "doubts", "suppressions"}
    if not isinstance(document.get("categories"), Mapping) or not known.issuperset(document):
        raise PolicyError([Problem("consent", f"{_ROW} does not take what is written for it")])
    switches = document.get("switches")
    mapping = RowConsent(
        {"-": "-"},
        **{name: document.get(name) for name in _ROW_COLUMNS},
        switches=None if switches is None else _made(_named(_SWITCHES, switches), switches),
    )
    return replace(
        parse_mapping_document(document["categories"]),
        **{name: getattr(mapping, name) for name in (*_ROW_COLUMNS, "switches")},
        gpc=None if document.get("gpc") is None else _signal(document["gpc"]),
    ).with_elsewhere(doubts=document.get("doubts", {}), suppressions=document.get("suppressions", ()))


def _entry(entry: Any) -> CategorySignal | Recorded | FirstOf | MostRestrictive:
    format_ = entry.get("format") if isinstance(entry, Mapping) else None
    if format_ in _ANSWERS:
        return _ANSWERS[str(format_)](*map(_record, entry["parts"]))
    return _record(entry)


def _record(entry: Any) -> CategorySignal | Recorded:
    if isinstance(entry, Mapping) and entry.get("format") == Recorded.__name__:
        return Recorded(_signal(entry["signal"]), time=entry["time"], notice_version=entry["notice_version"])
    return _signal(entry)


def _signal(entry: Any) -> CategorySignal:
    return _made(_named(_FORMATS, entry), entry)


def _named(formats: Mapping[str, type[T]], entry: Any) -> type[T]:
    format_ = formats.get(str(entry.get("format"))) if isinstance(entry, Mapping) else None
    if format_ is None:
        raise PolicyError([Problem("consent", "a consent format that this version does not know")])
    return format_


def _made(format_: type[T], entry: Mapping[str, Any]) -> T:
    parameters = {name: _tuples(value) for name, value in entry.items() if name != "format"}
    try:
        return format_(**parameters)
    except TypeError:
        raise PolicyError([Problem("consent", f"{format_.__name__} does not take what is written for it")]) from None


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
