"""The operator that decides consent for every row of a snapshot, for all destinations at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from airflow_consent_retl.errors import ModelError
from airflow_consent_retl.fields.field_values import category_of
from airflow_consent_retl.filtering.summary import check_limits, destination_counts, summary
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator
from airflow_consent_retl.operators.lineage_methods import LineageMethods
from airflow_consent_retl.operators.one_load import check_once
from airflow_consent_retl.operators.parsed_tasks import refuse
from airflow_consent_retl.progress import short

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.consent import (
        ConsentMapping,
        ConsentMappingLike,
        ConsentPlan,
        ConsentPolicy,
        DecisionCounts,
    )
    from airflow_consent_retl.consent.plan import PlanFor
    from airflow_consent_retl.filtering.decided import DecidedSignatures
    from airflow_consent_retl.filtering.decision_records import DecisionRecorder
    from airflow_consent_retl.filtering.policy_change import MaxReleased, PolicyChange
    from airflow_consent_retl.hooks.central_policy import PolicySource
    from airflow_consent_retl.hooks.policies import LoadedPolicy
    from airflow_consent_retl.signals.lineage import FilterLineage
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import ManifestRef, PermittedManifest, SnapshotManifest
    from airflow_consent_retl.storage.opening import OpenedSnapshot
    from airflow_consent_retl.workspace.base import Workspace, Written


class ConsentFilterOperator(LineageMethods, ConsentRetlOperator):
    """Decide which rows each destination may receive, and write each permitted row once, grouped by its recipients.

    Reads: the policy, the snapshot. Writes: into a new folder of the workspace, the permitted rows, the decision log,
    and, last, the manifest; a failed try removes it. Contacts: nothing else.

    Each run reads the consent of each row and decides it. Where the run before had the same rows in files, and each of
    them the same decision, its files are verified and linked into the new folder, or copied inside object storage.

    Args:
        snapshot: the output of an `ExtractModelOperator`. Templated.
        policy: `variable:<key>`, `connection:<conn_id>`, `file:<path>`, or the document itself; by default
            `[consent_retl] policy`. Where that is set, every other one is refused. Templated.
        consent: the column of the model with each category's consent: category id to the name of a boolean column
            or to another format of `airflow_consent_retl.consent`; or one `ConsentObject` for all. What the policy
            declares about the model may be left out, and cannot be replaced. Templated.
        destinations: the policy's names of the destinations that this DAG serves. Templated.
        on_duplicate_id: what to do with ids that occur more than once: `fail` the task, or `deny` all their rows.
        max_denied_ratio: the share of rows, 0 to 1, that one destination may be denied before the task fails; one
            number for all or one by destination. None: no limit.
        max_invalid_ratio: the share of rows, 0 to 1, that may have an undeclared consent value. None: no limit.
        max_released_ratio: the share of rows, 0 to 1, that a changed policy or consent mapping may newly permit to one
            destination before the task fails. Without it, 0.05 of the rows, and at least 10 rows. None: no limit.
            Whenever one of both differs from that of the last run of this model for the destination, in whichever
            task, the numbers of rows that gain and lose permission are logged. A first run has nothing to compare.
        accept_silence: the ids of categories under `opt_out` for which no row has to have an answer. For any other one
            the task fails if no row has one, because a wrong path or an empty column would permit everyone. Templated.
        answers: by destination, the categories whose answers a load of another DAG tells it with `consent(…)` of
            `airflow_consent_retl.fields`; those of this DAG's loads are found. Templated.
        absent: as for the loads. The filter warns about a category that every row grants, unless it is `withdrawn`.
        workspace: URI of the workspace, otherwise `[consent_retl] workspace`, otherwise a folder in AIRFLOW_HOME. A
            snapshot that stayed in a warehouse is filtered there. Templated.

    Returns:
        A reference to the manifest of the permitted set, with its digest and the rows permitted by destination.

    Raises:
        AirflowFailException: not retried: the policy, the consent mapping, the destinations or the snapshot are
            wrong, ids occur more than once, a limit is exceeded. Nothing is published.
    """

    template_fields: Sequence[str] = (
        "snapshot",
        "policy",
        "policy_digest",
        "consent",
        "destinations",
        "accept_silence",
        "answers",
        "workspace",
    )
    # The digest of the policy is known at the end.
    overwrite_rtif_after_execution = True
    ui_color = "#cfe2f3"

    def __init__(
        self,
        *,
        snapshot: Any,
        destinations: Sequence[str],
        policy: PolicySource | None = None,
        consent: ConsentMappingLike | None = None,
        on_duplicate_id: Literal["fail", "deny"] = "fail",
        max_denied_ratio: float | Mapping[str, float] | None = None,
        max_invalid_ratio: float | None = None,
        max_released_ratio: MaxReleased = "default",
        accept_silence: Sequence[str] = (),
        answers: Mapping[str, Sequence[str]] = MappingProxyType({}),
        absent: Literal["left_model", "withdrawn"] = "left_model",
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_once(destinations)
        self.snapshot = snapshot
        self.policy = policy
        self.policy_digest: str | None = None
        self.consent = consent
        self.destinations = destinations
        self.on_duplicate_id = on_duplicate_id
        self.max_denied_ratio = max_denied_ratio
        self.max_invalid_ratio = max_invalid_ratio
        self.max_released_ratio = max_released_ratio
        self.accept_silence = accept_silence
        self.answers = dict(answers)
        self.absent = absent
        self.workspace = workspace
        refuse(self.wrong_options())
        self._published: tuple[PermittedManifest, ManifestRef] | None = None

    def run(self, context: Context) -> dict[str, object]:
        """Filter, and return the reference to the permitted set."""
        from airflow_consent_retl.consent import plan_consent
        from airflow_consent_retl.consent.destination_binding import DestinationUse
        from airflow_consent_retl.filtering.decision_records import decided_run
        from airflow_consent_retl.filtering.files import column_kinds
        from airflow_consent_retl.filtering.silence import check_absence, check_accepted
        from airflow_consent_retl.hooks.forgotten_list import suppression_list
        from airflow_consent_retl.hooks.policies import policy_in_force
        from airflow_consent_retl.hooks.workspaces import open_workspace
        from airflow_consent_retl.operators.bindings import check_destinations, mapping_in_force, use_of_snapshot
        from airflow_consent_retl.operators.marked_answers import marked_answers
        from airflow_consent_retl.signals.outcome import outcomes_of_filter
        from airflow_consent_retl.storage import open_snapshot
        from airflow_consent_retl.storage.location import publishing_run, subject_key

        at = datetime.now(UTC)
        loaded = policy_in_force(self.policy)
        self.policy_digest = loaded.policy.digest
        snapshot = open_snapshot(self.snapshot)
        manifest = snapshot.manifest
        workspace = open_workspace(
            manifest,
            source=manifest.source,
            model=manifest.model,
            log=self.log,
            configured=self.workspace,
            context=context,
        )
        mapping = mapping_in_force(loaded, use_of_snapshot(manifest), self.consent)
        check_destinations(loaded, [DestinationUse(name=name) for name in self.destinations])

        answers = marked_answers(self, loaded.policy)

        def plan_of(policy: ConsentPolicy, destinations: Sequence[str], before: ConsentMapping | None) -> PlanFor:
            read = mapping if before is None else before
            return lambda kinds: plan_consent(
                policy, destinations=destinations, mapping=read, columns=kinds, at=at, answers=answers
            )

        check_accepted(loaded.policy, self.accept_silence)
        # Before the histories are opened: the names of the destinations are not checked yet.
        plan_of(loaded.policy, self.destinations, None)(column_kinds(manifest.columns))
        change = self._policy_change(loaded, mapping, manifest, workspace)
        change.check_guarded()
        plan_for = change.both(plan_of)
        # Before any row is read: a broken configuration fails first, with every problem.
        for warning in plan_for(column_kinds(manifest.columns)).warnings:
            self.log.warning(warning)
        forgotten = suppression_list(workspace.documents)
        # Read first: whoever is forgotten while this runs is found by the loads.
        state = forgotten.state
        with workspace.filter(snapshot, plan_for, at=at, forgotten=forgotten.of_model(manifest.model)) as run:
            self._check_repeated(*run.repeated_ids(), manifest.primary_key)
            decided = run.decide()
            self.outcomes = outcomes_of_filter(
                manifest.model,
                destination_counts(run.plan, decided.counts),
                policy_digest=loaded.policy.digest,
                policy_before=change.changed_from,
                decided_at=at,
                data_time=manifest.data_time,
            )
            self._log_decisions(run.plan, decided.counts)
            self._log_clashes(decided.clashes)
            check_absence(run.plan, decided, self.log, accept_silence=self.accept_silence)
            change.check(decided, at=at)
            check_limits(
                decided.counts, max_denied_ratio=self.max_denied_ratio, max_invalid_ratio=self.max_invalid_ratio
            )
            with publishing_run(workspace.documents, context, kind="permitted") as folder:
                recorder = self._recorder(workspace, manifest.model, run.plan, decided)
                written = run.write(decided, folder, subject_key(workspace.documents), recorder)
                permitted = self._manifest(
                    snapshot, workspace, run.plan, decided.counts, written, loaded, mapping, at
                ).model_copy(
                    update={
                        "suppression": state,
                        "accept_silence": tuple(self.accept_silence),
                        "clashes": decided.clashes,
                        "policy_before": change.changed_from,
                    }
                )
                # INVARIANT: what was decided is recorded before a load can read it.
                run.record(recorder, decided_run(permitted, folder.uri))
                digest = folder.publish(permitted.to_json())
                run.keep()
            self._accept(change, loaded, manifest.model, at)
        return self._reference(permitted, folder, digest)

    def _recorder(
        self, workspace: Workspace, model: str, plan: ConsentPlan, decided: DecidedSignatures
    ) -> DecisionRecorder:
        from airflow_consent_retl.filtering.decision_records import DecisionRecorder
        from airflow_consent_retl.storage.location import decisions_folder, open_folder, subject_key
        from airflow_consent_retl.storage.records.documents import DecisionRecords
        from airflow_consent_retl.storage.records.stream import RecordStream
        from airflow_consent_retl.storage.records.subjects import RecordKey

        stream = RecordStream(decisions_folder(workspace.documents, model, plan.destinations), DecisionRecords)
        key = RecordKey(subject_key(workspace.documents))
        return DecisionRecorder(stream, key, decided, self.log, open_folder)

    def _manifest(
        self,
        snapshot: OpenedSnapshot,
        workspace: Workspace,
        plan: ConsentPlan,
        counts: DecisionCounts,
        written: Written,
        loaded: LoadedPolicy,
        mapping: ConsentMapping,
        at: datetime,
    ) -> PermittedManifest:
        from airflow_consent_retl.consent import mapping_document
        from airflow_consent_retl.storage.location import workspace_root
        from airflow_consent_retl.storage.manifest import PermittedManifest

        manifest = snapshot.manifest
        return PermittedManifest(
            model=manifest.model,
            primary_key=manifest.primary_key,
            source=manifest.source,
            workspace=workspace_root(workspace.documents),
            consent=mapping_document(mapping),
            snapshot_sha256=snapshot.sha256,
            snapshot_read_at=manifest.read_at,
            as_of=manifest.as_of,
            policy_source=loaded.source,
            policy_digest=loaded.policy.digest,
            decided_at=at,
            columns=manifest.columns,
            destinations=destination_counts(plan, counts),
            groups=written.groups,
            decision_log=written.decision_log,
            rows_read=counts.read,
            rows_for_nobody=counts.for_nobody,
            conflicts={str(category): rows for category, rows in counts.conflicts.items()},
            content_sha256=written.content_sha256,
            staged=written.tables,
            source_sizes=manifest.source_sizes,
        )

    def _reference(self, permitted: PermittedManifest, folder: Folder, digest: str) -> dict[str, object]:
        from airflow_consent_retl.storage.manifest import MANIFEST_NAME, ManifestRef

        self._log_summary(permitted, folder)
        reference = ManifestRef(
            kind="permitted",
            manifest=f"{folder.uri}/{MANIFEST_NAME}",
            sha256=digest,
            model=permitted.model,
            rows=permitted.rows_read - permitted.rows_for_nobody,
            at=permitted.decided_at,
            permitted={name: counts.permitted for name, counts in permitted.destinations.items()},
        )
        self._published = permitted, reference
        return reference.to_xcom()

    def task_lineage(self) -> FilterLineage:
        """Return the lineage from the snapshot to the permitted rows of each destination."""
        from airflow_consent_retl.signals.lineage import FilterLineage
        from airflow_consent_retl.storage.manifest import ManifestRef

        snapshot = ManifestRef.from_xcom(self.snapshot, kind="snapshot")
        return FilterLineage(snapshot=snapshot, outcomes=self.outcomes, published=self._published)

    def _policy_change(
        self, loaded: LoadedPolicy, mapping: ConsentMapping, snapshot: SnapshotManifest, workspace: Workspace
    ) -> PolicyChange:
        from airflow_consent_retl.consent import mapping_document
        from airflow_consent_retl.filtering.policy_change import PolicyChange
        from airflow_consent_retl.hooks.lost_policies import (
            check_archive_of_place,
            decided_before,
            last_mappings,
            lost_policies,
        )
        from airflow_consent_retl.storage.location import policy_folder
        from airflow_consent_retl.storage.policy_history import PolicyHistory

        model = snapshot.model
        histories = {name: PolicyHistory(policy_folder(workspace.documents, model, name)) for name in self.destinations}
        kept = {name: history.latest_mapping() for name, history in histories.items()}
        decided = decided_before(workspace.documents, model)
        check_archive_of_place(loaded, decided, self.log)
        return PolicyChange(
            histories,
            loaded.policy,
            self.log,
            lost=lost_policies(histories, decided, self.log),
            max_released_ratio=self.max_released_ratio,
            waiting=loaded.waiting,
            consent=mapping_document(mapping),
            mappings=last_mappings(kept, decided),
            kept=kept,
            is_linked=snapshot.linked is not None,
        )

    def _accept(self, change: PolicyChange, loaded: LoadedPolicy, model: str, at: datetime) -> None:
        from airflow_consent_retl.hooks.approving import note_effects

        change.accept(at=at)
        note_effects(loaded, change.effects(model, at=at), change.expected(model, at=at))

    def _check_repeated(self, missing: int, repeated: int, key: str) -> None:
        if missing:
            self.log.warning("%s rows have no `%s` and are denied everywhere (missing_id)", f"{missing:,}", key)
        if not repeated:
            return
        found = f"{repeated:,} ids of `{key}` occur more than once"
        if self.on_duplicate_id != "deny":
            raise ModelError(f'{found}: make them unique in the model, or set on_duplicate_id="deny" to withhold them')
        self.log.warning("%s: all their rows are denied everywhere (duplicate_id)", found)

    def _log_clashes(self, clashes: Mapping[str, int]) -> None:
        for category, clusters in clashes.items():
            self.log.warning(
                "category `%s`: in %s clusters of linked people, one says yes and another no: all of them are denied",
                category,
                f"{clusters:,}",
            )

    def _log_decisions(self, plan: ConsentPlan, counts: DecisionCounts) -> None:
        permitted = counts.read - counts.for_nobody
        self.log.info(
            "read %s = permitted somewhere %s + for no one %s; policy %s",
            f"{counts.read:,}",
            f"{permitted:,}",
            f"{counts.for_nobody:,}",
            short(plan.policy.digest),
        )
        if counts.always_granted and self.absent != "withdrawn":
            self.log.warning(
                "every row grants %s: if the model's SQL keeps only people who consent, a withdrawal shows only as an "
                'absence: set absent="withdrawn" here, at the loads and at PropagateWithdrawalsOperator',
                ", ".join(f"`{category}`" for category in counts.always_granted),
            )
        for category, rows in counts.conflicts.items():
            self.log.warning("category `%s`: in %s rows, its records contradict each other", category, f"{rows:,}")
        for name, destination in counts.destinations.items():
            if destination.read and not destination.permitted:
                self.log.warning("`%s` is denied all %s rows: nothing will be sent", name, f"{destination.read:,}")

    def _log_summary(self, manifest: PermittedManifest, folder: Folder) -> None:
        for name, counts in manifest.destinations.items():
            for field, without in counts.withheld_fields.items():
                category = category_of(field)
                if category is None:
                    self.log.info("`%s`: %s rows go without field `%s`", name, f"{without:,}", field)
                else:
                    self.log.info(
                        "`%s`: %s of %s permitted people did not say yes to `%s`, and the destination gets that",
                        name,
                        f"{without:,}",
                        f"{counts.permitted:,}",
                        category,
                    )
        self.log.info("consent decided at %s\n%s", f"{manifest.decided_at:%F %T %Z}", summary(manifest))
        self.log.info("permitted set %s", folder.uri)
