"""The names that the supported versions of Airflow keep in different places.

The only module that knows where each version keeps them: everything else, the tests included, imports them from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    "storage_conn_id",
]


def dag_bag(dags_folder: str | None) -> DagBag:
    """Return the DAGs of a folder or a file, parsed; None: of Airflow's DAGs folder."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef]

    return DagBag(dags_folder)


def storage_conn_id(path: ObjectStoragePath) -> str | None:
    """Return the connection that a path in object storage names."""
    try:
        return path.conn_id or None
    except AttributeError:  # Airflow 3.1
        return path.storage_options.get("conn_id") or None
