"""The answers of Braze: the objects that it refused, by their index, beside a success."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.contract.outcomes import UNNAMED_CODE, UNREADABLE_ANSWER, Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.braze.opt_outs import of_success
from airflow_consent_retl.destinations.http.answer_maps import MISSING, by_index, entries
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.responses import (
    ACCEPTED,
    UnreadableAnswerError,
    is_integer,
    json_object,
    number_in,
    of_document,
)

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.responses import SentRows

INVALID_VALUE: Final = "invalid_value"

_NAMED = re.compile(r"(?:[Tt]he '([^']{1,100})' field|^'([^']{1,100})' must)")


def ask_again(answer: Answer) -> None:
    """Raise for an answer that asks to wait until the vendor's window of the clock ends.

    Raises:
        AttemptError: the workspace's requests are used up.
    """
    if answer.status != 429:
        return
    reset = number_in(answer, "x-ratelimit-reset")
    wait_s = answer.retry_after_s if reset is None else max(0.0, int(str(reset)[:10]) - time.time())
    raise AttemptError("http_429", maybe_applied=False, retry_after_s=wait_s)


def outcomes_of_tracking(answer: Answer, sent: SentRows, fields: Sequence[str]) -> Outcomes | None:
    """Return the outcome of each object of `/users/track`; None for a refusal that names none.

    Args:
        answer: with a success, which may name refused objects, or with a refusal.
        sent: the objects.
        fields: the load's fields, of which an error may name one.
    """
    refused = answer.status >= 400
    try:
        document = json_object(answer.body)
        errors = entries(document, "errors")
    except UnreadableAnswerError:
        return None
    if refused and not errors:
        return None
    if not refused and document.get("message") != "success":
        return Outcomes.uncertain(len(sent), UNREADABLE_ANSWER)
    # One object may have several errors: the first one counts. An error about nothing that was sent is about any of it.
    first: dict[object, dict[str, Any]] = {}
    for one in errors:
        first.setdefault(one.get("index"), one if one.get("input_array") == "attributes" else {})
    others = Outcome(RowStatus.REJECTED, f"http_{answer.status}") if refused else ACCEPTED
    outcomes = by_index(first.values(), sent, lambda one, _: _refusal(one, fields), others=others)
    if refused and outcomes.common.status is RowStatus.UNCERTAIN:
        # It refused the request, for a reason that is about no object.
        return None
    queued = document.get("attributes_processed")
    accepted = [row for row, one in enumerate(outcomes) if one == ACCEPTED]
    if accepted and queued is not None and queued != len(accepted):
        return Outcomes(len(sent), MISSING, {row: one for row, one in enumerate(outcomes) if one != ACCEPTED})
    return outcomes


def _refusal(error: Mapping[str, Any], fields: Sequence[str]) -> Outcome:
    text = error.get("type")
    found = _NAMED.search(text) if isinstance(text, str) else None
    name = (found[1] or found[2]) if found else ""
    return Outcome(RowStatus.REJECTED, *((INVALID_VALUE, name) if name in fields else (UNNAMED_CODE,)))


def outcomes_of_deletion(answer: Answer, sent: SentRows) -> Outcomes | None:
    """Return that every user is deleted, where the answer has their number: Braze does not count unknown ones."""

    def read(document: dict[str, Any]) -> Outcomes:
        deleted: Any = document.get("deleted")
        if not is_integer(deleted) or not 0 <= deleted <= len(sent):
            raise UnreadableAnswerError
        return Outcomes.accepted(len(sent))

    return of_document(answer, sent, read)


def outcomes_of_states(answer: Answer, sent: SentRows) -> Outcomes | None:
    """Return that the states of all users are set, where the answer is a success without an error."""

    def read(document: dict[str, Any]) -> Outcomes:
        if document.get("errors"):
            raise UnreadableAnswerError
        return Outcomes.accepted(len(sent))

    return of_success(answer, sent, read)
