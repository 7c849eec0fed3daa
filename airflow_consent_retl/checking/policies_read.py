"""The policies that tasks would read, each read once; a file may stand in for the deployment's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_consent_retl.hooks.central_policy import binds, central_policy, source_in_force
from airflow_consent_retl.hooks.policies import LoadedPolicy, read_policy

if TYPE_CHECKING:
    from airflow_consent_retl.hooks.central_policy import PolicySource


@dataclass(slots=True)
class PoliciesRead:
    """The policies at the places that tasks name.

    Args:
        file: a file that is read in place of every Variable, connection and file; None: the places themselves.
    """

    file: str | None
    _known: dict[str, LoadedPolicy] = field(default_factory=dict)

    def of(self, declared: PolicySource | None) -> LoadedPolicy:
        """Return the policy that a task would use, without a record of it.

        Args:
            declared: the task's own `policy`; None: it names none.

        Raises:
            ConfigurationError: the task names another policy than the deployment's, or there is none; the Variable or
                connection does not exist.
            PolicyError: the document is wrong. The error contains every problem.
            SecretsUnavailableError: Airflow, or a secrets backend, does not answer.
        """
        if declared is None and central_policy() is None and self.file is not None:
            source: PolicySource = f"file:{self.file}"
        else:
            source = source_in_force(declared)
        if isinstance(source, Mapping):
            return read_policy(source)
        if source not in self._known:
            place = source if self.file is None else f"file:{self.file}"
            # It counts as the policy of that place: rules about the deployment's policy apply to the file too.
            self._known[source] = LoadedPolicy(read_policy(place).policy, source)
        return self._known[source]

    def binding(self) -> LoadedPolicy | None:
        """Return the policy that every DAG has to use; None where each DAG may have its own. Errors as `of`."""
        return self.of(None) if binds() else None
