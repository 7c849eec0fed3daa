"""The decisions about one person, from the records of filter runs: each change, when it was decided, and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from airflow_consent_retl.fields.field_values import in_words
from airflow_consent_retl.storage.records.decided_state import NO_CLASS
from airflow_consent_retl.storage.records.documents import DecisionClass

if TYPE_CHECKING:
    from airflow_consent_retl.storage.records.documents import DecisionRecords, DestinationDecision
    from airflow_consent_retl.storage.records.stream import FoundRows, RecordStream
    from airflow_consent_retl.storage.records.subjects import RecordedPerson

Decided = Literal["permitted", "denied", "not_in_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionEvent:
    """A change of what is decided about the person for one destination.

    Args:
        at: when it was decided.
        model: the model.
        destination: the policy's name for the destination.
        decision: what holds from then on. `not_in_model`: the model has no row of the person any more.
        before: what held before. `not_in_model`: the person was seen for the first time, or again.
        reasons: the codes of a denial.
        withheld: what a permitted person's row goes without: fields, and `a yes to C0004` where it tells the answer.
        policy_digest: of the policy under which it was decided.
        policy_source: where that policy was read.
        data_time: the time that the model's rows stand for.
        run: the number of the run among those of the model and its destinations.
    """

    at: datetime
    model: str
    destination: str
    decision: Decided
    before: Decided
    reasons: tuple[str, ...]
    withheld: tuple[str, ...]
    policy_digest: str
    policy_source: str
    data_time: datetime
    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRuns:
    """The runs that decided about everyone of a model, for some destinations, whether the person is among them or not.

    Args:
        model: the model.
        destinations: for which they decided.
        runs: their number.
        first_at: when the first one decided: what was before is not recorded.
        last_at: when the last one decided: until then, what the events say holds.
        last_policy_digest: of the policy of the last one.
        people: about how many people the last one decided.
    """

    model: str
    destinations: tuple[str, ...]
    runs: int
    first_at: datetime
    last_at: datetime
    last_policy_digest: str
    people: int


def recorded_decisions(
    stream: RecordStream[DecisionRecords], person: RecordedPerson, *, verify: bool
) -> Iterator[DecisionEvent]:
    """Yield the changes of what is decided about a person, in the order of the runs.

    Args:
        stream: of one model and its destinations.
        person: to look up.
        verify: as for `RecordStream.find`.

    Raises:
        RefusedError, ConfigurationError: as `RecordStream.find`.
    """
    for found in stream.find(person, verify=verify):
        classes = stream.details(found.document.classes, DecisionClass)
        for row in found.rows:
            now, before = (_decisions(classes, row[name]) for name in ("decision", "before"))
            for destination in found.document.destinations:
                one, earlier = now.get(destination), before.get(destination)
                if one != earlier:
                    yield _event(found, destination, one, earlier)


def recorded_runs(stream: RecordStream[DecisionRecords]) -> RecordedRuns | None:
    """Return the runs that wrote the records of a stream; None without any."""
    names = stream.names()
    if not names:
        return None
    first, last = stream.read(names[0]), stream.read(names[-1])
    return RecordedRuns(
        model=last.model,
        destinations=last.destinations,
        runs=last.number,
        first_at=first.decided_at,
        last_at=last.decided_at,
        last_policy_digest=last.policy_digest,
        people=last.people,
    )


def _decisions(classes: list[DecisionClass], number: int) -> dict[str, DestinationDecision]:
    return {} if number == NO_CLASS else classes[number].destinations


def _event(
    found: FoundRows[DecisionRecords],
    destination: str,
    now: DestinationDecision | None,
    before: DestinationDecision | None,
) -> DecisionEvent:
    records = found.document
    return DecisionEvent(
        at=records.decided_at,
        model=records.model,
        destination=destination,
        decision=_decided(now),
        before=_decided(before),
        reasons=() if now is None else now.reasons,
        withheld=() if now is None else tuple(map(in_words, now.withheld)),
        policy_digest=records.policy_digest,
        policy_source=records.policy_source,
        data_time=records.data_time,
        run=records.number,
    )


def _decided(decision: DestinationDecision | None) -> Decided:
    if decision is None:
        return "not_in_model"
    return "permitted" if decision.permitted else "denied"
