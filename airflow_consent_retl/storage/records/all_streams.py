"""All streams of records of a workspace, and the upkeep of their indexes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.storage.records.documents import DecisionRecords, DeliveryRecords
from airflow_consent_retl.storage.records.index import RecordIndex
from airflow_consent_retl.storage.records.places import DECISIONS, DELIVERIES, RECORDS
from airflow_consent_retl.storage.records.stream import RecordStream

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder

_OVERLAPPING: Final = 3


def decision_streams(root: Folder) -> Iterator[RecordStream[DecisionRecords]]:
    """Yield the records of each model and set of destinations in a workspace."""
    models = root / RECORDS / DECISIONS
    for model in sorted(models.names()):
        for destinations in sorted((models / model).names()):
            yield RecordStream(models / model / destinations, DecisionRecords)


def newest_decisions(model: Folder) -> dict[str, DecisionRecords]:
    """Return the newest document about each destination of a model: that of the latest decision.

    A run that began earlier may end later, so of each stream the last few documents are read.

    Args:
        model: the folder of its decisions.

    Raises:
        RefusedError: a document is not one that this deployment wrote.
    """
    found: dict[str, DecisionRecords] = {}
    for destinations in sorted(model.names()):
        stream = RecordStream(model / destinations, DecisionRecords)
        for document in map(stream.read, stream.names()[-_OVERLAPPING:]):
            for name in document.destinations:
                if name not in found or found[name].decided_at < document.decided_at:
                    found[name] = document
    return found


def delivery_streams(root: Folder) -> Iterator[RecordStream[DeliveryRecords]]:
    """Yield the records of the deliveries of each sync in a workspace."""
    syncs = root / RECORDS / DELIVERIES
    for sync in sorted(syncs.names()):
        yield RecordStream(syncs / sync, DeliveryRecords)


def extend_indexes(root: Folder) -> int:
    """Bring the indexes of all streams up to date, and return the number of segments written.

    Raises:
        RefusedError: a document or a part is gone or was changed.
    """
    of_decisions = sum(RecordIndex(stream).extend() for stream in decision_streams(root))
    return of_decisions + sum(RecordIndex(stream).extend() for stream in delivery_streams(root))
