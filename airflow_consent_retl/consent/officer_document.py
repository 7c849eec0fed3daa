"""The officer's part of a checked policy as a document that the policy's reader can read again."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.mapping_documents import mapping_document
from airflow_consent_retl.consent.sources import source_document

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_consent_retl.consent.officer import DestinationTerms, ModelTerms, OfficerPart
    from airflow_consent_retl.consent.sources import ExternalConsent

_OfficerDocument = dict[str, Any]


def officer_document(part: OfficerPart) -> _OfficerDocument:
    """Return a document with the same meaning; what the policy does not declare is left out."""
    document: _OfficerDocument = {
        "models": {name: _model(terms) for name, terms in part.models},
        "connections": {name: _model(terms) for name, terms in part.connections},
        "suppression_lists": _sources(part.suppression_lists),
        "destinations": {str(name): _destination(terms) for name, terms in part.destinations},
        "undeclared_models": None if part.undeclared_models == "permit" else part.undeclared_models,
        "unmapped_names": part.unmapped_names,
        "retention": {
            kind: _present({"max_age": kept.max_age and str(kept.max_age), "number": kept.number})
            for kind, kept in part.retention.declared
        },
    }
    return {name: value for name, value in document.items() if value} | (
        {} if part.no_assessment_in is None else {"no_assessment_in": list(part.no_assessment_in)}
    )


def _model(terms: ModelTerms) -> _OfficerDocument:
    return _present(
        {
            "connection": terms.connection,
            "primary_key": terms.primary_key,
            "sql": terms.sql,
            "current_consent_sql": terms.current_consent_sql,
            "hook_params": None if terms.hook_params is None else json.loads(terms.hook_params),
            "consent": None if terms.consent is None else mapping_document(terms.consent),
            "consent_sources": _sources(terms.sources) or None,
        }
    )


def _destination(terms: DestinationTerms) -> _OfficerDocument:
    document = {one.name: getattr(terms, one.name) for one in fields(terms)}
    if terms.parameters is not None:
        document["parameters"] = dict(terms.parameters)
    if terms.fields is not None:
        named = {field: column for field, column in terms.fields if field is not None}
        document["fields"] = named or [column for _, column in terms.fields]
    return _present(document)


def _sources(sources: Iterable[ExternalConsent]) -> list[_OfficerDocument]:
    return [source_document(source) for source in sources]


def _present(document: _OfficerDocument) -> _OfficerDocument:
    return {name: value for name, value in document.items() if value is not None}
