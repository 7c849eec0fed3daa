"""The facts of Airflow's own database about DAGs, and notes in its audit log of what a user did on the page."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum

import sqlalchemy as sa
from airflow.models.dag import DagModel
from airflow.models.log import Log
from airflow.utils.session import create_session


class DagState(StrEnum):
    """The state of a DAG: Airflow runs it, it is paused, or it is gone."""

    ACTIVE = "active"
    PAUSED = "paused"
    GONE = "gone"


def dag_states(dag_ids: Collection[str]) -> Mapping[str, DagState]:
    """Return the state of each of some DAGs."""
    columns = (DagModel.dag_id, DagModel.is_paused, DagModel.is_stale)
    with create_session() as session:
        found = session.execute(sa.select(*columns).where(DagModel.dag_id.in_(dag_ids))).all()
    known = {
        dag_id: DagState.GONE if is_stale else DagState.PAUSED if is_paused else DagState.ACTIVE
        for dag_id, is_paused, is_stale in found
    }
    return {dag_id: known.get(dag_id, DagState.GONE) for dag_id in dag_ids}


def note_look_up(user: str) -> None:
    """Note in Airflow's audit log that a user asked about a person. The person's id is not noted."""
    with create_session() as session:
        session.add(Log(event="consent_retl.person_looked_up", owner=user, owner_display_name=user))


@contextmanager
def noted_approval(user: str, *, place: str, digest: str) -> Iterator[None]:
    """Note in Airflow's audit log that a user approved a policy, if the block approves it."""
    extra = json.dumps({"place": place, "digest": digest})
    # A session of its own: the block uses that of this thread.
    with create_session(scoped=False) as session:
        session.add(Log(event="consent_retl.policy_approved", owner=user, owner_display_name=user, extra=extra))
        # A log that cannot be written stops the approval.
        session.flush()
        yield
