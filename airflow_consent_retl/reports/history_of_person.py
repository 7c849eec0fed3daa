"""The history of one person: every record of them, over all runs, models and destinations, without a value of a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeVar

from airflow_consent_retl.hooks.forgotten_list import suppression_list
from airflow_consent_retl.hooks.ledgers import open_ledger
from airflow_consent_retl.reports.recorded_decisions import (
    DecisionEvent,
    RecordedRuns,
    recorded_decisions,
    recorded_runs,
)
from airflow_consent_retl.reports.recorded_deliveries import DeliveryEvent, in_progress, recorded_deliveries
from airflow_consent_retl.reports.recorded_requests import (
    RecordedRequest,
    SuppressionEvent,
    recorded_requests,
    suppressions,
)
from airflow_consent_retl.storage.location import open_folder, subject_key, workspace_root
from airflow_consent_retl.storage.records.all_streams import decision_streams
from airflow_consent_retl.storage.records.subjects import RecordedPerson, RecordKey

Event = TypeVar("Event", DecisionEvent, DeliveryEvent)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonHistory:
    """Everything that is recorded of one person, in the order of time.

    Args:
        decisions: each change of what is decided about the person.
        runs: the runs that decided about everyone. A person without a decision of one of these models was never in it.
        deliveries: what was sent and removed.
        requests: the requests to forget the person.
        suppressions: when the person came on the suppression list, and was taken off it.
    """

    decisions: tuple[DecisionEvent, ...]
    runs: tuple[RecordedRuns, ...]
    deliveries: tuple[DeliveryEvent, ...]
    requests: tuple[RecordedRequest, ...] = ()
    suppressions: tuple[SuppressionEvent, ...] = ()


def person_history(
    subject: str | int,
    *,
    workspace: str | None = None,
    ledger_conn_id: str | None = None,
    model: str | None = None,
    verify: bool = False,
) -> PersonHistory:
    """Return everything that is recorded of one person. The id is neither logged nor returned.

    Args:
        subject: an id, as the models have it.
        workspace, ledger_conn_id: as for the loads.
        model: only this model's records.
        verify: verify also the files in which the person could be and is not, but for runs without the person by the
            signed index.

    Raises:
        RefusedError: a record is gone or was changed.
        ConfigurationError: a record was written under another digest key, or ledger and workspace do not belong
            together.
        LedgerUnavailableError: try again.
    """
    secret = subject_key(workspace)
    keys = [RecordKey(key) for key in (secret, *secret.earlier)]
    person = RecordedPerson.of(subject, keys)
    with open_ledger(workspace, ledger_conn_id) as ledger:
        # First: a delivery that ends meanwhile is then found among the records, too.
        running = list(in_progress(ledger, workspace, keys[0], person))
    root = open_folder(workspace_root(workspace))
    recorded = list(recorded_deliveries(root, person, verify=verify))
    known = {(event.sync, event.delivery) for event in recorded}
    events = [*recorded, *(event for event in running if (event.sync, event.delivery) not in known)]
    streams = list(decision_streams(root))
    decisions = [event for stream in streams for event in recorded_decisions(stream, person, verify=verify)]
    runs = [found for stream in streams if (found := recorded_runs(stream)) is not None]
    listed = suppression_list(workspace)
    return PersonHistory(
        decisions=_of_model(decisions, model),
        runs=tuple(one for one in runs if model in (None, one.model)),
        deliveries=_of_model(events, model),
        requests=tuple(recorded_requests(listed, subject, model=model, verify=verify)),
        suppressions=tuple(suppressions(listed, subject, model=model)),
    )


def _of_model(events: Sequence[Event], model: str | None) -> tuple[Event, ...]:
    chosen = [event for event in events if model in (None, event.model)]
    return tuple(sorted(chosen, key=attrgetter("at")))
