"""The requests to forget one person, the outcome at each destination, and the suppression itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from airflow_consent_retl.delivery.ledger.records import model_and_destination
from airflow_consent_retl.storage.forget_requests import FINAL, ForgetStatus

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_consent_retl.storage.forget_requests import ForgetRequest, ForgetRequests, ForgottenAt
    from airflow_consent_retl.storage.suppression import ForgottenList


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgottenPlace:
    """The outcome for the person at one destination.

    Args:
        sync: the sync's name.
        destination: the policy's name for the destination.
        at: when it was noted last.
        status: such as `deleted`, `exempted` or `not_found`: see `ForgetStatus`.
        reason: why the destination keeps the person, or the kind of the error that left them there.
    """

    sync: str
    destination: str
    at: datetime
    status: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """A request to forget the person.

    Args:
        at: when it was made first; a second one for the same people is the same request.
        kind: `erasure`, or `objection`: rows at rest stay until their retention.
        models: the models that it is about; None: all.
        is_complete: whether nothing is left to do for the people of the request.
        erased_at: when the rows at rest were deleted last; None: they were not, or some may be left.
        places: the destinations that were looked at.
    """

    at: datetime
    kind: Literal["erasure", "objection"]
    models: tuple[str, ...] | None
    is_complete: bool
    erased_at: datetime | None
    places: tuple[ForgottenPlace, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionEvent:
    """An act by which the person came on the suppression list, or was taken off it.

    Args:
        at: the time.
        event: `suppressed`: no filter permits the person from then on; `lifted`: their consent decides again.
        models: the models that it is about; None: all.
    """

    at: datetime
    event: Literal["suppressed", "lifted"]
    models: tuple[str, ...] | None


def recorded_requests(
    listed: ForgottenList, subject: str | int, *, model: str | None, verify: bool
) -> Iterator[RecordedRequest]:
    """Yield the requests that name a person, the earliest first.

    Args:
        listed: the suppression list of the workspace.
        subject: an id, as the models have it.
        model: only requests about this model, and its destinations.
        verify: check the signature of every request, also of those without the person.

    Raises:
        RefusedError: a document was changed.
        ConfigurationError: a request was made under a digest key that is not known.
    """
    person, requests = _digests(listed, subject), listed.requests()
    for request in requests.naming(person, key_ids=listed.key_ids, verify=verify):
        if model is None or request.is_about(model):
            yield _recorded(requests, request, person, model)


def suppressions(listed: ForgottenList, subject: str | int, *, model: str | None) -> Iterator[SuppressionEvent]:
    """Yield the acts of the suppression list about a person, the earliest first; arguments and errors as above."""
    for act in listed.acts_about(_digests(listed, subject)):
        if model is None or act.models is None or model in act.models:
            yield SuppressionEvent(
                at=act.at, event="suppressed" if act.act == "forget" else "lifted", models=act.models
            )


def _digests(listed: ForgottenList, subject: str | int) -> frozenset[str]:
    return frozenset(digest for one in listed.people([str(subject)]) for digest in one)


def _recorded(
    requests: ForgetRequests, request: ForgetRequest, person: Collection[str], model: str | None
) -> RecordedRequest:
    rest = requests.at_rest(request)
    return RecordedRequest(
        at=request.at,
        kind="erasure" if request.erase else "objection",
        models=request.models,
        is_complete=requests.is_complete(request),
        erased_at=rest.at if rest is not None and rest.is_complete else None,
        places=tuple(
            place
            for found in requests.destinations(request)
            if model in (None, model_and_destination(found.sync)[0])
            for place in _places(found, person)
        ),
    )


def _places(found: ForgottenAt, person: Collection[str]) -> Iterator[ForgottenPlace]:
    for status, people in found.people.items():
        if any(digest in person for digest in people):
            is_clear = status in FINAL and status != ForgetStatus.EXEMPTED
            yield ForgottenPlace(
                sync=found.sync,
                destination=found.destination,
                at=found.at,
                status=status,
                reason="" if is_clear else found.reason,
            )
