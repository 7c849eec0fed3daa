"""Look-ups of Airflow's Variables and connections by name. A name that does not exist is an error with its remedy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook, Variable

from airflow_consent_retl.compat import AirflowNotFoundException, sees_all_variables, variable_keys
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.outside_of_tasks import why_unread
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    from airflow.sdk import Connection

_VARIABLES = "AIRFLOW_VAR_"
_CONNECTIONS = "AIRFLOW_CONN_"
_POLICY_FILE = ", or name the policy's file, where a command has --policy-file"


def variable_named(key: str, *, asked_by: str) -> str:
    """Return the value of a Variable.

    Args:
        key: of the Variable.
        asked_by: the parameter or the setting that names it, for the message.

    Raises:
        ConfigurationError: it does not exist.
        AirflowRuntimeError: Airflow does not answer.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

    try:
        value: str = Variable.get(key)
    except AirflowRuntimeError as error:
        if error.error.error is not ErrorType.VARIABLE_NOT_FOUND:
            raise
        near = suggestion(key, {*_in_environment(_VARIABLES), *variable_keys()})
    else:
        return value
    raise ConfigurationError(
        f"there is no Variable `{key}`, which {asked_by} names{near or '.'} To set it: `airflow variables set {key} "
        f'"$(cat policy.json)"`{_if_outside_of_tasks(_VARIABLES, key, or_else=_POLICY_FILE)}'
    )


def connection_named(conn_id: str) -> Connection:
    """Return a connection.

    Raises:
        ConfigurationError: it does not exist.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        near = suggestion(conn_id, _in_environment(_CONNECTIONS))
    raise ConfigurationError(
        f"there is no connection `{conn_id}`{near or '.'} `airflow connections list` shows those that exist; to make "
        f"it: `airflow connections add {conn_id} --conn-type …`{_if_outside_of_tasks(_CONNECTIONS, conn_id)}"
    )


def _in_environment(prefix: str) -> set[str]:
    """Return the names in the environment variables; Airflow finds them there in upper case, whatever their own."""
    return {name.removeprefix(prefix).lower() for name in os.environ if name.startswith(prefix)}


def _if_outside_of_tasks(prefix: str, name: str, *, or_else: str = "") -> str:
    if sees_all_variables():
        return ""
    return (
        f". Outside of tasks, Airflow shows a process only its environment and secrets backends{why_unread()}: set "
        f"`{prefix}{name.upper()}`{or_else}"
    )
