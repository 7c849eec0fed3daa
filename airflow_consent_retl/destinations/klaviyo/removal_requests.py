"""The requests that take people back: a kind for each choice of a removal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.json_api import document_of
from airflow_consent_retl.destinations.http.record_changes import RecordChange
from airflow_consent_retl.destinations.http.responses import answered_with
from airflow_consent_retl.destinations.klaviyo.import_jobs import SUPPRESSION

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Batch
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.found_records import Record
    from airflow_consent_retl.destinations.http.responses import SentRows
    from airflow_consent_retl.destinations.klaviyo.options import KlaviyoSpec

_UNSUBSCRIBED = {"subscriptions": {"email": {"marketing": {"consent": "UNSUBSCRIBED"}}}}


def removal_of(options: KlaviyoSpec, batch: Batch) -> RecordChange:
    """Return the requests for the choice of the DAG."""
    list_id = options.list_id
    match options.on_withdrawal:
        case "leave_list":
            path, done = f"/api/lists/{list_id}/relationships/profiles", answered_with(204)
            return RecordChange("leave", path, _named, lambda some: {"data": some}, done, method="DELETE")
        case "suppress":
            path, job = "/api/profile-suppression-bulk-create-jobs", partial(_job, "suppression-bulk-create", None)
            return RecordChange("suppress", path, _addressed, job, SUPPRESSION.submitted)
        case "unsubscribe":
            path, job = "/api/profile-subscription-bulk-delete-jobs", partial(_job, "subscription-bulk-delete", list_id)
            people = partial(_addressed, further=_UNSUBSCRIBED)
            return RecordChange("unsubscribe", path, people, job, _pending_under("unsubscription", batch))
        case _:
            path, read = "/api/data-privacy-deletion-jobs", _pending_under("deletion", batch)
            return RecordChange("delete", path, _named, _deletion, read, max_rows=1)


def _named(profile: Record) -> dict[str, Any]:
    return {"type": "profile", "id": profile["id"]}


def _addressed(profile: Record, further: Record | None = None) -> dict[str, Any]:
    return {"type": "profile", "attributes": {"email": profile["email"], **(further or {})}}


def _job(kind: str, list_id: str | None, profiles: Sequence[Any]) -> dict[str, Any]:
    on_list = None if list_id is None else {"type": "list", "id": list_id}
    return document_of(f"profile-{kind}-job", {"profiles": {"data": list(profiles)}}, list=on_list)


def _deletion(profiles: Sequence[Any]) -> dict[str, Any]:
    (profile,) = profiles
    return document_of("data-privacy-deletion-job", {"profile": {"data": {**profile, "attributes": {}}}})


def _pending_under(kind: str, batch: Batch) -> Callable[[Answer, SentRows], Outcomes | None]:
    """Return the reader of answers to requests that are done later, without a job of Klaviyo's to ask about."""

    def read(answer: Answer, sent: SentRows) -> Outcomes | None:
        return Outcomes(len(sent), Outcome(RowStatus.PENDING, f"{kind}:{batch.key}")) if answer.status == 202 else None

    return read
