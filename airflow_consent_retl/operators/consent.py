"""The operator that decides consent for every row of a snapshot, for all destinations at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from airflow_consent_retl.errors import ConfigurationError, ModelError
from airflow_consent_retl.filtering.summary import check_limits, destination_counts, summary
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator
from airflow_consent_retl.progress import Progress

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.consent import (
        ConsentMapping,
        ConsentMappingLike,
        ConsentPlan,
        ConsentPolicy,
        DecisionCounts,
    )
    from airflow_consent_retl.filtering.files import DecidedSignatures, SnapshotFilter
    from airflow_consent_retl.filtering.policy_change import PolicyChange
    from airflow_consent_retl.filtering.warehouse import PlanFor
    from airflow_consent_retl.hooks.policies import LoadedPolicy, PolicySource
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import (
        DecisionLog,
        ManifestRef,
        PermittedManifest,
        RecipientsGroup,
        SnapshotManifest,
        WarehouseDecision,
    )


class ConsentFilterOperator(ConsentRetlOperator):
    """Decide who may be sent where, and write each permitted row once, grouped by its recipients.

    Reads: the policy, the snapshot. Writes: into a new folder of the workspace, the permitted rows, the decision log,
    and, last, the manifest; a failed try removes it. Contacts: nothing else.

    Args:
        snapshot: the output of an `ExtractModelOperator`. Templated.
        policy: `variable:<key>`, `connection:<conn_id>`, `file:<path>`, or the document itself. Templated.
        consent: which column of the model holds each category's consent: category id to the name of a boolean column
            or to another format of `airflow_consent_retl.consent`; or one `ConsentObject` for all.
        destinations: the policy's names of the destinations that this DAG serves. Templated.
        on_duplicate_id: what to do with ids that occur more than once: `fail` the task, or `deny` all their rows.
        max_denied_ratio: the share of rows, 0 to 1, that one destination may be denied before the task fails; one
            number for all or one by destination. None: no limit.
        max_invalid_ratio: the share of rows, 0 to 1, that may hold a consent value nobody declared. None: no limit.
        max_released_ratio: the share of rows, 0 to 1, that a changed policy may newly permit to one destination before
            the task fails. None: no limit. Who gains and who loses is logged whenever the policy is another one than at
            the task's last run.
        workspace: URI of the workspace, otherwise `[consent_retl] workspace`, otherwise a folder in AIRFLOW_HOME. A
            snapshot that stayed in a warehouse is filtered there. Templated.

    Returns:
        A reference to the manifest of the permitted set, with its digest and the rows permitted by destination.

    Raises:
        AirflowFailException: not retried: the policy, the consent mapping, the destinations or the snapshot are
            wrong, ids occur twice, a limit is passed. Nothing is published.
    """

    template_fields: Sequence[str] = ("snapshot", "policy", "destinations", "workspace")
    ui_color = "#cfe2f3"

    def __init__(
        self,
        *,
        snapshot: Any,
        policy: PolicySource,
        consent: ConsentMappingLike,
        destinations: Sequence[str],
        on_duplicate_id: Literal["fail", "deny"] = "fail",
        max_denied_ratio: float | Mapping[str, float] | None = None,
        max_invalid_ratio: float | None = None,
        max_released_ratio: float | None = None,
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.snapshot = snapshot
        self.policy = policy
        self.consent = consent
        self.destinations = destinations
        self.on_duplicate_id = on_duplicate_id
        self.max_denied_ratio = max_denied_ratio
        self.max_invalid_ratio = max_invalid_ratio
        self.max_released_ratio = max_released_ratio
        self.workspace = workspace

    def run(self, context: Context) -> dict[str, object]:
        """Filter, and return the reference to the permitted set."""
        from airflow_consent_retl.consent import plan_consent
        from airflow_consent_retl.databases.staging import is_warehouse
        from airflow_consent_retl.filtering.files import SnapshotFilter, column_kinds, repeated_ids
        from airflow_consent_retl.hooks.policies import read_policy
        from airflow_consent_retl.storage.location import manifest_folder, run_folder
        from airflow_consent_retl.storage.manifest import ManifestRef, SnapshotManifest

        at = datetime.now(UTC)
        loaded = read_policy(self.policy)
        ref = ManifestRef.from_xcom(self.snapshot, kind="snapshot")
        source = manifest_folder(ref.manifest)
        snapshot = SnapshotManifest.from_json(source.read_manifest(sha256=ref.sha256))

        mapping = self._mapping(snapshot)

        def plan_of(policy: ConsentPolicy) -> PlanFor:
            return lambda kinds: plan_consent(
                policy, destinations=self.destinations, mapping=mapping, columns=kinds, at=at
            )

        change = self._policy_change(context, loaded, is_staged=snapshot.table is not None)
        plan_for = change.both(plan_of(loaded.policy), plan_of(change.before))
        plan = plan_for(column_kinds(snapshot.columns))
        for warning in plan.warnings:
            self.log.warning(warning)
        if snapshot.table is not None:
            return self._filter_staged(context, snapshot, ref, plan_for, loaded, change, at)
        if is_warehouse(self.workspace):
            raise ConfigurationError(
                f"workspace `{self.workspace}`: the snapshot is in files; give its extraction the same workspace"
            )
        duplicates, missing = repeated_ids(source, snapshot)
        self._check_repeated(missing, 0 if duplicates is None else len(duplicates), snapshot.primary_key)
        with SnapshotFilter(source, snapshot, plan, duplicates=duplicates, at=at) as run:
            decided = run.decide(Progress(self.log, "counted", total_rows=snapshot.rows))
            self._log_decisions(plan, decided.counts)
            change.check(decided, at=at)
            check_limits(
                decided.counts, max_denied_ratio=self.max_denied_ratio, max_invalid_ratio=self.max_invalid_ratio
            )
            folder = run_folder(self.workspace, context, kind="permitted")
            published = False
            try:
                reference = self._write(run, decided, folder, ref, snapshot, loaded, at)
                published = True
                change.accept(at=at)
            finally:
                if not published:
                    folder.remove()
        return reference

    def _write(
        self,
        run: SnapshotFilter,
        decided: DecidedSignatures,
        folder: Folder,
        ref: ManifestRef,
        snapshot: SnapshotManifest,
        loaded: LoadedPolicy,
        at: datetime,
    ) -> dict[str, object]:
        from airflow_consent_retl.storage.location import subject_key

        key = subject_key(self.workspace)
        groups, log = run.write(decided, folder, key, Progress(self.log, "filtered", total_rows=snapshot.rows))
        return self._publish(run.plan, decided, folder, ref, snapshot, loaded, at, groups=groups, log=log)

    def _filter_staged(
        self,
        context: Context,
        snapshot: SnapshotManifest,
        ref: ManifestRef,
        plan_for: PlanFor,
        loaded: LoadedPolicy,
        change: PolicyChange,
        at: datetime,
    ) -> dict[str, object]:
        """Filter where the rows are; only the manifest and the table of signatures are written to the workspace."""
        from airflow_consent_retl.databases.staging import is_warehouse, schema_of
        from airflow_consent_retl.filtering.warehouse import WarehouseFilter
        from airflow_consent_retl.hooks.workspaces import staging_warehouse
        from airflow_consent_retl.storage.decision_log import run_name
        from airflow_consent_retl.storage.location import run_folder, subject_key

        assert snapshot.table is not None  # noqa: S101 - for the type checker: the caller looked
        schema = snapshot.table.namespace
        if self.workspace is not None and (not is_warehouse(self.workspace) or schema_of(self.workspace) != schema):
            raise ConfigurationError(
                f"workspace `{self.workspace}`: the snapshot is in staging schema `{schema}`, where its rows are "
                "filtered; leave `workspace` out"
            )
        with (
            staging_warehouse(snapshot.source.conn_id, schema, context, model=snapshot.model) as warehouse,
            WarehouseFilter(warehouse, snapshot, plan_for, at=at) as run,
        ):
            self._check_repeated(*run.find_repeated_ids(), snapshot.primary_key)
            decided = run.decide()
            self._log_decisions(run.plan, decided.counts)
            change.check(decided, at=at)
            check_limits(
                decided.counts, max_denied_ratio=self.max_denied_ratio, max_invalid_ratio=self.max_invalid_ratio
            )
            folder = run_folder(None, context, kind="permitted")
            published = False
            try:
                written = run.write(decided, folder, subject_key(None), run=run_name(ref.sha256, at))
                reference = self._publish(
                    run.plan,
                    decided,
                    folder,
                    ref,
                    snapshot,
                    loaded,
                    at,
                    groups=written.groups,
                    log=written.decision_log,
                    staged=written.tables,
                )
                run.keep()
                published = True
                change.accept(at=at)
            finally:
                if not published:
                    folder.remove()
            self.log.info("moved %s bytes out of the warehouse", f"{warehouse.bytes_read:,}")
        return reference

    def _publish(
        self,
        plan: ConsentPlan,
        decided: DecidedSignatures,
        folder: Folder,
        ref: ManifestRef,
        snapshot: SnapshotManifest,
        loaded: LoadedPolicy,
        at: datetime,
        *,
        groups: tuple[RecipientsGroup, ...],
        log: DecisionLog,
        staged: WarehouseDecision | None = None,
    ) -> dict[str, object]:
        from airflow_consent_retl.consent import mapping_document
        from airflow_consent_retl.storage.location import workspace_root
        from airflow_consent_retl.storage.manifest import MANIFEST_NAME, ManifestRef, PermittedManifest

        counts = decided.counts
        manifest = PermittedManifest(
            model=snapshot.model,
            primary_key=snapshot.primary_key,
            source=snapshot.source,
            workspace=workspace_root(None if staged is not None else self.workspace),
            consent=mapping_document(self._mapping(snapshot)),
            snapshot_sha256=ref.sha256,
            snapshot_read_at=snapshot.read_at,
            policy_source=loaded.source,
            policy_digest=loaded.policy.digest,
            decided_at=at,
            columns=snapshot.columns,
            destinations=destination_counts(plan, counts),
            groups=groups,
            decision_log=log,
            rows_read=counts.read,
            rows_for_nobody=counts.for_nobody,
            conflicts={str(category): rows for category, rows in counts.conflicts.items()},
            staged=staged,
        )
        digest = folder.publish(manifest.to_json())
        self._log_summary(manifest, folder)
        return ManifestRef(
            kind="permitted",
            manifest=f"{folder.uri}/{MANIFEST_NAME}",
            sha256=digest,
            model=manifest.model,
            rows=counts.read - counts.for_nobody,
            at=at,
            permitted={name: c.permitted for name, c in manifest.destinations.items()},
        ).to_xcom()

    def _policy_change(self, context: Context, loaded: LoadedPolicy, *, is_staged: bool) -> PolicyChange:
        from airflow_consent_retl.filtering.policy_change import PolicyChange
        from airflow_consent_retl.storage.location import policy_folder
        from airflow_consent_retl.storage.policy_history import PolicyHistory

        folder = policy_folder(None if is_staged else self.workspace, context)
        history = None if folder is None else PolicyHistory(folder)
        return PolicyChange(history, loaded.policy, self.log, max_released_ratio=self.max_released_ratio)

    def _mapping(self, snapshot: SnapshotManifest) -> ConsentMapping:
        from airflow_consent_retl.consent import parse_consent_mapping, parse_source_document

        sources = map(parse_source_document, snapshot.source.consent_sources)
        return parse_consent_mapping(self.consent).with_sources(sources)

    def _check_repeated(self, missing: int, repeated: int, key: str) -> None:
        if missing:
            self.log.warning("%s rows have no `%s` and are denied everywhere (missing_id)", f"{missing:,}", key)
        if not repeated:
            return
        found = f"{repeated:,} ids of `{key}` occur more than once"
        if self.on_duplicate_id != "deny":
            raise ModelError(f'{found}: make them unique in the model, or set on_duplicate_id="deny" to withhold them')
        self.log.warning("%s: all their rows are denied everywhere (duplicate_id)", found)

    def _log_decisions(self, plan: ConsentPlan, counts: DecisionCounts) -> None:
        permitted = counts.read - counts.for_nobody
        self.log.info(
            "read %s = permitted somewhere %s + for nobody %s; policy %s",
            f"{counts.read:,}",
            f"{permitted:,}",
            f"{counts.for_nobody:,}",
            plan.policy.digest,
        )
        for category, rows in counts.conflicts.items():
            self.log.warning("category `%s`: in %s rows, its records contradict each other", category, f"{rows:,}")
        for name, destination in counts.destinations.items():
            if destination.read and not destination.permitted:
                self.log.warning("`%s` is denied all %s rows: nothing will be sent", name, f"{destination.read:,}")

    def _log_summary(self, manifest: PermittedManifest, folder: Folder) -> None:
        for name, counts in manifest.destinations.items():
            for field, without in counts.withheld_fields.items():
                self.log.info("`%s`: %s rows go without field `%s`", name, f"{without:,}", field)
        self.log.info("consent decided at %s\n%s", f"{manifest.decided_at:%F %T %Z}", summary(manifest))
        self.log.info("permitted set %s", folder.uri)
