"""The policy whose categories a model's columns may be about: a file's, or the deployment's if it has one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentPolicy


def policy_known(policy_file: str | None) -> tuple[ConsentPolicy | None, str | None]:
    """Return the policy, None without any, and what a draft has to name; None: the deployment's, without a name.

    Raises:
        ConfigurationError: the Variable, connection or file does not exist.
        PolicyError: the document is wrong. The error contains every problem.
    """
    from airflow_consent_retl.hooks.central_policy import central_policy
    from airflow_consent_retl.hooks.policies import read_policy

    central = central_policy()
    if policy_file is not None:
        place = f"file:{Path(policy_file).absolute()}"
        return read_policy(place).policy, None if central is not None else place
    return (None, None) if central is None else (read_policy(central).policy, None)
