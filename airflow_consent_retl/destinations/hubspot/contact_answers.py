"""The answers of HubSpot's batch endpoints: one outcome for each input, by its trace id or its identifier.

Rows are never counted: a row that no entry names is uncertain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.contract.outcomes import (
    NOT_IN_ANSWER,
    UNREADABLE_ANSWER,
    Outcome,
    Outcomes,
    RowStatus,
    vendor_code,
)
from airflow_consent_retl.destinations.http.responses import (
    ACCEPTED,
    LATER,
    SentRows,
    UnreadableAnswerError,
    json_object,
)
from airflow_consent_retl.destinations.hubspot.contacts import folded_if

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.client import Answer

NOT_FOUND = Outcome(RowStatus.REJECTED, "not_found")

_UNNAMED = Outcome(RowStatus.UNCERTAIN, NOT_IN_ANSWER)


def outcomes_by_trace(answer: Answer, sent: SentRows, *, fields: Sequence[str] = ()) -> Outcomes | None:
    """Return the outcome of each input of an upsert or update, by its trace id, else by its unique property.

    Args:
        answer: with status 200, 207, or a refusal, which names no row.
        sent: the inputs.
        fields: the load's fields, of which an error may name one.
    """
    document = complete_answer(answer)
    if document is None:
        return None
    if isinstance(document, Outcome):
        return Outcomes(len(sent), document)
    rows = {str(sent[row]["objectWriteTraceId"]): row for row in range(len(sent))}
    by_id = {_identity(sent[row]): row for row in range(len(sent))}
    named: dict[int, Outcome] = {}
    try:
        for error in objects_of(document, "errors"):
            for trace in _texts(error, "objectWriteTraceId"):
                _put(named, rows.get(trace), _refusal(error, sent, rows.get(trace), fields))
        for result in objects_of(document, "results"):
            given = result.get("objectWriteTraceId")
            row = rows.get(str(given)) if given is not None else _row_of_result(result, by_id)
            _put(named, row, ACCEPTED)
    except UnreadableAnswerError:
        return Outcomes.uncertain(len(sent), UNREADABLE_ANSWER)
    return Outcomes(len(sent), _UNNAMED, named)


def outcomes_of_reading(
    answer: Answer, sent: SentRows, found: dict[str, dict[str, Any]], *, id_property: str
) -> Outcomes | None:
    """Return for each input of a batch read whether HubSpot has the contact (accepted) or not (`not_found`).

    Args:
        answer: as above.
        sent: the inputs.
        found: filled in with the contacts, by the identifier that was sent.
        id_property: the unique property.
    """
    document = complete_answer(answer)
    if document is None:
        return None
    if isinstance(document, Outcome):
        return Outcomes(len(sent), document)
    fold = id_property == "email"
    rows = {folded_if(str(sent[row]["id"]), fold=fold): row for row in range(len(sent))}
    named: dict[int, Outcome] = {}
    try:
        for error in objects_of(document, "errors"):
            if error.get("category") == "OBJECT_NOT_FOUND":
                for text in _texts(error, "ids"):
                    _put(named, rows.get(folded_if(text, fold=fold)), NOT_FOUND)
        for result in objects_of(document, "results"):
            matches = {rows[key] for key in _identifiers(result, id_property) if key in rows}
            if not matches:
                raise UnreadableAnswerError
            for row in matches:
                _put(named, row, ACCEPTED)
                found[str(sent[row]["id"])] = result
    except UnreadableAnswerError:
        return Outcomes.uncertain(len(sent), UNREADABLE_ANSWER)
    return Outcomes(len(sent), _UNNAMED, named)


def _identifiers(contact: Mapping[str, Any], id_property: str) -> set[str]:
    """Return the identifiers by which HubSpot finds a contact: it may have further e-mail addresses."""
    properties = contact.get("properties")
    if not isinstance(properties, dict) or not isinstance(contact.get("id"), str):
        raise UnreadableAnswerError
    texts = [str(properties.get(id_property) or "")]
    if id_property != "email":
        return set(texts)
    texts += str(properties.get("hs_additional_emails") or "").split(";")
    return {text.casefold() for text in texts}


def objects_of(document: Mapping[str, Any], field: str) -> list[dict[str, Any]]:
    """Return a list of objects of an answer; empty where it has none.

    Raises:
        UnreadableAnswerError: the field is something else.
    """
    objects = document.get(field) or []
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        raise UnreadableAnswerError
    return objects


def complete_answer(answer: Answer) -> dict[str, Any] | Outcome | None:
    """Return the document of a batch's answer, an outcome for all of its rows, or None for a refusal of the whole."""
    if answer.status >= 400:
        return None
    try:
        document = json_object(answer.body)
    except UnreadableAnswerError:
        return Outcome(RowStatus.UNCERTAIN, UNREADABLE_ANSWER)
    if document.get("status") == "COMPLETE":
        return document
    pending = document.get("status") in {"PENDING", "PROCESSING"}
    return Outcome(RowStatus.UNCERTAIN, LATER if pending else UNREADABLE_ANSWER)


def _put(named: dict[int, Outcome], row: int | None, outcome: Outcome) -> None:
    if row is None or named.get(row, outcome) != outcome:
        raise UnreadableAnswerError
    named[row] = outcome


def _refusal(error: Mapping[str, Any], sent: SentRows, row: int | None, fields: Sequence[str]) -> Outcome:
    values: list[object] = []
    if row is not None:
        one = sent[row]
        properties = one["properties"]
        values = [one["id"], *(properties.values() if isinstance(properties, dict) else ())]
    named = [
        *_texts(error, "propertyName"),
        *(text for detail in objects_of(error, "errors") for text in _detail(detail)),
    ]
    field = next((name for name in named if name in fields), "")
    return Outcome(RowStatus.REJECTED, vendor_code(error.get("category"), row_values=values), field)


def _detail(detail: Mapping[str, Any]) -> list[str]:
    name = detail.get("in")
    return [*_texts(detail, "propertyName"), *([name] if isinstance(name, str) else [])]


def _texts(error: Mapping[str, Any], name: str) -> list[str]:
    context = error.get("context") or {}
    texts = context.get(name, []) if isinstance(context, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UnreadableAnswerError
    return texts


def _row_of_result(result: Mapping[str, Any], rows: Mapping[tuple[str, str], int]) -> int | None:
    properties = result.get("properties")
    if not isinstance(properties, dict):
        return None
    pairs = {(str(name), str(text)) for name, text in properties.items()} | {("", str(result.get("id")))}
    matches = {rows[pair] for pair in {*pairs, *((n, t.casefold()) for n, t in pairs if n == "email")} if pair in rows}
    return matches.pop() if len(matches) == 1 else None


def _identity(one: Mapping[str, object]) -> tuple[str, str]:
    name = str(one.get("idProperty", ""))
    return name, folded_if(str(one["id"]), fold=name == "email")
