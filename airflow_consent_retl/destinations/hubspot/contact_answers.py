"""The answers of HubSpot's batch endpoints: one outcome for each input, by its trace id or its identifier."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.destinations.http.answer_maps import Entry, by_question, by_trace, entries, rejected_by
from airflow_consent_retl.destinations.http.batch_answers import BatchAnswers, texts_at
from airflow_consent_retl.destinations.http.responses import SentRows, UnreadableAnswerError
from airflow_consent_retl.destinations.http.text_values import folded
from airflow_consent_retl.destinations.hubspot.contacts import EMAIL, TRACE

if TYPE_CHECKING:
    from airflow_consent_retl.contract.outcomes import Outcomes
    from airflow_consent_retl.destinations.http.client import Answer

CATEGORIES: Final = frozenset(
    {"CONFLICT", "FORBIDDEN", "OBJECT_ALREADY_EXISTS", "OBJECT_NOT_FOUND", "VALIDATION_ERROR"}
)
BATCH: Final = BatchAnswers(
    refusal="category", refusals=CATEGORIES, state="status", done="COMPLETE", later={"PENDING", "PROCESSING"}
)


def outcomes_by_trace(answer: Answer, sent: SentRows, *, fields: Sequence[str] = ()) -> Outcomes | None:
    """Return the outcome of each input of an upsert or update, by its trace id, else by its unique property.

    Args:
        answer: with status 200, 207, or a refusal, which names no row.
        sent: the inputs.
        fields: the load's fields, of which an error may name one.
    """

    def read(document: dict[str, Any]) -> Outcomes:
        return by_trace(
            entries(document, "results"),
            entries(document, "errors"),
            sent,
            rejected_by("category", named=_properties, among=fields),
            trace=TRACE,
            identity=lambda one: (one.get("idProperty", ""), folded(one["id"], str(one.get("idProperty")))),
            identities=_identities,
            traces_of=lambda error: texts_at(error, "context", TRACE),
        )

    return BATCH.of(answer, sent, read)


def outcomes_of_reading(
    answer: Answer, sent: SentRows, found: dict[str, Entry], *, id_property: str
) -> Outcomes | None:
    """Return for each identifier of a batch read whether HubSpot has the contact (accepted) or not (`not_found`)."""

    def names_of(contact: Entry) -> Iterable[object]:
        # HubSpot finds a contact by its further e-mail addresses too.
        properties = contact.get("properties")
        if not isinstance(properties, dict) or not isinstance(contact.get("id"), str):
            raise UnreadableAnswerError
        others = str(properties.get("hs_additional_emails") or "").split(";") if id_property == EMAIL else []
        return [properties.get(id_property) or "", *others]

    def read(document: dict[str, Any]) -> Outcomes:
        errors = [error for error in entries(document, "errors") if error.get("category") == "OBJECT_NOT_FOUND"]
        missing = [text for error in errors for text in texts_at(error, "context", "ids")]
        contacts = entries(document, "results")
        return by_question(
            contacts, missing, sent, found, names_of=names_of, fold=lambda text: folded(text, id_property)
        )

    return BATCH.of(answer, sent, read)


def _identities(result: Entry) -> list[object]:
    properties = result.get("properties")
    pairs = properties.items() if isinstance(properties, dict) else ()
    return [*((name, folded(text, name)) for name, text in pairs), ("", str(result.get("id")))]


def _properties(error: Entry) -> list[object]:
    """Return the properties that an error, or a part of it, may be about."""
    parts = [error, *entries(error, "errors")]
    return [text for part in parts for text in [*texts_at(part, "context", "propertyName"), part.get("in")]]
