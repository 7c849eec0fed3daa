"""The places of Variables and connections, asked once more about a name that was not found: one of them may be down.

Airflow passes over a secrets backend that fails, and over a server that does not answer: both look like "not found".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from airflow_consent_retl.compat import AirflowNotFoundException
from airflow_consent_retl.errors import ConfigurationError, SecretsUnavailableError

if TYPE_CHECKING:
    from airflow.sdk.exceptions import AirflowRuntimeError

Kind = Literal["Variable", "connection"]

# Airflow's server, which is asked directly: its backend hides whether it answers.
_SERVER: Final = "ExecutionAPISecretsBackend"
# These raise if they fail, so their "not found" is certain.
_CERTAIN: Final = {"EnvironmentVariablesBackend", "MetastoreBackend"}
# A backend without this kind of secret, or one that raises where others return None.
_NOT_THERE: Final = (NotImplementedError, AirflowNotFoundException, LookupError)


def backends_that_may_hide_a_failure(kind: Kind, name: str) -> str:
    """Ask each place again, and return a sentence about the backends whose "not found" may be a failure.

    Args:
        kind: of the name.
        name: that Airflow did not find.

    Returns:
        A part of a message; empty: the name is nowhere.

    Raises:
        SecretsUnavailableError: a place failed.
        ConfigurationError: a place refuses this process.
    """
    from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded

    _check_server(kind, name)
    doubtful = []
    for backend in ensure_secrets_backend_loaded():
        title, failure = type(backend).__name__, ""
        if title == _SERVER:
            continue
        try:
            found = backend.get_variable(key=name) if kind == "Variable" else backend.get_connection(conn_id=name)
            failure = "" if found is None else "it answers again"
        except _NOT_THERE:
            pass
        except PermissionError:
            raise refused(kind, name) from None
        except Exception as error:  # noqa: BLE001 - a backend may raise any error, and its text may quote a secret
            failure = type(error).__name__
        if failure:
            raise SecretsUnavailableError(
                f"the secrets backend {title} failed when it was asked for {kind} `{name}` ({failure}), and no other "
                "place has it: try again"
            )
        doubtful += [title] if title not in _CERTAIN else []
    if not doubtful:
        return ""
    return f" If {', '.join(doubtful)} has it, that secrets backend failed: Airflow's log says why, and try again."


def unanswered(kind: Kind, name: str, error: AirflowRuntimeError) -> ConfigurationError | SecretsUnavailableError:
    """Return the error for an answer of Airflow that is no "not found"."""
    from airflow.sdk.exceptions import ErrorType

    found = error.error.error
    # Airflow 3.1 has no such type.
    if found is getattr(ErrorType, "PERMISSION_DENIED", None):
        return refused(kind, name)
    return SecretsUnavailableError(f"Airflow does not answer when it is asked for {kind} `{name}` ({found.value})")


def refused(kind: Kind, name: str) -> ConfigurationError:
    """Return the error for a name that this process may not read."""
    return ConfigurationError(f"Airflow does not allow this process to read the {kind} `{name}`")


def _check_server(kind: Kind, name: str) -> None:
    """Ask Airflow's server, where this process has one, and raise if it does not answer."""
    from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import ErrorResponse, GetConnection, GetVariable

    server: Any = getattr(task_runner, "SUPERVISOR_COMMS", None)
    if server is None:
        return
    try:
        answer = server.send(GetVariable(key=name) if kind == "Variable" else GetConnection(conn_id=name))
    except AirflowRuntimeError as error:
        answer = error.error
    except (OSError, EOFError) as error:
        message = f"Airflow does not answer when it is asked for {kind} `{name}` ({type(error).__name__})"
        raise SecretsUnavailableError(message) from None
    not_there = {ErrorType.VARIABLE_NOT_FOUND, ErrorType.CONNECTION_NOT_FOUND}
    if isinstance(answer, ErrorResponse) and answer.error not in not_there:
        raise unanswered(kind, name, AirflowRuntimeError(answer))
