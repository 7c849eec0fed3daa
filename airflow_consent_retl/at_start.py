"""The place of the deployment's policy as it was when this process began, before the code of any DAG ran.

The cluster policy notes it, as Airflow loads it first. Without the cluster policy, nothing is noted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

_IN_THE_ENVIRONMENT = {"variable": "AIRFLOW_VAR_", "connection": "AIRFLOW_CONN_"}


@dataclass(frozen=True, slots=True)
class AtStart:
    """The settings of the policy as they were when the process started.

    Args:
        place: the place of the deployment's policy.
        binds: whether every DAG has to use it.
        environment: the environment variable that would stand before the place's Variable or connection, and its value.
    """

    place: str
    binds: bool
    environment: tuple[str, str | None] | None

    @property
    def changed_variable(self) -> str | None:
        """The name of that environment variable, if its value is another one now."""
        if self.environment is None or os.environ.get(self.environment[0]) == self.environment[1]:
            return None
        return self.environment[0]


_noted: list[AtStart] = []


def note(place: str | None, *, binds: bool) -> None:
    """Note the place; None: there is none, and a later one is accepted. Only the first call of a process counts."""
    if place and not _noted:
        kind, _, key = place.partition(":")
        prefix = _IN_THE_ENVIRONMENT.get(kind)
        name = None if prefix is None else prefix + key.upper()
        _noted.append(AtStart(place, binds, None if name is None else (name, os.environ.get(name))))


def noted() -> AtStart | None:
    """Return what was noted; None: nothing."""
    return _noted[0] if _noted else None
