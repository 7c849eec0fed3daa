"""The settings of the deployment's one policy, and the refusal of every other one. Reads no policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_consent_retl.at_start import noted
from airflow_consent_retl.compat import conf
from airflow_consent_retl.errors import ConfigurationError

PolicySource = str | Mapping[str, Any]

INLINE = "inline"


def central_policy() -> str | None:
    """Return the place of the deployment's policy, `[consent_retl] policy`; None: each DAG names its own.

    Raises:
        ConfigurationError: it was another one when this process began.
    """
    configured = conf.get("consent_retl", "policy", fallback=None)
    place = str(configured).strip() or None if configured else None
    begun = noted()
    if begun is None:
        return place
    changed = "`[consent_retl] policy`" if place != begun.place.strip() else begun.changed_variable
    if changed is not None:
        raise ConfigurationError(
            f"policy: {changed} was changed since this process began: the code of a DAG must not change where the "
            "deployment's policy is"
        )
    return place


def binds() -> bool:
    """Return whether every DAG has to use the deployment's policy: there is one, and others are not allowed."""
    if central_policy() is None:
        return False
    begun = noted()
    allowed = conf.getboolean("consent_retl", "allow_dag_policies", fallback=False)
    return not allowed or (begun is not None and begun.binds)


def source_in_force(declared: PolicySource | None) -> PolicySource:
    """Return the source of the policy that a task has to use.

    Args:
        declared: the task's own `policy`; None: it names none.

    Raises:
        ConfigurationError: the task names another policy than the deployment's, or there is none at all.
    """
    central = central_policy()
    if central is not None and (declared is None or declared == central):
        return central
    if binds():
        raise ConfigurationError(
            f"policy: `[consent_retl] policy` is `{central}` for every DAG of this deployment, and this task has "
            f"{described(declared)}: leave `policy` out"
        )
    if declared is None:
        raise ConfigurationError("policy: name one, or set `[consent_retl] policy` for the whole deployment")
    return declared


def described(source: PolicySource | None) -> str:
    """Return the source of a policy for messages: a place, or that it is a document, never its text."""
    return f"`{source}`" if isinstance(source, str) and source != INLINE else "a document of its own"
