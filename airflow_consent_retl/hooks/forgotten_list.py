"""The suppression list of a workspace, opened with the deployment's digest keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_consent_retl.storage.forgotten import ForgottenPeople
    from airflow_consent_retl.storage.suppression import ForgottenList


def suppression_list(workspace: str | None) -> ForgottenList:
    """Return the suppression list of a workspace.

    Args:
        workspace: its URI; None: the deployment's default.

    Raises:
        ConfigurationError: the workspace cannot be opened, or there is no digest key.
    """
    from airflow_consent_retl.storage.location import open_folder, subject_key, workspace_root
    from airflow_consent_retl.storage.suppression import FOLDER, ForgottenList

    return ForgottenList(open_folder(workspace_root(workspace)) / FOLDER, lambda: subject_key(workspace))


def forgotten_people(workspace: str | None, model: str) -> ForgottenPeople:
    """Return the people of a model who are on the suppression list of its workspace now.

    Raises:
        ConfigurationError, RefusedError: the list cannot be read, so no one could be recognised.
    """
    return suppression_list(workspace).of_model(model)
