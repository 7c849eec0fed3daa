"""A load whose destination answers as it is asked to, for tests of what a run leaves behind."""

from __future__ import annotations

from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.operators import LoadOperator


class Kept(Destination):
    """Answers as it is asked to, and removes everyone."""

    can_remove = True

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    @property
    def limits(self) -> Limits:
        return Limits(batch_rows=10)

    def open(self, load: Load) -> None:
        """Nothing has to be opened."""

    def send(self, batch: Batch) -> Outcomes:
        return Outcomes(batch.rows.num_rows, self.outcome)

    def remove(self, batch: Batch) -> Outcomes:
        return Outcomes.accepted(batch.rows.num_rows)


class LoadKept(LoadOperator):
    """Loads into `Kept`."""

    outcome = Outcome(RowStatus.ACCEPTED)

    def build_destination(self) -> Destination:
        return Kept(self.outcome)
