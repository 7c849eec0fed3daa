"""The facet of this package in OpenLineage's events of a run: its outcome in counts and digests.

Its schema is a file next to this module. A released schema never changes: a new form gets a new file.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field
from openlineage.client.facet_v2 import RunFacet

if TYPE_CHECKING:
    from airflow_consent_retl.signals.outcome import SyncOutcome

KEY: Final = "consentRetl_outcome"
_REPOSITORY: Final = "https://github.com/airflow-consent-retl/airflow-consent-retl"
# The release in which the schema was published: it is found there for ever.
SCHEMA: Final = (
    "https://raw.githubusercontent.com/airflow-consent-retl/airflow-consent-retl/v0.1.0/airflow_consent_retl/signals/"
    "ConsentRetlOutcomeRunFacet.json#/$defs/ConsentRetlOutcomeRunFacet"
)


@define
class ConsentRetlOutcomeRunFacet(RunFacet):
    """The work of a task: see `ConsentRetlOutcomeRunFacet.json`."""

    stage: str
    model: str
    # None is left out of the event.
    policyDigest: str | None = None  # noqa: N815 - OpenLineage's form of names
    decidedAt: str | None = None  # noqa: N815
    dataTime: str | None = None  # noqa: N815
    syncs: list[dict[str, Any]] = field(factory=list)

    @staticmethod
    def _get_schema() -> str:
        return SCHEMA


def outcome_facet(
    stage: str, model: str, outcomes: Sequence[SyncOutcome] = (), *, data_time: datetime | None = None
) -> ConsentRetlOutcomeRunFacet:
    """Return the facet of a task.

    Args:
        stage: of the task.
        model: the model's name.
        outcomes: what it did for each sync.
        data_time: the time that the rows stand for, where no outcome has it.
    """
    first = outcomes[0] if outcomes else None
    decided_at, known = (None, None) if first is None else (first.decided_at, first.data_time)
    time = known or data_time
    return ConsentRetlOutcomeRunFacet(
        stage=stage,
        model=model,
        policyDigest=(first.policy_digest or None) if first else None,
        decidedAt=decided_at.isoformat() if decided_at else None,
        dataTime=time.isoformat() if time else None,
        syncs=[_sync(outcome) for outcome in outcomes],
        producer=_REPOSITORY,
    )


def _sync(outcome: SyncOutcome) -> dict[str, Any]:
    parts = {
        "deniedByReason": dict(outcome.denied_by_reason),
        "removalsByCause": dict(outcome.removals_by_cause),
        "notAcceptedByCode": dict(outcome.not_accepted_by_code),
        "lagSeconds": dict(outcome.lag_s),
        "previousPolicyDigest": outcome.previous_policy_digest,
        "peopleBefore": outcome.delivered_before,
        "people": outcome.delivered,
    }
    known = {name: part for name, part in parts.items() if part is not None and part != {}}
    return {"destination": outcome.destination, "counts": dict(outcome.numbers), **known}
