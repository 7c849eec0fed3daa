"""The proof that a run's workspace and ledger can be written to. Nothing that is written stays."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators.extract import ExtractModelOperator

if TYPE_CHECKING:
    from airflow_consent_retl.checking.findings import TaskFindings


@dataclass(slots=True)
class WrittenPlaces:
    """The places that tasks write to. Each is tried once, for the first task that has it."""

    _tried: set[tuple[str | None, ...]] = field(default_factory=set)

    def try_for(self, task: Any, findings: TaskFindings) -> None:
        """Try the workspace of a task, and its ledger if it has one.

        Args:
            task: with its templates rendered.
            findings: about the task.
        """
        from airflow_consent_retl.workspace.staging_schema import staging_schema

        workspace = getattr(task, "workspace", None)
        with findings.at("workspace"):
            schema = staging_schema(workspace)
            files = workspace if schema is None else None
            if self._is_new("workspace", files):
                try_workspace(files)
            if schema is not None and isinstance(task, ExtractModelOperator) and self._is_new(schema, task.conn_id):
                _try_staging(task, schema)
        ledger = getattr(task, "ledger_conn_id", None)
        if hasattr(task, "ledger_conn_id") and self._is_new("ledger", files, ledger):
            from airflow_consent_retl.hooks.ledgers import try_ledger

            with findings.at("ledger_conn_id"):
                try:
                    try_ledger(files, ledger)
                except ConfigurationError as error:
                    raise ConfigurationError(f"{error}; this process runs as user `{user()}`") from None

    def _is_new(self, *place: str | None) -> bool:
        is_new = place not in self._tried
        self._tried.add(place)
        return is_new


def try_workspace(workspace: str | None) -> str:
    """Write a file into a workspace, or where its folder would be made, remove it, and return the workspace's URI.

    Raises:
        ConfigurationError: it cannot be opened, or written to.
    """
    from airflow_consent_retl.operators.disk import in_words
    from airflow_consent_retl.storage.location import open_folder, workspace_root
    from airflow_consent_retl.storage.trial_file import write_trial_file

    root = open_folder(workspace_root(workspace))
    try:
        write_trial_file(root.fs, root.path)
    except OSError as error:
        why = in_words(error)
        raise ConfigurationError(f"the workspace {root.uri} cannot be written to by user `{user()}`: {why}") from None
    return root.uri


def user() -> str:
    """Return the name of the user as which this process writes."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        # Containers run as users that have no name.
        return str(os.geteuid())


def _try_staging(task: ExtractModelOperator, schema: str) -> None:
    from airflow_consent_retl.hooks.workspaces import staging_warehouse

    with staging_warehouse(task.conn_id, schema, hook_params=task.hook_params) as warehouse:
        table = warehouse.table("touched", at=datetime.now(UTC))
        warehouse.create_as(table, "SELECT 1 AS trial")
        warehouse.drop(table)
