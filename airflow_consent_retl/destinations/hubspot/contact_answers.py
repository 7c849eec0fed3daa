"""The answers of HubSpot's batch endpoints: one outcome for each input, by its trace id or its identifier."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus, vendor_code
from airflow_consent_retl.destinations.http.answer_maps import Entry, by_question, by_trace, entries
from airflow_consent_retl.destinations.http.responses import (
    LATER,
    SentRows,
    UnreadableAnswerError,
    of_document,
    of_kind,
    stated,
)
from airflow_consent_retl.destinations.http.text_values import folded
from airflow_consent_retl.destinations.hubspot.contacts import EMAIL, TRACE

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.client import Answer

CATEGORIES: Final = frozenset(
    {"CONFLICT", "FORBIDDEN", "OBJECT_ALREADY_EXISTS", "OBJECT_NOT_FOUND", "VALIDATION_ERROR"}
)


def of_batch(answer: Answer, sent: SentRows, read: Callable[[dict[str, Any]], Outcomes]) -> Outcomes | None:
    """Return the outcomes that `read` makes of a complete answer; None for a refusal of the whole."""
    category = stated(answer, "category")
    if answer.status >= 400 and isinstance(category, str) and category in CATEGORIES:
        # The whole batch is refused, and nothing of it applied.
        return Outcomes.rejected(len(sent), category)

    def of_any(document: dict[str, Any]) -> Outcomes:
        if document.get("status") in {"PENDING", "PROCESSING"}:
            return Outcomes.uncertain(len(sent), LATER)
        if document.get("status") != "COMPLETE":
            raise UnreadableAnswerError
        return read(document)

    return of_document(answer, sent, of_any)


def outcomes_by_trace(answer: Answer, sent: SentRows, *, fields: Sequence[str] = ()) -> Outcomes | None:
    """Return the outcome of each input of an upsert or update, by its trace id, else by its unique property.

    Args:
        answer: with status 200, 207, or a refusal, which names no row.
        sent: the inputs.
        fields: the load's fields, of which an error may name one.
    """

    def refused(error: Entry, one: Mapping[str, object]) -> Outcome:
        properties = one["properties"]
        values = [one["id"], *(properties.values() if isinstance(properties, dict) else ())]
        parts = [error, *entries(error, "errors")]
        named = [text for part in parts for text in [*_texts(part, "propertyName"), part.get("in")]]
        field = next((text for text in named if isinstance(text, str) and text in fields), "")
        return Outcome(RowStatus.REJECTED, vendor_code(error.get("category"), row_values=values), field)

    def read(document: dict[str, Any]) -> Outcomes:
        # An error may be about several inputs. One that names none leaves its row without a name.
        errors = [{**one, TRACE: trace} for one in entries(document, "errors") for trace in _texts(one, TRACE)]
        return by_trace(
            entries(document, "results"),
            errors,
            sent,
            refused,
            trace=TRACE,
            identity=lambda one: (one.get("idProperty", ""), folded(one["id"], str(one.get("idProperty")))),
            identities=_identities,
        )

    return of_batch(answer, sent, read)


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
        missing = [text for error in errors for text in _texts(error, "ids")]
        contacts = entries(document, "results")
        return by_question(
            contacts, missing, sent, found, names_of=names_of, fold=lambda text: folded(text, id_property)
        )

    return of_batch(answer, sent, read)


def _identities(result: Entry) -> list[object]:
    properties = result.get("properties")
    pairs = properties.items() if isinstance(properties, dict) else ()
    return [*((name, folded(text, name)) for name, text in pairs), ("", str(result.get("id")))]


def _texts(error: Entry, name: str) -> list[str]:
    texts = of_kind(of_kind(error.get("context") or {}, dict).get(name, []), list)
    return [of_kind(text, str) for text in texts]
