"""The operator that cleans up the staging schema of a warehouse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.storage.manifest import PermittedManifest, SnapshotManifest


class DropStagingTablesOperator(ConsentRetlOperator):
    """Drop the tables that a run left in the staging schema, and old tables of runs that died.

    Contacts: the warehouse. Writes: drops tables of the staging schema that this package named, and no others; it
    never drops a delivered state (`delivered` tables).

    Meant as a teardown of the extraction: `drop.as_teardown(setups=snapshot)`. A load that is cleared afterwards needs
    a new extraction.

    Args:
        conn_id: the warehouse's connection. Templated.
        schema: the staging schema, as in `workspace="warehouse:<schema>"`. Templated.
        snapshot: the output of the extraction whose tables are dropped now. Templated.
        permitted: the output of the filter whose tables are dropped now. Templated.
        hook_params: arguments of the connection's hook, as for the extraction; by default those of the snapshot.
            Templated.
        older_than_s: seconds after which any other run's tables are dropped too; None: they stay. `retention`: after
            `[consent_retl] snapshot_days`, or the deployment's policy's age of `staging_tables` if that is less.

    Returns:
        `{"dropped": tables of this run, "swept": older ones}`.

    Raises:
        AirflowFailException: not retried: the connection, the schema or a reference is wrong.
        SourceUnavailableError: retried: the warehouse did not answer.
    """

    template_fields: Sequence[str] = ("conn_id", "schema", "snapshot", "permitted", "hook_params")
    ui_color = "#d9d9d9"

    def __init__(
        self,
        *,
        conn_id: str,
        schema: str,
        snapshot: Any = None,
        permitted: Any = None,
        hook_params: Mapping[str, Any] | None = None,
        older_than_s: float | Literal["retention"] | None = "retention",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.schema = schema
        self.snapshot = snapshot
        self.permitted = permitted
        self.hook_params = hook_params
        self.older_than_s = older_than_s

    def run(self, context: Context) -> dict[str, int]:
        """Drop the tables, and return their numbers."""
        from airflow_consent_retl.databases.staging import LASTING
        from airflow_consent_retl.hooks.retention_limits import retention_limits
        from airflow_consent_retl.hooks.workspaces import staging_warehouse

        older_than_s = self.older_than_s
        if older_than_s == "retention":
            limit = retention_limits(datetime.now(UTC))["staging_tables"].before
        elif older_than_s is None:
            limit = None
        elif older_than_s >= 0:
            limit = datetime.now(UTC) - timedelta(seconds=older_than_s)
        else:
            raise ConfigurationError("older_than_s has to be 0 or more")
        hook_params, ours = self._of_run()
        with staging_warehouse(self.conn_id, self.schema, context, hook_params=hook_params) as warehouse:
            there = [table for table in warehouse.tables() if table.kind not in LASTING]
            dropped = [table for table in there if table.name in ours]
            swept = [table for table in there if table.name not in ours and limit is not None and table.made_at < limit]
            for table in [*dropped, *swept]:
                warehouse.drop(table)
        self.log.info("dropped %s tables of this run, swept %s older ones", len(dropped), len(swept))
        return {"dropped": len(dropped), "swept": len(swept)}

    def _of_run(self) -> tuple[Mapping[str, Any] | None, set[str]]:
        """Return the hook's parameters, and the tables that the references name; a task that made nothing has none."""
        from airflow_consent_retl.storage import open_permitted, open_snapshot

        manifests: list[SnapshotManifest | PermittedManifest] = []
        if self.snapshot is not None:
            manifests.append(open_snapshot(self.snapshot, is_proof=False).manifest)
        if self.permitted is not None:
            manifests.append(open_permitted(self.permitted, is_proof=False).manifest)
        hook_params = self.hook_params
        for manifest in manifests:
            if hook_params is None and manifest.source.conn_id == self.conn_id:
                hook_params = manifest.source.hook_params
        return hook_params, {table.name for manifest in manifests for table in manifest.staging_tables}
