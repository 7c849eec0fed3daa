"""The documents of removals, and the reading of their answers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Batch
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.responses import SentRows


def done(answer: Answer, sent: SentRows) -> Outcomes | None:
    """Return the outcomes of a request that is done when it is answered."""
    return Outcomes.accepted(len(sent)) if answer.status == 204 else None


def pending_under(kind: str, batch: Batch) -> Callable[[Answer, SentRows], Outcomes | None]:
    """Return the reader of answers to requests that are done later, without a job of Klaviyo's to ask about."""

    def read(answer: Answer, sent: SentRows) -> Outcomes | None:
        return Outcomes(len(sent), Outcome(RowStatus.PENDING, f"{kind}:{batch.key}")) if answer.status == 202 else None

    return read


def job_of(kind: str, list_id: str | None, profiles: Sequence[Any]) -> dict[str, Any]:
    """Return the document of a job about profiles, perhaps on a list."""
    job: dict[str, Any] = {"type": kind, "attributes": {"profiles": {"data": list(profiles)}}}
    if list_id is not None:
        job["relationships"] = {"list": {"data": {"type": "list", "id": list_id}}}
    return {"data": job}


def deletion_of(profiles: Sequence[Any]) -> dict[str, Any]:
    """Return the document of a privacy deletion, which takes one profile."""
    (profile,) = profiles
    attributes = {"profile": {"data": {**profile, "attributes": {}}}}
    return {"data": {"type": "data-privacy-deletion-job", "attributes": attributes}}
