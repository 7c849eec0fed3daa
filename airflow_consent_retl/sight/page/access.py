"""The syncs that a user may see, by Airflow's own authentication and rights.

A sync is shown to those who may read the DAG that serves it. A sync without a DAG is shown to those who may read all
DAGs. To look a person up takes the right to read audit logs, and to approve a policy takes the right to edit the
Variable or connection that contains it, which any auth manager can give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser  # noqa: TC002 - FastAPI reads it
from airflow.api_fastapi.auth.managers.models.resource_details import (
    AccessView,
    ConnectionDetails,
    DagAccessEntity,
    VariableDetails,
)
from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, HTTPException, status

from airflow_consent_retl.compat import conf

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.records import SyncOverview


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """The rights of one user.

    Args:
        name: of the user, as audit records name them.
        dags: the ids of the DAGs that the user may read.
        reads_all_dags: whether that is every DAG.
        may_look_up: whether the user may ask about a person.
        may_approve: returns whether the user may approve the policy at a place, such as `variable:consent_policy`.
    """

    name: str
    dags: frozenset[str]
    reads_all_dags: bool
    may_look_up: bool
    may_approve: Callable[[str], bool] = field(default=lambda _place: False, compare=False)

    @property
    def sees_anything(self) -> bool:
        """True if there can be a sync that the user may see."""
        return self.reads_all_dags or bool(self.dags)

    def may_see(self, sync: SyncOverview) -> bool:
        """Return whether the user may see a sync."""
        return self.reads_all_dags or (sync.dag is not None and sync.dag in self.dags)


def rights_of(user: Annotated[BaseUser, Depends(get_user)]) -> Rights:
    """Return the rights of the user who sends a request.

    Raises:
        HTTPException: 401: the user is not logged in. 403: the user may not see pages of plugins.
    """
    manager = get_auth_manager()
    if not manager.is_authorized_view(access_view=AccessView.PLUGINS, user=user):
        raise HTTPException(status.HTTP_403_FORBIDDEN)
    return Rights(
        name=user.get_name(),
        dags=frozenset(manager.get_authorized_dag_ids(user=user, method="GET")),
        reads_all_dags=manager.is_authorized_dag(method="GET", user=user),
        may_look_up=manager.is_authorized_dag(method="GET", access_entity=DagAccessEntity.AUDIT_LOG, user=user),
        may_approve=lambda place: _may_approve(user, place),
    )


def _may_approve(user: BaseUser, place: str) -> bool:
    """Return whether a user may edit what contains a policy: to read it is not enough.

    No right of Airflow is about a file: whoever approves one has to be allowed to edit every Variable, where Airflow
    itself would have it. The rights of one team of a deployment say nothing about a policy for all of them.
    """
    if conf.getboolean("core", "multi_team", fallback=False):
        return False
    manager = get_auth_manager()
    scheme, _, name = place.partition(":")
    if scheme == "connection":
        return manager.is_authorized_connection(method="PUT", details=ConnectionDetails(conn_id=name), user=user)
    variable = VariableDetails(key=name) if scheme == "variable" else None
    return manager.is_authorized_variable(method="PUT", details=variable, user=user)


Reader = Annotated[Rights, Depends(rights_of)]
"""A parameter with the rights of the user who sends the request."""


def login_address(address: str) -> str:
    """Return the address of Airflow's login, which comes back to an address of this Airflow afterwards."""
    # Airflow's own redirect to the login loses what follows the first `&`, in 3.1.
    return f"{get_auth_manager().get_url_login()}?{urlencode({'next': address})}"
