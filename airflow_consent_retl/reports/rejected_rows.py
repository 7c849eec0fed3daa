"""Whom a destination rejected, run by run: how many people by code, and their ids for those who may read the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.hooks.workspaces import open_workspace
from airflow_consent_retl.near import nearest
from airflow_consent_retl.progress import module_log
from airflow_consent_retl.reports.signed_documents import published
from airflow_consent_retl.storage.location import open_folder, subject_key, sync_folder, workspace_root
from airflow_consent_retl.storage.manifest import MANIFEST_NAME, PermittedManifest, sha256_hex
from airflow_consent_retl.storage.opening import OpenedPermitted, open_permitted
from airflow_consent_retl.storage.records.documents import DeliveryRecords
from airflow_consent_retl.storage.records.places import DELIVERIES, RECORDS
from airflow_consent_retl.storage.records.rejections import rejections
from airflow_consent_retl.storage.records.stream import RecordStream
from airflow_consent_retl.storage.records.subjects import RecordKey

if TYPE_CHECKING:
    from numpy.typing import NDArray

_log = module_log(__name__)
_READ_ROWS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedRun:
    """One delivery of a sync, and how many people its destination rejected.

    Args:
        at: when it was recorded.
        delivery: the ledger's number of it.
        dag: the id of its DAG; empty: unknown.
        policy_digest: of the policy under which it was decided.
        people: the people that it was about.
        rejected: by the destination's code, the people who were to be sent.
        not_removed: by the destination's code, the people who were to be removed.
        fields: by the field that the destination objected to, the people who were to be sent; without those for whom
            it named no field of the load.
    """

    at: datetime
    delivery: int
    dag: str
    policy_digest: str
    people: int
    rejected: Mapping[str, int]
    not_removed: Mapping[str, int]
    fields: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """One person that a destination rejected.

    Args:
        id: as the model has it.
        code: the destination's.
        field: the destination's name of the field that it objected to; empty: it named none that the load has.
    """

    id: str | int
    code: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class RejectedRows:
    """The people whom one delivery's destination rejected.

    Args:
        run: the delivery.
        rows: the people, up to the limit.
        not_found: how many of all of them are not in the permitted set.
    """

    run: RejectedRun
    rows: tuple[RejectedRow, ...]
    not_found: int


def rejected_runs(sync: str, *, workspace: str | None = None) -> list[RejectedRun]:
    """Return the deliveries of a sync, the oldest first, each with the numbers of people that were rejected.

    Args:
        sync: its name, such as `customers/webhook`.
        workspace: as for the loads.

    Raises:
        ConfigurationError: there are no records of this sync.
        RefusedError: a record is gone or was changed.
    """
    stream = _stream(sync, workspace)
    latest = {document.changes_sha256: document for document in map(stream.read, stream.names())}
    return [_counted(stream, document) for document in latest.values()]


def rejected(
    sync: str,
    *,
    delivery: int | None = None,
    permitted: object = None,
    workspace: str | None = None,
    limit: int | None = None,
) -> RejectedRows:
    """Return the people whom a delivery's destination rejected, with their ids. The ids are not logged.

    They are found in the permitted set that was delivered: without the right to read it, or after its retention, only
    `rejected_runs` and the history of a person tell of them.

    Args:
        sync: its name, such as `customers/webhook`.
        delivery: the ledger's number of it; None: the last one.
        permitted: the output of the `ConsentFilterOperator` of that run; None: it is looked for in the workspace.
        workspace: as for the loads.
        limit: of the rows to return; None: all.

    Raises:
        ConfigurationError: there are no records of this sync or delivery, or of another key than those that are known.
        RefusedError: a record or the permitted set is gone, or was changed.
    """
    stream = _stream(sync, workspace)
    document = _document(stream, sync, delivery)
    outcomes = dict(rejections(stream, document))
    run = _counted(stream, document)
    opened = _permitted(document, workspace) if permitted is None else open_permitted(permitted)
    key = RecordKey(subject_key(workspace).of(document.key_id))
    subjects = np.array(sorted(outcomes), np.uint64)
    rows: list[RejectedRow] = []
    found = 0
    for ids, here in _among(opened, document.destination, key, subjects):
        for place in np.flatnonzero(np.isin(here, subjects)).tolist():
            found += 1
            if limit is None or len(rows) < limit:
                outcome = outcomes[int(here[place])]
                rows.append(RejectedRow(ids[place].as_py(), outcome.code, outcome.field))
    return RejectedRows(run, tuple(rows), len(outcomes) - found)


def _stream(sync: str, workspace: str | None) -> RecordStream[DeliveryRecords]:
    stream = RecordStream(sync_folder(workspace, sync).records, DeliveryRecords)
    if stream.names():
        return stream
    streams = open_folder(workspace_root(workspace)) / RECORDS / DELIVERIES
    others = (RecordStream(streams / name, DeliveryRecords) for name in streams.names())
    known = sorted({other.read(name).sync for other in others for name in other.names()[:1]})
    near = nearest(sync, known)
    hint = f", did you mean `{near}`?" if near else f"; there are some of {', '.join(known) or 'no sync'}"
    raise ConfigurationError(f"there are no records of deliveries of sync `{sync}`{hint}")


def _document(stream: RecordStream[DeliveryRecords], sync: str, delivery: int | None) -> DeliveryRecords:
    for name in reversed(stream.names()):
        document = stream.read(name)
        if delivery in (None, document.delivery):
            return document
    raise ConfigurationError(f"there are no records of delivery {delivery} of sync `{sync}`")


def _counted(stream: RecordStream[DeliveryRecords], document: DeliveryRecords) -> RejectedRun:
    sent = [outcome for _, outcome in rejections(stream, document)]
    return RejectedRun(
        at=document.recorded_at,
        delivery=document.delivery,
        dag=document.dag,
        policy_digest=document.policy_digest,
        people=document.rows,
        rejected=_counts(one.code for one in sent),
        not_removed=_counts(one.code for _, one in rejections(stream, document, removals=True)),
        fields=_counts(one.field for one in sent if one.field),
    )


def _counts(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())


def _permitted(document: DeliveryRecords, workspace: str | None) -> OpenedPermitted:
    """Return the permitted set that was delivered: the one of the same model and the same decision."""
    for one in published(open_folder(workspace_root(workspace)) / "permitted"):
        if one.name != MANIFEST_NAME:
            continue
        manifest = PermittedManifest.from_json(one.folder.read_document(one.name))
        if (manifest.model, manifest.decided_at) == (document.model, document.decided_at):
            return OpenedPermitted(one.folder, manifest, sha256_hex(one.folder.read(one.name)))
    raise RefusedError(
        f"the permitted set of delivery {document.delivery} of sync `{document.sync}` is not in the workspace any "
        "more: give the output of its filter, or ask for the history of a person"
    )


def _among(
    opened: OpenedPermitted, destination: str, key: RecordKey, subjects: NDArray[np.uint64]
) -> Iterator[tuple[Any, NDArray[np.uint64]]]:
    """Yield the ids of a permitted set, and their subjects, batch by batch; nothing if no one is looked for."""
    if not len(subjects):
        return
    manifest = opened.manifest
    place = open_workspace(manifest, source=manifest.source, model=manifest.model, log=_log)
    rows = place.open_permitted(opened, destination=destination, fields={"id": manifest.primary_key})
    for batch in rows.batches(_READ_ROWS):
        ids = batch["id"]
        yield ids, key.subjects(ids)
