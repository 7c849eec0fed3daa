"""The sync of a load, made from the load's parameters and its verified input: ready to deliver, or to be planned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.operators.base_operator import dag_of, map_index_of
from airflow_consent_retl.progress import Progress

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.changes.store import SyncStore
    from airflow_consent_retl.delivery.context import SyncContext
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.delivery.run import DeliveryRun
    from airflow_consent_retl.delivery.settings import SyncSettings
    from airflow_consent_retl.delivery.syncing import MakeRecheck, Sync
    from airflow_consent_retl.filtering.model_question import ModelAsker
    from airflow_consent_retl.filtering.subject_index import Ask
    from airflow_consent_retl.operators.load import LoadOperator
    from airflow_consent_retl.operators.load_input import LoadInput
    from airflow_consent_retl.storage.manifest import PermittedManifest
    from airflow_consent_retl.storage.sync_folder import SyncFolder


@dataclass(frozen=True, slots=True)
class LoadSync:
    """A load's sync, under its lease.

    Args:
        load_operator: the operator, with rendered parameters.
        found: its verified input.
        sync: of the model at the destination.
        asker: asks the model's source; None: consent is not asked again.
        make_recheck: makes what asks again, for the people about to be sent.
    """

    load_operator: LoadOperator
    found: LoadInput
    sync: Sync
    asker: ModelAsker | None
    make_recheck: MakeRecheck

    @property
    def ask(self) -> Ask | None:
        """What asks the source for the present consent of all people."""
        return None if self.asker is None else self.asker.ask

    def check(self) -> None:
        """Refuse fields that do not fit, and guarded fields that the load sent before and does not send now.

        Raises:
            PermanentError: nothing may be sent.
        """
        if self.found.unfit is not None:
            raise self.found.unfit
        self._check_dropped()

    def begin(self, report: LoadReport) -> DeliveryRun | None:
        """Do what comes before the first row is sent; see `Sync.begin`."""
        from airflow_consent_retl.storage.location import subject_key

        permitted = self.found.permitted
        return self.sync.begin(
            permitted,
            report,
            subject_key=subject_key(permitted.manifest.workspace),
            asks_again=self.asker is not None,
            ask=self.ask,
        )

    def load(self, report: LoadReport) -> list[str]:
        """Deliver; see `Sync.load`."""
        from airflow_consent_retl.storage.location import subject_key

        permitted = self.found.permitted
        return self.sync.load(
            permitted,
            report,
            subject_key=subject_key(permitted.manifest.workspace),
            make_recheck=self.make_recheck,
            asks_again=self.asker is not None,
            ask=self.ask,
        )

    def _check_dropped(self) -> None:
        from airflow_consent_retl.filtering.guarded_fields import check_dropped
        from airflow_consent_retl.hooks.policies import policy_in_force
        from airflow_consent_retl.operators.permitted_rows import policy_source

        state, permitted = self.sync.state(), self.found.permitted
        if state is not None:
            source = policy_source(permitted.manifest, self.load_operator.policy)
            guards = policy_in_force(source).policy.guards(permitted.destination)
            check_dropped(guards, state.shape.fields, permitted.fields, destination=permitted.destination)


def load_sync(
    load: LoadOperator,
    found: LoadInput,
    lease: Lease,
    settings: SyncSettings,
    context: Context,
    *,
    folder: SyncFolder | None = None,
    make_sync: Callable[[SyncContext], Sync] | None = None,
) -> LoadSync:
    """Make the sync of a load.

    Args:
        load: with rendered parameters.
        found: its verified input.
        lease: of the sync.
        settings: from the load's parameters.
        context: of the running task.
        folder: where the sync keeps its changes; None: in the workspace.
        make_sync: makes the sync; None: a `Sync`.

    Raises:
        OvertakenError: a newer run delivered while this one ran.
        RefusedError: the data or the decision are too old, the policy changed, or the policy before is lost.
        ConfigurationError: the destination cannot remove people, or it is not the one that the sync delivered to.
    """
    from airflow_consent_retl.delivery.syncing import Sync

    sync_context, asker, make_recheck = load_context(load, found, lease, settings, context, folder=folder)
    return LoadSync(load, found, (make_sync or Sync)(sync_context), asker, make_recheck)


def load_context(
    load: LoadOperator,
    found: LoadInput,
    lease: Lease,
    settings: SyncSettings,
    context: Context,
    *,
    folder: SyncFolder | None = None,
) -> tuple[SyncContext, ModelAsker | None, MakeRecheck]:
    """Return the context of a load's sync, what asks its source, and what makes the recheck of people about to be sent.

    Arguments and errors as for `load_sync`, without those about the target.
    """
    from airflow_consent_retl.delivery.context import SyncContext
    from airflow_consent_retl.delivery.lost_sizes import check_sizes
    from airflow_consent_retl.hooks.lost_policies import check_history
    from airflow_consent_retl.operators.present_consent import present_asker
    from airflow_consent_retl.storage.location import list_size, subject_key, sync_folder

    permitted, workspace = found.permitted, found.workspace_of(load)
    check_history(lease, permitted.manifest, load.destination)
    asker = present_asker(
        found.asker,
        permitted,
        lease.newest(),
        policy=load.policy,
        max_age_s=load.max_age_s,
        allow_older=load.allow_older,
        log=load.log,
    )
    check_sizes(lease, permitted.manifest)
    asker = None if asker is None else asker.since(lease.required())
    kept_in = sync_folder(workspace, lease.sync, epoch=lease.epoch) if folder is None else folder
    store = found.place.store(kept_in, lease.sync, asker)
    sync_context = SyncContext(
        lease=lease,
        store=store,
        build=load.build_destination,
        settings=settings,
        key=partial(subject_key, workspace),
        policy_digest=str if asker is None else asker.policy_digest,
        dag=dag_of(context),
        map_index=map_index_of(context),
        list_size=partial(list_size, context),
        log=load.log,
        progress=lambda verb, rows: Progress(load.log, verb, total_rows=rows),
    )
    return sync_context, asker, _make_recheck(load, store, asker, workspace, permitted.manifest)


def _make_recheck(
    load: LoadOperator,
    store: SyncStore[Any, Any],
    asker: ModelAsker | None,
    workspace: str,
    manifest: PermittedManifest,
) -> MakeRecheck:
    from airflow_consent_retl.hooks.forgotten_list import forgotten_people
    from airflow_consent_retl.operators.rechecking import forgotten_since, source_recheck

    if asker is None or load.recheck_interval_s is None:
        return partial(forgotten_since, partial(forgotten_people, workspace, manifest.model))
    return partial(
        source_recheck,
        store,
        asker,
        load.destination,
        load.recheck_interval_s,
        accept_silence=manifest.accept_silence,
    )
