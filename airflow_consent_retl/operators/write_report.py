"""The operator that writes a report: one HTML file that needs no server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.compat import AirflowSkipException
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ConsentReportOperator(ConsentRetlOperator):
    """Write a report about this run of the DAG, or about a period: one HTML file with charts, for people and for print.

    It shows who was sent, who was denied and why, who was taken back and how late, what waits, what was rejected, and
    which policy applied. It has counts, codes and digests, and no value of a row. `consent_sync` has it as a teardown
    with `report=True`.

    Reads: the ledger, the archive of policies. Writes: the file; one that is there is replaced. Contacts: the storage
    of the file.

    Args:
        to: a path or a URI of object storage that ends in `.html`; None: in the folder `reports` of the workspace,
            where it ends with the other evidence. Templated.
        syncs: the names of the syncs, such as `customers/webhook`; none: all. Templated.
        days: the length of the period, up to now; None: this run of the DAG.
        ledger_conn_id: as for the loads. Templated.
        workspace: as for the loads. Templated.

    Returns:
        `report`, the path or the URI of the file; `sha256` of it; `figures_sha256` of what it shows; its `syncs`; the
        number of `runs` in it, and of `alerts`, which are matters that need attention.

    Raises:
        AirflowSkipException: this run of the DAG has neither sent nor removed anyone.
        AirflowFailException: not retried: the file cannot be written there, or the archive of policies was changed.
        LedgerUnavailableError: retried.
    """

    template_fields: Sequence[str] = ("to", "syncs", "ledger_conn_id", "workspace")
    ui_color = "#cfe3d8"

    def __init__(
        self,
        *,
        to: str | None = None,
        syncs: Sequence[str] = (),
        days: int | None = None,
        ledger_conn_id: str | None = None,
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.syncs = syncs
        self.days = days
        self.ledger_conn_id = ledger_conn_id
        self.workspace = workspace

    def run(self, context: Context) -> dict[str, object]:
        """Write the report, and return where it is."""
        from airflow_consent_retl.sight.report_file import DAYS, is_recorded, report

        task = context["ti"]
        dag, run = (str(task.dag_id), str(task.run_id)) if self.days is None else ("", "")
        if run and not is_recorded(dag, run, workspace=self.workspace, ledger_conn_id=self.ledger_conn_id):
            raise AirflowSkipException("this run of the DAG has neither sent nor removed anyone: there is no report")
        written = report(
            self.to,
            syncs=list(self.syncs),
            dag=dag,
            run=run,
            days=self.days or DAYS,
            workspace=self.workspace,
            ledger_conn_id=self.ledger_conn_id,
        )
        self.log.info("report of %s runs at %s syncs: %s", written.runs, len(written.syncs), written.report)
        return {
            "report": written.report,
            "sha256": written.sha256,
            "figures_sha256": written.figures_sha256,
            "syncs": list(written.syncs),
            "runs": written.runs,
            "alerts": written.alerts,
        }
