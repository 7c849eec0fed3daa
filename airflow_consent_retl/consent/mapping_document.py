"""A consent mapping as a JSON document, so that whoever asks for consent again reads it as the filter did.

    {"C0002": {"format": "BooleanColumn", "column": "analytics_ok"}}
    {"format": "ConsentObject", "column": "consent", "path": ["categoryPreferences"], "key_by": "id"}

Names columns and declared literals, and no value of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from airflow_consent_retl.consent.consent_object import ConsentObject, ConsentObjectKey
from airflow_consent_retl.consent.google import GoogleConsent
from airflow_consent_retl.consent.gpp import GppTcf, GppUs
from airflow_consent_retl.consent.granted_ids import BitMask, GrantedId, GrantedIds
from airflow_consent_retl.consent.mapping import ConsentMapping, parse_consent_mapping
from airflow_consent_retl.consent.onetrust import OptanonConsent, OptanonConsentGroup
from airflow_consent_retl.consent.signals import BooleanColumn, CategorySignal, Literals, WholeConsent
from airflow_consent_retl.consent.tcf import TcfString
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

MappingDocument = dict[str, Any]
T = TypeVar("T")


def mapping_document(mapping: ConsentMapping) -> MappingDocument:
    """Return the document of a checked mapping."""
    if mapping.whole is not None:
        return _document(mapping.whole)
    return {category_id: _document(signal) for category_id, signal in mapping.entries}


def parse_mapping_document(document: Mapping[str, Any]) -> ConsentMapping:
    """Read back what `mapping_document` wrote.

    Raises:
        PolicyError: a format that this version does not know, or a part that it does not take.
    """
    whole = _WHOLE.get(document["format"]) if isinstance(document.get("format"), str) else None
    if whole is not None:
        return parse_consent_mapping(_made(whole, document))
    return parse_consent_mapping({category_id: _signal(entry) for category_id, entry in document.items()})


def _document(declared: Any) -> MappingDocument:
    # Fields in the order of the class, so that one mapping has one document.
    return {"format": type(declared).__name__} | {
        field.name: getattr(declared, field.name) for field in fields(declared)
    }


def _signal(entry: Any) -> CategorySignal:
    format_ = _FORMATS.get(str(entry.get("format"))) if isinstance(entry, Mapping) else None
    if format_ is None:
        raise PolicyError([Problem("consent", "a consent format that this version does not know")])
    return _made(format_, entry)


def _made(format_: type[T], entry: Mapping[str, Any]) -> T:
    parameters = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entry.items() if name != "format"
    }
    try:
        return format_(**parameters)
    except TypeError:
        raise PolicyError([Problem("consent", f"{format_.__name__} does not take what is written for it")]) from None
