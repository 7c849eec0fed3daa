"""Airflow's simple auth manager, with one user more who may read a single DAG, as other auth managers have them."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class OneDagRights(SimpleAuthManager):
    """Gives `analyst` the right to read the DAG `customers`, and nothing else."""

    def is_authorized_dag(self, *, user: Any, details: Any = None, access_entity: Any = None, **asked: Any) -> bool:
        """Return whether a user may do something with a DAG; without an id, with all of them."""
        if user.get_name() == "analyst" and (details is None or details.id != "customers" or access_entity is not None):
            return False
        return bool(super().is_authorized_dag(user=user, details=details, access_entity=access_entity, **asked))
