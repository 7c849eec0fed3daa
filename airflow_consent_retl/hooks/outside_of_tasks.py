"""Airflow's errors about Variables and connections, for people whose process is no task."""

from __future__ import annotations

from airflow_consent_retl.compat import AirflowNotFoundException

_PLACES = (
    "this process reads Variables and connections from Airflow's database and secrets backend, where it reaches them, "
    "and from the environment: set {name}"
)


def message_of_airflow(error: Exception) -> str | None:
    """Return a message for a Variable or a connection that is nowhere; None for every other error."""
    if isinstance(error, AirflowNotFoundException):
        return f"{error}; {_PLACES.format(name='AIRFLOW_CONN_<CONN_ID>')}"
    if type(error).__name__ != "AirflowRuntimeError":
        return None
    detail = getattr(getattr(error, "error", None), "detail", None) or {}
    found = detail.get("message", str(error)) if isinstance(detail, dict) else str(error)
    return (
        f"{found}; {_PLACES.format(name='AIRFLOW_VAR_<KEY>')}, or name a policy by --policy-file where the verb has it"
    )
