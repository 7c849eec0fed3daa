"""The people that a load with `mode="retry_rejected"` may send: those rejected by the destination in the last load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_consent_retl.delivery.run import LOAD
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.records.documents import DeliveryRecords
from airflow_consent_retl.storage.records.rejections import RejectedPeople
from airflow_consent_retl.storage.records.stream import RecordStream
from airflow_consent_retl.storage.records.subjects import RecordKey
from airflow_consent_retl.storage.sync_mode import SyncMode

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.delivery.context import SyncContext


def people_to_retry(context: SyncContext, destination: Destination) -> RejectedPeople | None:
    """Return the people whom the last load of the sync did not bring in; None in every other mode.

    Raises:
        ConfigurationError: there is no record of a load, or each load of the destination replaces everyone.
        RefusedError: a record is gone or was changed.
    """
    if context.settings.mode is not SyncMode.RETRY_REJECTED:
        return None
    sync = context.lease.sync
    if destination.replaces:
        raise ConfigurationError(
            f'`{sync}`: mode="retry_rejected" sends some people only, and each load of {type(destination).__name__} '
            'replaces everyone: use mode="mirror"'
        )
    stream = RecordStream(context.store.folder.records, DeliveryRecords)
    for name in reversed(stream.names()):
        document = stream.read(name)
        if document.purpose != LOAD:
            continue
        people = RejectedPeople(stream, document, RecordKey(context.key().of(document.key_id)))
        context.log.info(
            "retrying %s people that the destination rejected in the load that began at %s",
            f"{len(people):,}",
            f"{document.began_at:%F %T %Z}",
        )
        return people
    raise ConfigurationError(
        f'`{sync}`: mode="retry_rejected" needs the record of an earlier load, and there is none in '
        f'{stream.folder.uri}: run the load with mode="mirror" first. Records end after `[consent_retl] evidence_days`'
    )
