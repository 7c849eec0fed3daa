"""The links from a task, in Airflow's own pages, to the pages about its sync and about what it did in this run.

Airflow asks for them when the task has ended, in the task's process, and keeps them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from airflow_consent_retl.compat import conf
from airflow_consent_retl.sight.addresses import overview_page, report_page, sync_page

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class SyncPageLink(BaseOperatorLink):
    """To the page about the sync that a task serves; where it serves several, or none alone, to the page about all."""

    name = "Consent: sync"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, below Airflow's own."""
        syncs, workspace = sync_names(operator), _workspace(operator)
        if len(syncs) != 1:
            return overview_page(base=_base(), workspace=workspace)
        return sync_page(syncs[0], base=_base(), workspace=workspace)


class RunReportLink(BaseOperatorLink):
    """To the HTML report of the run; where none was written, to the page about what the task did in it."""

    name = "Consent: report of this run"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the address, below Airflow's own."""
        return report_page(
            ti_key.dag_id,
            ti_key.run_id,
            ti_key.task_id,
            map_index=ti_key.map_index,
            base=_base(),
            workspace=_workspace(operator),
        )


SENDING_LINKS = (SyncPageLink(), RunReportLink())
"""The links of a task that sends or removes people: the ledger has a record of what it did."""


def sync_names(operator: Any) -> list[str]:
    """Return the names of the syncs that a task serves; none where it serves no one's in particular."""
    one, several = getattr(operator, "destination", None), getattr(operator, "destinations", None)
    names = [one] if isinstance(one, str) else several or getattr(operator, "loads", None) or ()
    model = operator.model_name
    return [] if model is None else [f"{model}/{name}" for name in names]


def _workspace(operator: Any) -> str:
    """Return the name under which the page has the workspace of a task; empty: the default."""
    from airflow_consent_retl.errors import ConfigurationError
    from airflow_consent_retl.hooks.known_workspaces import name_of

    try:
        return name_of(getattr(operator, "workspace", None), getattr(operator, "ledger_conn_id", None))
    except ConfigurationError:
        # The task has ended well. The page says what is wrong with the option.
        return ""


def _base() -> str:
    return (conf.get("api", "base_url", fallback=None) or "").rstrip("/")
