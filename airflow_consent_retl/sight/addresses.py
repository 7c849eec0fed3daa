"""Addresses of the page in Airflow, and of Airflow's own pages that it links to. Pure: nothing is imported or asked.

An address never contains the id of a person: the person's page takes it from a form.

Every function takes `base`: the part of Airflow's address before its pages, without a final slash, such as
`https://airflow.example.com/data`; empty: an address on the same host, for an Airflow at its root. `workspace` is the
name of one of `[consent_retl] page_workspaces`; empty: the deployment's default.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlencode

PREFIX: Final = "/consent-retl"
"""The path of the page in Airflow."""


def overview_page(*, base: str = "", workspace: str = "") -> str:
    """Return the address of the page about all syncs."""
    return _page("", base, workspace)


def sync_page(sync: str, *, base: str = "", workspace: str = "") -> str:
    """Return the address of the page about one sync, by its name: `customers/webhook`."""
    return _page("sync", base, workspace, name=sync)


def run_page(
    dag_id: str, run_id: str, task_id: str, *, map_index: int | None = None, base: str = "", workspace: str = ""
) -> str:
    """Return the address of the page about what one task did in one run, at all of its destinations.

    Args:
        dag_id, run_id, task_id: of the task.
        map_index: among mapped tasks; None or below 0: it is not mapped.
        base, workspace: as for the module.
    """
    return _page("run", base, workspace, **_task(dag_id, run_id, task_id, map_index))


def report_page(
    dag_id: str, run_id: str, task_id: str, *, map_index: int | None = None, base: str = "", workspace: str = ""
) -> str:
    """Return the address of the HTML report of a run; where none was written, it leads to the page of `run_page`."""
    return _page("report", base, workspace, **_task(dag_id, run_id, task_id, map_index))


def person_page(*, base: str = "", workspace: str = "") -> str:
    """Return the address of the form that asks for one person's id."""
    return _page("person", base, workspace)


def policy_page(place: str | None = None, *, base: str = "") -> str:
    """Return the address of the page about the policy at a place, such as `variable:consent_policy`; None: all."""
    return _page("policy", base, "", **({} if place is None else {"place": place}))


def airflow_run(dag_id: str, run_id: str, *, base: str = "") -> str:
    """Return the address of Airflow's own page about a run of a DAG."""
    return f"{base}/dags/{_part(dag_id)}/runs/{_part(run_id)}"


def airflow_task(dag_id: str, run_id: str, task_id: str, *, map_index: int | None = None, base: str = "") -> str:
    """Return the address of Airflow's own page about a task of a run; arguments as for `run_page`."""
    mapped = "" if map_index is None or map_index < 0 else f"/mapped/{map_index}"
    return f"{airflow_run(dag_id, run_id, base=base)}/tasks/{_part(task_id)}{mapped}"


def airflow_dag(dag_id: str, *, base: str = "") -> str:
    """Return the address of Airflow's own page about a DAG."""
    return f"{base}/dags/{_part(dag_id)}"


def _page(page: str, base: str, workspace: str, **query: str) -> str:
    query = query | ({"workspace": workspace} if workspace else {})
    return f"{base}{PREFIX}/{page}" + (f"?{urlencode(query)}" if query else "")


def _task(dag_id: str, run_id: str, task_id: str, map_index: int | None) -> dict[str, str]:
    mapped = {} if map_index is None or map_index < 0 else {"map_index": str(map_index)}
    return {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, **mapped}


def _part(text: str) -> str:
    return quote(text, safe="")
