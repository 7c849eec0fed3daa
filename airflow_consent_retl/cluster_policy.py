"""The cluster policy: a DAG that gets around the deployment's policy fails when it is parsed, as an import error.

Airflow loads it by its entry point `airflow.policy`. It reads no Variable and no connection: a policy in a local file
is held against the whole DAG, one in another place only against the `policy` of each task. Operators check everything
again when they run.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.policies import hookimpl

from airflow_consent_retl import at_start

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

_BASE = "airflow_consent_retl.operators.base_operator"

# INVARIANT: this runs before any DAG file, whose code could change the environment of its process.
at_start.note(
    conf.get("consent_retl", "policy", fallback=None),
    binds=not conf.getboolean("consent_retl", "allow_dag_policies", fallback=False),
)


@hookimpl
def task_policy(task: BaseOperator) -> None:
    """Refuse a task that differs from the deployment's policy.

    Raises:
        AirflowClusterPolicyViolation: with the same sentence as the task would fail with.
    """
    # Whatever has no operator of this package costs one look-up.
    if _BASE not in sys.modules or not _is_ours(task):
        return
    from airflow.exceptions import AirflowClusterPolicyViolation

    from airflow_consent_retl.errors import PermanentError
    from airflow_consent_retl.operators.parsed_tasks import check_task

    try:
        check_task(task)
    except PermanentError as error:
        failure = f"DAG `{task.dag_id}`, task `{task.task_id}`: {error}"
    else:
        return
    raise AirflowClusterPolicyViolation(failure)


def _is_ours(task: Any) -> bool:
    from airflow_consent_retl.operators.base_operator import ConsentRetlOperator

    kind = getattr(task, "operator_class", None) or type(task)
    return isinstance(kind, type) and issubclass(kind, ConsentRetlOperator)
