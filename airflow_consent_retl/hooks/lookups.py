"""Look-ups of Airflow's Variables and connections by name. A name that does not exist is an error with its remedy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook, Variable

from airflow_consent_retl.compat import AirflowNotFoundException, sees_all_variables, variable_keys
from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError
from airflow_consent_retl.hooks.outside_of_tasks import why_unread
from airflow_consent_retl.hooks.secrets_asked import backends_that_may_hide_a_failure, refused, unanswered
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
        ConfigurationError: it does not exist, or Airflow does not allow to read it.
        SecretsUnavailableError: Airflow, or a secrets backend, does not answer.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType

    failure: ConsentRetlError | None = None
    try:
        value: str = Variable.get(key)
    except AirflowRuntimeError as error:
        if error.error.error is not ErrorType.VARIABLE_NOT_FOUND:
            failure = unanswered("Variable", key, error)
    except PermissionError:
        failure = refused("Variable", key)
    else:
        return value
    if failure is not None:
        raise failure
    doubt = backends_that_may_hide_a_failure("Variable", key)
    near = suggestion(key, {*_in_environment(_VARIABLES), *variable_keys()})
    raise ConfigurationError(
        f"there is no Variable `{key}`, which {asked_by} names{near or '.'} To set it: `airflow variables set {key} "
        f'"$(cat policy.json)"`{_if_outside_of_tasks(_VARIABLES, key, or_else=_POLICY_FILE)}{doubt}'
    )


def connection_named(conn_id: str) -> Connection:
    """Return a connection.

    Raises:
        ConfigurationError: it does not exist, or Airflow does not allow to read it.
        SecretsUnavailableError: Airflow, or a secrets backend, does not answer.
    """
    from airflow.sdk.exceptions import AirflowRuntimeError

    failure: ConsentRetlError | None = None
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        pass
    except AirflowRuntimeError as error:
        failure = unanswered("connection", conn_id, error)
    except PermissionError:
        failure = refused("connection", conn_id)
    if failure is not None:
        raise failure
    doubt = backends_that_may_hide_a_failure("connection", conn_id)
    near = suggestion(conn_id, _in_environment(_CONNECTIONS))
    raise ConfigurationError(
        f"there is no connection `{conn_id}`{near or '.'} `airflow connections list` shows those that exist; to make "
        f"it: `airflow connections add {conn_id} --conn-type …`{_if_outside_of_tasks(_CONNECTIONS, conn_id)}{doubt}"
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
