"""The history of one person: every record of them, over all runs, models and destinations, without a value of a row."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter

from airflow_consent_retl.hooks.ledgers import open_ledger
from airflow_consent_retl.reports.recorded_deliveries import DeliveryEvent, in_progress, recorded_deliveries
from airflow_consent_retl.storage.location import open_folder, subject_key, workspace_root
from airflow_consent_retl.storage.records.subjects import Person, RecordKey


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonHistory:
    """Everything that is recorded of one person, in the order of time.

    Args:
        deliveries: what was sent and removed.
    """

    deliveries: tuple[DeliveryEvent, ...]


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
        verify: verify the digest also of files in which the person could be and is not.

    Raises:
        RefusedError: a record is gone or was changed.
        ConfigurationError: a record was written under another digest key, or ledger and workspace do not belong
            together.
        LedgerUnavailableError: try again.
    """
    secret = subject_key(workspace)
    key, *earlier = map(RecordKey, (secret, *secret.earlier))
    person = Person.of(subject, [key, *earlier])
    with open_ledger(workspace, ledger_conn_id) as ledger:
        # First: a delivery that ends meanwhile is then found among the records, too.
        running = list(in_progress(ledger, workspace, key, person))
    recorded = list(recorded_deliveries(open_folder(workspace_root(workspace)), person, verify=verify))
    known = {(event.sync, event.delivery) for event in recorded}
    events = [*recorded, *(event for event in running if (event.sync, event.delivery) not in known)]
    chosen = [event for event in events if model in (None, event.model)]
    return PersonHistory(deliveries=tuple(sorted(chosen, key=attrgetter("at"))))
