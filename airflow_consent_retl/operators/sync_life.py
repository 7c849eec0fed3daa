"""The operators for the life of a sync outside of its runs: adoption after a loss, and another DAG or name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.operators.base_operator import ConsentRetlOperator, holder_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class AdoptDeliveredStateOperator(ConsentRetlOperator):
    """Have the ledger adopt the delivered states of a workspace, after one of the two was lost.

    Loads and `PropagateWithdrawalsOperator` refuse a ledger that does not know what the workspace has. Restore both
    from backups of the same time first, if there are any. Otherwise run this task once: for each sync that the ledger
    does not know fully, the newest delivered state in the workspace becomes the current one, and changes that may have
    been sent are resolved by the next run. People delivered after that state was written are not known.

    Reads: the workspace. Writes: the ledger, and the workspace's file with the ids of both. Contacts no destination.

    Args:
        syncs: the names of the syncs, such as `customers/webhook`; None: all. Templated.
        gone: instead, declare that no one of these syncs is at its destination any more: their delivered states are
            deleted, and the next load begins anew.
        unsigned: adopt also what an earlier release wrote without a signature, or signed with a secret that is lost.
        ledger_conn_id: as for the loads. Templated.
        workspace: as for the loads. Templated.

    Returns:
        For each sync its name, the result, the number of entries, and the rows to resolve.

    Raises:
        AirflowFailException: not retried: a sync is unknown, or the workspace has no delivered state of it.
        SyncBusyError, LedgerUnavailableError: retried.
    """

    template_fields: Sequence[str] = ("syncs", "ledger_conn_id", "workspace")
    ui_color = "#d9d2e9"

    def __init__(
        self,
        *,
        syncs: Sequence[str] | None = None,
        gone: bool = False,
        unsigned: bool = False,
        ledger_conn_id: str | None = None,
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.syncs = syncs
        self.gone = gone
        self.unsigned = unsigned
        self.ledger_conn_id = ledger_conn_id
        self.workspace = workspace

    def run(self, context: Context) -> list[dict[str, Any]]:
        """Adopt, and return what was found."""
        from airflow_consent_retl.hooks.upkeep import adopt

        adopted = adopt(
            workspace=self.workspace,
            ledger_conn_id=self.ledger_conn_id,
            syncs=self.syncs,
            gone=self.gone,
            unsigned=self.unsigned,
            holder=holder_of(context),
            log=self.log,
        )
        return [asdict(one) for one in adopted]


class HandOverSyncOperator(ConsentRetlOperator):
    """Hand a sync over to another DAG, or its people to another name of its model or destination. Run it once.

    A load refuses a sync that another DAG serves, since each would remove whom the other delivers. After this task only
    the named DAG may load the sync. A model or destination with another name would be another sync, without people:
    with `new_sync`, the delivered people, the target and the policies of earlier runs belong to the new name. Run it
    before the first run under the new name.

    Reads: the workspace. Writes: the ledger, and with `new_sync` the workspace. Contacts no destination.

    Args:
        sync: the name of the sync, such as `customers/webhook`. Templated.
        new_dag_id: the id of the DAG that loads it from now on; None: as before. Templated.
        new_sync: its name from now on, such as `clients/webhook`; None: as before. Templated.
        ledger_conn_id: as for the loads. Templated.
        workspace: as for the loads. Templated.

    Raises:
        AirflowFailException: not retried: the ledger does not know the sync, or the new name has people already.
        SyncBusyError, LedgerUnavailableError: retried.
    """

    template_fields: Sequence[str] = ("sync", "new_dag_id", "new_sync", "ledger_conn_id", "workspace")
    ui_color = "#d9d2e9"

    def __init__(
        self,
        *,
        sync: str,
        new_dag_id: str | None = None,
        new_sync: str | None = None,
        ledger_conn_id: str | None = None,
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sync = sync
        self.new_dag_id = new_dag_id
        self.new_sync = new_sync
        self.ledger_conn_id = ledger_conn_id
        self.workspace = workspace

    def run(self, context: Context) -> None:
        """Hand it over."""
        from airflow_consent_retl.hooks.upkeep import hand_over

        hand_over(
            self.sync,
            dag=self.new_dag_id,
            to=self.new_sync,
            workspace=self.workspace,
            ledger_conn_id=self.ledger_conn_id,
            holder=holder_of(context),
            log=self.log,
        )
