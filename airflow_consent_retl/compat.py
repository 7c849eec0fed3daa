"""The names that the supported versions of Airflow keep in different places.

The only module that knows where each version keeps them: everything else, the tests included, imports them from here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

try:
    from airflow.sdk import conf
except ImportError:  # Airflow 3.1
    from airflow.configuration import conf  # type: ignore[assignment]
try:
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSkipException,
        TaskDeferred,
    )
except ImportError:  # Airflow 3.1
    from airflow.exceptions import (  # type: ignore[attr-defined,no-redef]
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSkipException,
        TaskDeferred,
    )

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import ObjectStoragePath

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSkipException",
    "TaskDeferred",
    "conf",
    "dag_bag",
    "metrics_backend",
    "sees_all_variables",
    "storage_conn_id",
    "variable_keys",
]

_TRACEBACK_DEPTH = "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH"


def dag_bag(dags_folder: str | None) -> DagBag:
    """Return the DAGs of a folder or a file, parsed; None: of Airflow's DAGs folder.

    The errors of files have whole tracebacks, so that they name the line of the file.
    """
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef]

    given = os.environ.get(_TRACEBACK_DEPTH)
    os.environ[_TRACEBACK_DEPTH] = "100"
    try:
        return DagBag(dags_folder)
    finally:
        os.environ.pop(_TRACEBACK_DEPTH)
        os.environ.update({} if given is None else {_TRACEBACK_DEPTH: given})


def storage_conn_id(path: ObjectStoragePath) -> str | None:
    """Return the connection that a path in object storage names."""
    try:
        return path.conn_id or None
    except AttributeError:  # Airflow 3.1
        return path.storage_options.get("conn_id") or None


def metrics_backend() -> Any:
    """Return what sends metrics as Airflow is set up: `incr`, `gauge` and `timing`, with tags."""
    try:
        from airflow.sdk.observability.stats import Stats
    except ImportError:  # Airflow 3.1
        from airflow.stats import Stats

    return Stats


def sees_all_variables() -> bool:
    """Return whether this process may read Variables and connections of Airflow's database: tasks and servers may."""
    from airflow.sdk.execution_time import task_runner

    is_task = getattr(task_runner, "SUPERVISOR_COMMS", None) is not None
    return is_task or os.environ.get("_AIRFLOW_PROCESS_CONTEXT") == "server"


def variable_keys() -> Sequence[str]:
    """Return the keys of the Variables in Airflow's database; none where the process cannot list them."""
    from airflow.sdk import Variable
    from airflow.sdk.exceptions import AirflowRuntimeError

    # Airflow 3.1 lists none.
    if not hasattr(Variable, "keys") or not sees_all_variables():
        return ()
    try:
        return list(Variable.keys())
    except (AirflowRuntimeError, ImportError):
        return ()
