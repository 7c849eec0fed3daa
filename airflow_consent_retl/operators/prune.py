"""The operator that ends the retention of rows and records in a workspace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.operators.base_operator import ConsentRetlOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class PruneOperator(ConsentRetlOperator):
    """Delete rows and records of the workspace that have reached the end of their retention, and what killed runs left.

    The limits are `[consent_retl] snapshot_days` (7), `snapshot_number` and `evidence_days` (1096), and those of the
    deployment's policy where they are stricter. Of a permitted set, the rows end with the snapshots; its manifest and
    decision log are evidence. What was written within a day, deliveries in progress, delivered states, and everything
    of a model that a task has now, stay. Run it daily, for each workspace; `consent_sync` has it as a teardown.

    Reads: the workspace, the ledger, the deployment's policy. Writes: deletes files of the workspace, and drops tables
    of the staging schema that this package named. Contacts: the warehouse, if `schema` is given.

    Args:
        conn_id: the connection of a warehouse with a staging schema. Templated.
        schema: the staging schema, whose old tables are dropped too, except delivered states. Templated.
        hook_params: arguments of the connection's hook, as for the extraction. Templated.
        only_show: delete nothing, and log and return what would be deleted.
        ledger_conn_id: as for the loads. Templated.
        workspace: as for the loads. Templated.

    Returns:
        By kind, the number of folders, documents and tables that were deleted.

    Raises:
        AirflowFailException: not retried: a limit is wrong, or ledger and workspace do not belong together.
        LedgerUnavailableError, SourceUnavailableError: retried.
    """

    template_fields: Sequence[str] = ("conn_id", "schema", "hook_params", "ledger_conn_id", "workspace")
    ui_color = "#d9d9d9"

    def __init__(
        self,
        *,
        conn_id: str | None = None,
        schema: str | None = None,
        hook_params: Mapping[str, Any] | None = None,
        only_show: bool = False,
        ledger_conn_id: str | None = None,
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.schema = schema
        self.hook_params = hook_params
        self.only_show = only_show
        self.ledger_conn_id = ledger_conn_id
        self.workspace = workspace

    def run(self, context: Context) -> dict[str, int]:
        """Prune, and return the counts."""
        from airflow_consent_retl.hooks.pruning import prune

        pruned = prune(
            workspace=self.workspace,
            ledger_conn_id=self.ledger_conn_id,
            conn_id=self.conn_id,
            schema=self.schema,
            hook_params=self.hook_params,
            dry_run=self.only_show,
            log=self.log,
        )
        for one in pruned:
            self.log.info("%s %s (%s, written at %s)", one.kind, one.place, one.reason, one.made_at)
        return dict(Counter(one.kind for one in pruned))
