"""The links of one page: the addresses of `addresses`, below the place where this Airflow is served."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from airflow_consent_retl.sight import addresses

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.run_records import RunningTask


@dataclass(frozen=True, slots=True)
class Links:
    """The links of one page.

    Args:
        base: the path below which Airflow is served; empty: at the root.
        workspace: the name of the workspace that the page is about; empty: the default.
    """

    base: str
    workspace: str = ""

    @classmethod
    def of(cls, root_path: str, *, workspace: str = "") -> Links:
        """Return the links below the path at which the page is mounted."""
        return cls(root_path.removesuffix(addresses.PREFIX), workspace)

    def within(self, workspace: str) -> Links:
        """Return the links of the same page about another workspace."""
        return replace(self, workspace=workspace)

    def overview(self, *, days: int, find: str = "") -> str:
        """Return the address of the page about all syncs, for some days, with a part of their names."""
        more = urlencode({"days": str(days), **({"find": find} if find else {})})
        address = addresses.overview_page(base=self.base, workspace=self.workspace)
        return f"{address}{'&' if self.workspace else '?'}{more}"

    @property
    def search(self) -> str:
        """The address of the form that finds syncs; what it asks for is in its fields."""
        return addresses.overview_page(base=self.base)

    def sync(self, name: str, *, days: int, page: int = 1) -> str:
        """Return the address of the page about a sync, for some days."""
        more = {"days": str(days), **({"page": str(page)} if page > 1 else {})}
        return f"{addresses.sync_page(name, base=self.base, workspace=self.workspace)}&{urlencode(more)}"

    def run(self, task: RunningTask) -> str:
        """Return the address of the page about what a task did."""
        return addresses.run_page(
            task.dag, task.run, task.task, map_index=task.map_index, base=self.base, workspace=self.workspace
        )

    def report(self, task: RunningTask) -> str:
        """Return the address of the HTML report of the run of a task."""
        return addresses.report_page(
            task.dag, task.run, task.task, map_index=task.map_index, base=self.base, workspace=self.workspace
        )

    @property
    def person(self) -> str:
        """The address of the form for a person."""
        return addresses.person_page(base=self.base, workspace=self.workspace)

    def policy(self, place: str | None = None) -> str:
        """Return the address of the page about policies."""
        return addresses.policy_page(place, base=self.base)

    def dag(self, dag_id: str) -> str:
        """Return the address of Airflow's page about a DAG."""
        return addresses.airflow_dag(dag_id, base=self.base)

    def task(self, task: RunningTask) -> str:
        """Return the address of Airflow's page about a task in its run."""
        return addresses.airflow_task(task.dag, task.run, task.task, map_index=task.map_index, base=self.base)

    @property
    def airflow(self) -> str:
        """The address of Airflow."""
        return f"{self.base}/"

    def asset(self, name: str, version: str) -> str:
        """Return the address of a file that the page needs; another version has another address."""
        return f"{self.base}{addresses.PREFIX}/assets/{name}?v={version}"
