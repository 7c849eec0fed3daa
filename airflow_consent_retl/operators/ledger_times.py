"""The operator that resets times of the ledger which a clock that was ahead wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.operators.base_operator import ConsentRetlOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ResetLedgerTimesOperator(ConsentRetlOperator):
    """Bring the times of a ledger that are in the future back to the present.

    A clock that was ahead wrote them: the time of a decision, of withdrawals, or of the delivered data. Run it once,
    after the clock was set right. It changes no other time, and no delivered state.

    Reads and writes: the ledger. Contacts: nothing else.

    Args:
        ledger_conn_id: as for the loads. Templated.
        workspace: as for the loads. Templated.

    Returns:
        The names of the syncs whose times changed.

    Raises:
        LedgerUnavailableError: retried: the ledger does not answer.
    """

    template_fields: Sequence[str] = ("ledger_conn_id", "workspace")
    ui_color = "#d9d9d9"

    def __init__(self, *, ledger_conn_id: str | None = None, workspace: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ledger_conn_id = ledger_conn_id
        self.workspace = workspace

    def run(self, context: Context) -> list[str]:
        """Reset the times, and return the syncs."""
        from airflow_consent_retl.hooks.upkeep import reset_times

        return reset_times(workspace=self.workspace, ledger_conn_id=self.ledger_conn_id, log=self.log)
