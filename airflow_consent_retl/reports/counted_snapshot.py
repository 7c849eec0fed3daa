"""The signatures of a snapshot, decided where its rows are, for reports that do not filter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.consent import parse_consent_mapping, parse_source_document
from airflow_consent_retl.hooks.forgotten_list import forgotten_people
from airflow_consent_retl.hooks.workspaces import open_workspace
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentMapping, ConsentMappingLike
    from airflow_consent_retl.consent.plan import PlanFor
    from airflow_consent_retl.filtering.decided import DecidedSignatures
    from airflow_consent_retl.storage import OpenedSnapshot
    from airflow_consent_retl.workspace.base import Workspace

_log = module_log(__name__)


def mapping_of(snapshot: OpenedSnapshot, consent: ConsentMappingLike | ConsentMapping) -> ConsentMapping:
    """Return a consent mapping with the additions of the snapshot's sources of consent."""
    sources = map(parse_source_document, snapshot.manifest.source.consent_sources)
    return parse_consent_mapping(consent).with_sources(sources)


def workspace_of(snapshot: OpenedSnapshot) -> Workspace:
    """Return the workspace of a snapshot's rows."""
    manifest = snapshot.manifest
    return open_workspace(manifest, source=manifest.source, model=manifest.model, log=_log)


@contextmanager
def counted(snapshot: OpenedSnapshot, plan_for: PlanFor, *, at: datetime) -> Iterator[DecidedSignatures]:
    """Yield the snapshot's signatures, decided.

    Args:
        snapshot: to count.
        plan_for: makes the plan that decides the signatures.
        at: the time of the decision.

    Raises:
        PolicyError: the plan does not fit the columns.
        RefusedError: the snapshot was changed.
    """
    workspace = workspace_of(snapshot)
    forgotten = forgotten_people(workspace.documents, snapshot.manifest.model)
    with workspace.filter(snapshot, plan_for, at=at, forgotten=forgotten) as run:
        yield run.decide()
