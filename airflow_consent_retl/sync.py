"""The function that builds a whole sync as a task group: extract, filter, and one load for each destination."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec

from airflow.sdk import TaskGroup

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators.consent import ConsentFilterOperator
from airflow_consent_retl.operators.drop_staging import DropStagingTablesOperator
from airflow_consent_retl.operators.extract import ExtractModelOperator
from airflow_consent_retl.operators.prune import PruneOperator
from airflow_consent_retl.operators.slices import in_slices
from airflow_consent_retl.operators.sync_logs import SyncLogsOperator
from airflow_consent_retl.operators.write_report import ConsentReportOperator
from airflow_consent_retl.workspace.staging_schema import staging_schema

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_consent_retl.consent import ConsentMappingLike, ExternalConsent, IdentityLinks
    from airflow_consent_retl.filtering.policy_change import MaxReleased
    from airflow_consent_retl.hooks.central_policy import PolicySource
    from airflow_consent_retl.operators.load import LoadOperator

Arguments = ParamSpec("Arguments")


class SyncBuilder(Generic[Arguments]):
    """A function that builds a sync, and `from_dbt`, which builds one from what a dbt project says about a model."""

    def __init__(self, build: Callable[Arguments, TaskGroup]) -> None:
        self._build = build
        update_wrapper(self, build)

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> TaskGroup:
        """Build the sync."""
        return self._build(*args, **kwargs)

    def from_dbt(
        self,
        place: str | Path,
        *,
        model: str,
        conn_id: str,
        loads: Mapping[str, Callable[..., LoadOperator]] | None = None,
        group_id: str | None = None,
        **sync: Any,
    ) -> TaskGroup:
        """Build a sync from the `meta` of a dbt model, and return its task group.

        The relation, the primary key, the consent mapping and the destinations come from the project. The connection,
        the policy, the limits and the schedule are the DAG's.

        Reads: the manifest or the extract, whenever the DAG is parsed; no connection and no Variable. A `manifest.json`
        of 50 MB costs some tenths of a second at each parse; the extract that `consent-retl dbt-extract` writes, some
        milliseconds.

        Args:
            place: the absolute path of a `manifest.json`, of its extract, or of the folder of a dbt project.
            model: the dbt model: `customers`, `customers.v2`, `package.customers` or dbt's unique id.
            conn_id: the Airflow connection to the warehouse in which dbt builds the model.
            loads: the loads of destinations that `meta` names without one. If `meta` names no destination, the loads
                of all.
            group_id: the name of the group; by default the model's.
            sync: further parameters of `consent_sync`, except those that `meta` declares.

        Raises:
            ConfigurationError: the file, the model or its `meta` is wrong, with every problem; or the DAG and `meta`
                both declare something.
        """
        from airflow_consent_retl.dbt.syncs import sync_parameters

        declared = sync_parameters(place, model, loads=loads or {}, given=sync)
        name = group_id or str(declared["model"]).replace(".", "__")
        return self._build(name, conn_id=conn_id, **declared, **sync)  # type: ignore[arg-type]


@SyncBuilder
def consent_sync(
    group_id: str,
    *,
    conn_id: str,
    sql: str,
    primary_key: str,
    loads: Mapping[str, Callable[..., LoadOperator]],
    policy: PolicySource | None = None,
    consent: ConsentMappingLike | None = None,
    model: str | None = None,
    column_types: Mapping[str, str] | None = None,
    reuse_unchanged: bool = False,
    on_duplicate_id: Literal["fail", "deny"] = "fail",
    max_denied_ratio: float | Mapping[str, float] | None = None,
    max_invalid_ratio: float | None = None,
    max_released_ratio: MaxReleased = "default",
    accept_silence: Sequence[str] = (),
    absent: Literal["left_model", "withdrawn"] = "left_model",
    deferrable: bool | None = None,
    hook_params: Mapping[str, Any] | None = None,
    session_time_zone: str | None = None,
    as_of: str | None = None,
    current_consent_sql: str | None = None,
    consent_sources: Sequence[ExternalConsent] = (),
    identities: IdentityLinks | None = None,
    moved_from: Mapping[str, str] | None = None,
    shares_sync_with_dags: Sequence[str] = (),
    prune: bool = True,
    report: bool | Mapping[str, Any] = False,
    sync_logs: str | Mapping[str, Any] | None = None,
    slices: int | Mapping[str, int] = 1,
    dry_run: bool | str = False,
    workspace: str | None = None,
    **group: Any,
) -> TaskGroup:
    """Build `extract`, `consent` and a `load_<destination>` for each destination, and return their task group.

    With `workspace="warehouse:<schema>"` there is also `drop_staging`, a teardown that drops the run's tables after
    every load has ended. With `sync_logs` there is a teardown of that name, which writes what each run did into tables.
    The teardown `prune` deletes what has reached the end of its retention in the workspace.

    Args:
        group_id: the name of the group. It is also the name of the model if `model` is not given.
        loads: by destination, the load with its own parameters. This function adds the parameters that all loads
            share: `{"webhook": partial(LoadToWebhookOperator, conn_id="crm_http", endpoint="/people", fields={…})}`.
            What belongs to one destination goes in there: `mode`, limits, `fields_not_sent`, `shares_target_with`,
            `allow_closing`.
        on_duplicate_id: `deny` withholds rows whose id is missing or occurs more than once; with `fail` the extraction
            fails.
        moved_from: by destination, the old target of its load, if all people there were moved to the new one.
        shares_sync_with_dags: the ids of other DAGs that load the same syncs, which have to name this DAG likewise.
        absent: `withdrawn` for SQL that keeps only people who consent: every load then removes the people who are not
            in the model any more, whatever its mode. The same parameter of `PropagateWithdrawalsOperator` has to agree.
        report: whether the sync ends with `report`, a `ConsentReportOperator` about the run; or its parameters, such as
            `{"to": "s3://conn@reports/{{ ds }}.html"}`.
        prune: whether the sync ends with `prune`, a `PruneOperator`; False where a DAG of your own has it.
        sync_logs: the connection of a database in which tables get the counts of each run of this sync, or the
            parameters of `SyncLogsOperator`: `{"conn_id": "warehouse", "schema": "ops"}`. None: no tables.
        slices: how many tasks at most send the rows of a load at the same time, for all loads or by destination:
            `{"webhook": 8}`; see `in_slices`.
        dry_run: extraction and filter run as always, since they send nothing, and each load returns the plan of what it
            would do. True or False, or a template such as `"{{ params.dry_run }}"`.
        group: parameters of the task group, such as `tooltip` or `default_args`.

    The other parameters are those of `ExtractModelOperator` and `ConsentFilterOperator`.
    """
    moved = moved_from or {}
    if unknown := sorted(moved.keys() - loads.keys()):
        raise ConfigurationError(f"moved_from names `{unknown[0]}`, which is no destination of this sync")
    sliced = slices if isinstance(slices, Mapping) else dict.fromkeys(loads, slices)
    if unknown := sorted(sliced.keys() - loads.keys()):
        raise ConfigurationError(f"slices names `{unknown[0]}`, which is no destination of this sync")
    waiting: dict[str, Any] = {} if deferrable is None else {"deferrable": deferrable}
    # Loads that declare it themselves keep their choice.
    declared: dict[str, Any] = {} if absent == "left_model" else {"absent": absent}
    if shares_sync_with_dags:
        declared["shares_sync_with_dags"] = shares_sync_with_dags
    if dry_run is not False:
        declared["dry_run"] = dry_run
    with TaskGroup(group_id, **group) as task_group:
        snapshot = ExtractModelOperator(
            task_id="extract",
            model=model or group_id,
            conn_id=conn_id,
            sql=sql,
            primary_key=primary_key,
            column_types=column_types,
            check_primary_key=on_duplicate_id == "fail",
            reuse_unchanged=reuse_unchanged,
            hook_params=hook_params,
            session_time_zone=session_time_zone,
            as_of=as_of,
            current_consent_sql=current_consent_sql,
            consent_sources=consent_sources,
            identities=identities,
            workspace=workspace,
            **waiting,
        )
        permitted = ConsentFilterOperator(
            task_id="consent",
            snapshot=snapshot.output,
            policy=policy,
            consent=consent,
            destinations=list(loads),
            on_duplicate_id=on_duplicate_id,
            max_denied_ratio=max_denied_ratio,
            max_invalid_ratio=max_invalid_ratio,
            max_released_ratio=max_released_ratio,
            accept_silence=accept_silence,
            absent=absent,
            workspace=workspace,
        )
        loaded = [
            in_slices(
                load(
                    task_id=f"load_{destination.replace(':', '__')}",
                    permitted=permitted.output,
                    destination=destination,
                    policy=policy,
                    **({"moved_from": moved[destination]} if destination in moved else {}),
                    **declared,
                ),
                sliced.get(destination, 1),
            )
            for destination, load in loads.items()
        ]
        schema = staging_schema(workspace)
        if schema is not None:
            drop = DropStagingTablesOperator(
                task_id="drop_staging",
                conn_id=conn_id,
                schema=schema,
                snapshot=snapshot.output,
                permitted=permitted.output,
                hook_params=hook_params,
            )
            loaded >> drop.as_teardown(setups=snapshot)
        ledgers = (getattr(load, "keywords", {}).get("ledger_conn_id") for load in loads.values())
        # The documents of a warehouse workspace are in the deployment's own.
        upkeep: dict[str, Any] = {
            "ledger_conn_id": next(filter(None, ledgers), None),
            "workspace": workspace if schema is None else None,
        }
        if report is not False:
            chosen = dict(report) if isinstance(report, Mapping) else {}
            loaded >> ConsentReportOperator(task_id="report", **{**upkeep, **chosen}).as_teardown(setups=snapshot)
        if sync_logs is not None:
            given = {"conn_id": sync_logs} if isinstance(sync_logs, str) else sync_logs
            syncs = [f"{model or group_id}/{destination}" for destination in loads]
            logging = SyncLogsOperator(task_id="sync_logs", **{"syncs": syncs, **upkeep, **given})
            loaded >> logging.as_teardown(setups=snapshot)
        if prune:
            loaded >> PruneOperator(task_id="prune", **upkeep).as_teardown(setups=snapshot)
    return task_group
