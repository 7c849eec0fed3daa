"""The answers of HubSpot's batch endpoints: one outcome for each input, by its trace id or its identifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.contract.outcomes import UNREADABLE_ANSWER, Outcome, Outcomes, RowStatus, vendor_code
from airflow_consent_retl.destinations.http.answer_maps import Entry, accepted, by_value, entries, joined
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.responses import LATER, SentRows, UnreadableAnswerError, json_object
from airflow_consent_retl.destinations.hubspot.contacts import EMAIL, folded

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.client import Answer

NOT_FOUND: Final = Outcome(RowStatus.REJECTED, "not_found")
CATEGORIES: Final = frozenset(
    {"CONFLICT", "FORBIDDEN", "OBJECT_ALREADY_EXISTS", "OBJECT_NOT_FOUND", "VALIDATION_ERROR"}
)

# A record is locked by another request, or the account is moved to another data centre.
_LOCKED: Final = {423: 2.0, 477: 60.0}
_INTERVAL_S: Final = 10.0
_DAILY_S: Final = 3600.0


def ask_again(answer: Answer) -> None:
    """Raise for an answer that asks for another try, with the time to wait: HubSpot rarely names it.

    Raises:
        AttemptError: the account's requests of ten seconds or of the day are used up, or records are locked.
    """
    if answer.status in _LOCKED:
        wait_s = _LOCKED[answer.status] if answer.retry_after_s is None else answer.retry_after_s
        raise AttemptError(f"http_{answer.status}", maybe_applied=False, retry_after_s=wait_s)
    if answer.status != 429:
        return
    try:
        policy = json_object(answer.body).get("policyName")
    except UnreadableAnswerError:
        policy = None
    if policy == "DAILY":
        # The day ends at midnight in the account's time zone, which no answer names.
        words = "the account's requests of today are used up"
        raise AttemptError("daily_limit", maybe_applied=False, retry_after_s=_DAILY_S, words=words)
    interval = answer.headers.get("x-hubspot-ratelimit-interval-milliseconds", "")
    wait_s = int(interval) / 1000 if interval.isascii() and interval.isdigit() else _INTERVAL_S
    raise AttemptError("http_429", maybe_applied=False, retry_after_s=max(answer.retry_after_s or 0.0, wait_s))


def inputs_body(inputs: Sequence[Any]) -> object:
    """Return the document of a request with these inputs."""
    return {"inputs": inputs}


def of_batch(answer: Answer, sent: SentRows, read: Callable[[dict[str, Any]], Outcomes]) -> Outcomes | None:
    """Return the outcomes that `read` makes of a complete answer; None for a refusal of the whole."""
    try:
        document = json_object(answer.body)
        if answer.status >= 400:
            # The whole batch is refused, and nothing of it applied.
            category = document.get("category")
            return Outcomes.rejected(len(sent), category) if category in CATEGORIES else None
        status = document.get("status")
        if status in {"PENDING", "PROCESSING"}:
            return Outcomes.uncertain(len(sent), LATER)
        if status == "COMPLETE":
            return read(document)
    except UnreadableAnswerError:
        if answer.status >= 400:
            return None
    return Outcomes.uncertain(len(sent), UNREADABLE_ANSWER)


def outcomes_by_trace(answer: Answer, sent: SentRows, *, fields: Sequence[str] = ()) -> Outcomes | None:
    """Return the outcome of each input of an upsert or update, by its trace id, else by its unique property.

    Args:
        answer: with status 200, 207, or a refusal, which names no row.
        sent: the inputs.
        fields: the load's fields, of which an error may name one.
    """
    traces = {identity(sent[row]): sent[row]["objectWriteTraceId"] for row in range(len(sent))}

    def of_result(result: Entry) -> object:
        given = result.get("objectWriteTraceId")
        return given if given is not None else _trace_by_identity(result, traces)

    def read(document: dict[str, Any]) -> Outcomes:
        # An error may be about several inputs. One that names none leaves its row without a name.
        errors = [
            {**error, "trace": trace}
            for error in entries(document, "errors")
            for trace in _texts(error, "objectWriteTraceId")
        ]
        return joined(
            by_value(errors, sent, _refusal_in(fields), sent_as=_trace, named_as=lambda one: one["trace"]),
            by_value(entries(document, "results"), sent, accepted, sent_as=_trace, named_as=of_result),
        )

    return of_batch(answer, sent, read)


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
    asked = {folded(sent[row]["id"], id_property): str(sent[row]["id"]) for row in range(len(sent))}

    def sent_as(row: Mapping[str, object]) -> object:
        return row["id"]

    def read(document: dict[str, Any]) -> Outcomes:
        errors = [error for error in entries(document, "errors") if error.get("category") == "OBJECT_NOT_FOUND"]
        missing = [{"id": asked.get(folded(text, id_property))} for error in errors for text in _texts(error, "ids")]
        contacts: list[dict[str, Any]] = [
            {"id": asked.get(text), "contact": contact}
            for contact in entries(document, "results")
            for text in _identifiers(contact, id_property) & asked.keys() or {""}
        ]
        outcomes = joined(
            by_value(missing, sent, lambda *_: NOT_FOUND, sent_as=sent_as, named_as=lambda one: one["id"]),
            by_value(contacts, sent, accepted, sent_as=sent_as, named_as=lambda one: one["id"]),
        )
        found.update({one["id"]: one["contact"] for one in contacts if one["id"] is not None})
        return outcomes

    return of_batch(answer, sent, read)


def identity(one: Mapping[str, object]) -> tuple[str, str]:
    """Return the unique property of an input, and its value; without one, the record."""
    name = str(one.get("idProperty", ""))
    return name, folded(one["id"], name)


def _identifiers(contact: Entry, id_property: str) -> set[str]:
    """Return the identifiers by which HubSpot finds a contact: it may have further e-mail addresses."""
    properties = contact.get("properties")
    if not isinstance(properties, dict) or not isinstance(contact.get("id"), str):
        raise UnreadableAnswerError
    texts = [properties.get(id_property) or ""]
    if id_property == EMAIL:
        texts += str(properties.get("hs_additional_emails") or "").split(";")
    return {folded(text, id_property) for text in texts}


def _trace_by_identity(result: Entry, traces: Mapping[tuple[str, str], object]) -> object:
    properties = result.get("properties")
    pairs = {(name, folded(text, name)) for name, text in properties.items()} if isinstance(properties, dict) else set()
    matches = {traces[pair] for pair in {*pairs, ("", str(result.get("id")))} if pair in traces}
    return matches.pop() if len(matches) == 1 else None


def _refusal_in(fields: Sequence[str]) -> Callable[[Entry, Mapping[str, object]], Outcome]:
    def refusal(error: Entry, one: Mapping[str, object]) -> Outcome:
        properties = one["properties"]
        values = [one["id"], *(properties.values() if isinstance(properties, dict) else ())]
        parts = [error, *entries(error, "errors")]
        named = [text for part in parts for text in [*_texts(part, "propertyName"), part.get("in")]]
        field = next((text for text in named if isinstance(text, str) and text in fields), "")
        return Outcome(RowStatus.REJECTED, vendor_code(error.get("category"), row_values=values), field)

    return refusal


def _texts(error: Entry, name: str) -> list[str]:
    context = error.get("context") or {}
    texts = context.get(name, []) if isinstance(context, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UnreadableAnswerError
    return texts


def _trace(row: Mapping[str, object]) -> object:
    return row["objectWriteTraceId"]
