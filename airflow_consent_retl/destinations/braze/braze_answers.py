"""The answers of Braze: the objects that it refused, by their index, beside a success."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.contract.outcomes import UNNAMED_CODE, Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.answer_maps import entries, errors_beside
from airflow_consent_retl.destinations.http.responses import UnreadableAnswerError, of_any_status

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.responses import SentRows

INVALID_VALUE: Final = "invalid_value"

_NAMED = re.compile(r"(?:[Tt]he '([^']{1,100})' field|^'([^']{1,100})' must)")


def outcomes_of_tracking(answer: Answer, sent: SentRows, fields: Sequence[str]) -> Outcomes | None:
    """Return the outcome of each object of `/users/track`; None for a refusal that names none.

    Args:
        answer: with a success, which may name refused objects, or with a refusal.
        sent: the objects.
        fields: the load's fields, of which an error may name one.
    """

    def refused(error: Mapping[str, Any], _: Mapping[str, object]) -> Outcome:
        found = _NAMED.search(str(error.get("type")))
        name = (found[1] or found[2]) if found else ""
        return Outcome(RowStatus.REJECTED, *((INVALID_VALUE, name) if name in fields else (UNNAMED_CODE,)))

    def read(document: dict[str, Any]) -> Outcomes | None:
        if answer.status < 400 and document.get("message") != "success":
            raise UnreadableAnswerError
        errors = [one if one.get("input_array") == "attributes" else {} for one in entries(document, "errors")]
        queued = document.get("attributes_processed")
        return errors_beside(errors, sent, refused, status=answer.status, accepted_count=queued)

    return of_any_status(answer, read)
