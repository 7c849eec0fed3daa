"""The methods by which Airflow's provider of OpenLineage asks an operator for its lineage."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_consent_retl.signals.lineage import TaskLineage


class LineageMethods:
    """A task that OpenLineage's events describe, where that provider is installed and set up."""

    @abstractmethod
    def task_lineage(self) -> TaskLineage:
        """Return the lineage of this task, as far as it is known now. Its module is imported only here."""

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Return the datasets and facets of the event about the start."""
        return self.task_lineage().at_start()

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any]:
        """Return the datasets and facets of the event about the end, also of a failed task."""
        return self.task_lineage().at_end()
