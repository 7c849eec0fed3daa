"""The requests that take people back, a kind for each choice of a removal, and those that set states of channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.destinations.http.json_api import document_of
from airflow_consent_retl.destinations.http.record_changes import RecordChange
from airflow_consent_retl.destinations.http.responses import answered_with, pending_after
from airflow_consent_retl.destinations.klaviyo.import_jobs import SUPPRESSION
from airflow_consent_retl.destinations.klaviyo.options import MOST_REMOVALS, MOST_SUBSCRIBED, KlaviyoSpec

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Batch
    from airflow_consent_retl.contract.outcomes import Outcomes
    from airflow_consent_retl.destinations.http.batch_steps import BatchSteps
    from airflow_consent_retl.destinations.http.channel_destination import ChannelState
    from airflow_consent_retl.destinations.http.found_records import Record

_UNSUBSCRIBED = {"subscriptions": {"email": {"marketing": {"consent": KlaviyoSpec.denied}}}}


def removal_of(options: KlaviyoSpec, batch: Batch) -> RecordChange:
    """Return the requests for the choice of the DAG."""
    list_id = options.list_id
    match options.on_withdrawal:
        case "leave_list":
            path, done = f"/api/lists/{list_id}/relationships/profiles", answered_with(204)
            return RecordChange("leave", path, _named, lambda some: {"data": some}, done, method="DELETE")
        case "suppress":
            path, job = _job("suppression-bulk-create")
            return RecordChange("suppress", path, _addressed, job, SUPPRESSION.submitted)
        case "unsubscribe":
            path, job = _job("subscription-bulk-delete", list_id)
            people = partial(_addressed, further=_UNSUBSCRIBED)
            return RecordChange("unsubscribe", path, people, job, pending_after(202, f"unsubscription:{batch.key}"))
        case _:
            path, read = "/api/data-privacy-deletion-jobs", pending_after(202, f"deletion:{batch.key}")
            return RecordChange("delete", path, _named, _deletion, read, max_rows=1)


def change_states(steps: BatchSteps, state: str, people: Sequence[ChannelState]) -> Outcomes:
    """Subscribe or unsubscribe addresses, without a list: a state is of the whole channel.

    INVARIANT: only addresses of which Klaviyo has no state are subscribed. The request deletes an opt-out.

    Each is a historical import with the person's own time: Klaviyo sends no confirmation, and no one gets two.
    """
    is_yes = state == KlaviyoSpec.granted

    def profile(one: ChannelState) -> dict[str, Any]:
        marketing = {"consent": state, **({"consented_at": one.consented_at} if is_yes else {})}
        subscriptions = {one.channel.name: {"marketing": marketing}}
        return {"type": "profile", "attributes": {one.channel.address: one.address, "subscriptions": subscriptions}}

    most = MOST_SUBSCRIBED if is_yes else MOST_REMOVALS
    path, job = _job("subscription-bulk-create", historical_import=True) if is_yes else _job("subscription-bulk-delete")
    return steps.take(path, path, [profile(one) for one in people], answered_with(202), around=job, max_rows=most)


def _named(profile: Record) -> dict[str, Any]:
    return {"type": "profile", "id": profile["id"]}


def _addressed(profile: Record, further: Record | None = None) -> dict[str, Any]:
    return {"type": "profile", "attributes": {"email": profile["email"], **(further or {})}}


def _job(kind: str, list_id: str | None = None, **how: bool) -> tuple[str, Callable[[Sequence[Any]], object]]:
    """Return the endpoint of a kind of jobs, and the maker of its documents."""
    on_list = None if list_id is None else {"type": "list", "id": list_id}

    def document(profiles: Sequence[Any]) -> object:
        return document_of(f"profile-{kind}-job", {"profiles": {"data": list(profiles)}, **how}, list=on_list)

    return f"/api/profile-{kind}-jobs", document


def _deletion(profiles: Sequence[Any]) -> dict[str, Any]:
    (profile,) = profiles
    return document_of("data-privacy-deletion-job", {"profile": {"data": {**profile, "attributes": {}}}})
