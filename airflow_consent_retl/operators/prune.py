"""The operator that ends the retention of rows and records in a workspace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator
from airflow_consent_retl.operators.face import MODULES
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.contract.pruned import Pruned
    from airflow_consent_retl.contract.spec import DestinationSpec
    from airflow_consent_retl.operators.load import LoadOperator
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.folder import Folder

_log = module_log(__name__)


class PruneOperator(ConsentRetlOperator):
    """Delete rows and records of the workspace that have reached the end of their retention, and what killed runs left.

    The limits are `[consent_retl] snapshot_days` (7), `snapshot_number` and `evidence_days` (1096), and those of the
    deployment's policy where they are stricter. Of a permitted set, the rows end with the snapshots; its manifest and
    decision log are evidence, and so are the reports of the workspace, finished requests to forget people and the
    ledger's records of runs. What was written within a day, deliveries in progress, delivered states, and everything
    of a model that a task has now, stay. Run it daily, for each workspace; `consent_sync` has it as a teardown.

    Older versions of exported files end by the policy's `retention.file_versions`, in the folder of each sync of the
    workspace, also where its load runs no more.

    Reads: the workspace, the ledger, the deployment's policy. Writes: deletes files of the workspace, and drops tables
    of the staging schema that this package named; deletes older versions of exports. Contacts: the warehouse, if
    `schema` is given; the storages of exports, if the policy has `retention.file_versions`.

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
        pruned += prune_old_versions(self.workspace, dry_run=self.only_show, log=self.log)
        for one in pruned:
            self.log.info("%s %s (%s, written at %s)", one.kind, one.place, one.reason, one.made_at)
        return dict(Counter(one.kind for one in pruned))


def note_versions(load: LoadOperator, root: Folder, sync: str) -> None:
    """Note the place at which a load keeps older versions, if it has one, for `prune_old_versions`.

    Args:
        load: which is about to write.
        root: of the workspace.
        sync: the sync's name.
    """
    from airflow_consent_retl.storage.old_versions import OldVersions, VersionsPlace

    # A class of the DAG author's own may derive from one of this package.
    names = [kind.__name__ for kind in type(load).__mro__ if kind.__name__ in MODULES]
    if load.versions_place and names:
        OldVersions(root).note(VersionsPlace(sync, names[0], load.versions_place))


def prune_old_versions(workspace: str | None = None, *, dry_run: bool = False, log: TaskLog = _log) -> list[Pruned]:
    """Delete the older versions at destinations that the deployment's policy does not keep, and return them.

    The loads of a workspace noted the places. A place that does not answer, or that a load uses now, is left to the
    next time.

    Args:
        workspace: as for the loads.
        dry_run: delete nothing, and return what would be deleted.
        log: gets a line for each place that was left.

    Raises:
        ConfigurationError: a place does not suit any more, such as for a storage whose provider is gone.
        PolicyError: the deployment's policy is wrong.
        RefusedError: the notes of the workspace were changed.
    """
    from airflow_consent_retl.hooks.retention_limits import declared
    from airflow_consent_retl.storage.location import open_folder, workspace_root
    from airflow_consent_retl.storage.old_versions import OldVersions

    kept, pruned = declared("file_versions"), []
    if kept.max_age is None and kept.number is None:
        return []
    for one in OldVersions(open_folder(workspace_root(workspace))).all():
        # INVARIANT: a note in a workspace names no code but that of the list.
        module = MODULES.get(one.operator)
        if module is None:
            continue
        spec: type[DestinationSpec] = getattr(import_module(module), one.operator).spec_class
        try:
            pruned += spec.prune_place(one.place, dry_run=dry_run)
        except (DestinationError, DestinationUnavailableError) as error:
            log.info("older versions of sync `%s` were left: %s", one.sync, error)
    return pruned
