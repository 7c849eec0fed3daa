"""The end of retention: rows, records and leftovers of a workspace are deleted, and what a sync needs is kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.contract.pruned import Pruned
from airflow_consent_retl.delivery.ledger.records import model_and_destination
from airflow_consent_retl.errors import ConfigurationError, RefusedError, SyncBusyError
from airflow_consent_retl.hooks.ledgers import open_ledger
from airflow_consent_retl.hooks.retention_limits import retention_limits
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.records import SyncOverview
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.expired import Limit
    from airflow_consent_retl.storage.folder import Folder

_log = module_log(__name__)
_TTL_S = 60.0


def prune(
    *,
    workspace: str | None = None,
    ledger_conn_id: str | None = None,
    conn_id: str | None = None,
    schema: str | None = None,
    hook_params: Mapping[str, Any] | None = None,
    dry_run: bool = False,
    log: TaskLog = _log,
) -> list[Pruned]:
    """Delete what has reached the end of its retention, and what killed runs left, and return it.

    The limits are `[consent_retl] snapshot_days`, `snapshot_number` and `evidence_days`, and those of the deployment's
    policy where they are stricter. What was written within a day, a delivery in progress with its permitted set and
    tables, delivered states, and everything of a model that a task has now, stay. Changes end as soon as no sync needs
    them; old versions of exported files end with a load, or with `operators.prune.prune_old_versions`. The indexes of
    the records are brought up to date.

    Args:
        workspace, ledger_conn_id: as for the loads.
        conn_id, schema, hook_params: of a warehouse's staging schema, whose old tables are dropped too.
        dry_run: delete nothing, and return what would be deleted.
        log: gets a line with the counts.

    Raises:
        ConfigurationError: ledger and workspace do not belong together, or a limit is wrong.
        LedgerUnavailableError, SourceUnavailableError: try again.
    """
    from airflow_consent_retl.storage.expired import (
        expired_records,
        expired_reports,
        expired_requests,
        expired_sets,
        tables_of_sets,
    )
    from airflow_consent_retl.storage.location import open_folder, workspace_root
    from airflow_consent_retl.storage.records.all_streams import extend_indexes
    from airflow_consent_retl.storage.unfinished import sweep_unfinished

    if (conn_id is None) != (schema is None):
        raise ConfigurationError("conn_id and schema: name both, or neither")
    limits, root = retention_limits(datetime.now(UTC)), open_folder(workspace_root(workspace))
    pruned: list[Pruned] = []
    if not dry_run:
        sweep_unfinished(root)
    with open_ledger(workspace, ledger_conn_id) as ledger:
        known = ledger.syncs()
        in_use = {model_and_destination(one.sync)[0] for one in known if one.holder is not None}
        sets_in_use = set(_sets_in_use(root, known))
        found = [
            *expired_sets(root, limits, models_in_use=in_use, sets_in_use=sets_in_use),
            *expired_records(root, limits["evidence"]),
            *expired_reports(root, limits["evidence"]),
            *expired_requests(root, limits["evidence"]),
        ]
        for one in found:
            if not dry_run:
                one.delete()
            pruned.append(Pruned(one.kind, one.folder.uri, len(one.files) or None, one.reason, one.made_at))
        pruned += _ended_runs(ledger, root, limits["evidence"].before, dry_run=dry_run)
        if not dry_run:
            extend_indexes(root)
        for sync in known:
            pruned += _unused_folders(ledger, root, sync, dry_run=dry_run)
        _warn_of_unfinished(known, limits["changes"].before, log)
    if conn_id is not None and schema is not None:
        needed = tables_of_sets(root, sets_in_use, models_in_use=in_use)
        pruned += _staging_tables(conn_id, schema, hook_params, limits["staging_tables"], needed, dry_run=dry_run)
    counts = ", ".join(
        f"{kind} {sum(one.kind == kind for one in pruned):,}" for kind in sorted({p.kind for p in pruned})
    )
    log.info("%s: %s", "would delete" if dry_run else "deleted", counts or "nothing")
    return pruned


def _sets_in_use(root: Folder, known: list[SyncOverview]) -> Iterator[str]:
    from airflow_consent_retl.storage.change_set import Changes
    from airflow_consent_retl.storage.sync_folder import SyncFolder

    for one in known:
        delivery = one.open_delivery
        if delivery is not None:
            folder = SyncFolder(root, one.sync).open(delivery.changes_uri)
            try:
                digest = Changes(folder, sha256=delivery.changes_sha256).manifest.permitted_sha256
            except RefusedError:
                # The next run of the sync says so; nothing else depends on it.
                continue
            if digest is not None:
                yield digest


def _ended_runs(ledger: Ledger, root: Folder, before: datetime, *, dry_run: bool) -> list[Pruned]:
    """Delete the ledger's records of runs that are older than evidence may be."""
    with ledger.history() as history:
        ended = history.count(until=before)
    if not ended:
        return []
    if not dry_run:
        ledger.end_runs(before)
    return [Pruned("run_records", root.uri, ended, "age", None)]


def _unused_folders(ledger: Ledger, root: Folder, sync: SyncOverview, *, dry_run: bool) -> list[Pruned]:
    """Delete the changes and former delivered states of a sync that its next run would delete."""
    from airflow_consent_retl.storage.sync_folder import SyncFolder, base_name, epoch_of

    folder = SyncFolder(root, sync.sync)
    used = {base_name(one.uri) for one in [sync.current] if one is not None}
    if sync.open_delivery is not None:
        used.add(base_name(sync.open_delivery.changes_uri))
    there = [name for name in folder.names() if epoch_of(name) is not None and name not in used]
    if not there:
        return []
    from airflow_consent_retl.changes.warehouse_delivered import table_of

    # Only a run of the sync can drop the table of a delivered state.
    unused = [name for name in there if table_of(folder.root / name) is None]
    if not unused or sync.holder is not None:
        return []
    if not dry_run:
        try:
            with ledger.acquire(sync.sync, holder="prune", ttl_s=_TTL_S, wait_s=0) as lease:
                current, delivery = lease.current(), lease.open_delivery()
                uris = [one.uri for one in [current] if one is not None]
                uris += [delivery.changes_uri] if delivery is not None else []
                # INVARIANT: what was made under a lease that this ledger does not know is never deleted.
                unused = [name for name in unused if (epoch_of(name) or 0) <= lease.epoch]
                folder.sweep(unused, uris)
        except SyncBusyError:
            return []
    return [Pruned("changes", f"{folder.root.uri}/{name}", None, "unused", None) for name in unused]


def _warn_of_unfinished(known: list[SyncOverview], before: datetime, log: TaskLog) -> None:
    """Warn of changes that are kept beyond their retention, since an unfinished delivery needs them."""
    for sync in known:
        delivery = sync.open_delivery
        if delivery is not None and delivery.began_at < before:
            log.warning(
                "the changes of sync `%s` stay: its delivery that began at %s is unfinished. Run its load, or empty "
                "the sync with RetireSyncOperator",
                sync.sync,
                f"{delivery.began_at:%F %T %Z}",
            )


def _staging_tables(
    conn_id: str,
    schema: str,
    hook_params: Mapping[str, Any] | None,
    limit: Limit,
    needed: Collection[str],
    *,
    dry_run: bool,
) -> list[Pruned]:
    from airflow_consent_retl.databases.staging import LASTING
    from airflow_consent_retl.hooks.workspaces import staging_warehouse
    from airflow_consent_retl.storage.expired import beyond

    with staging_warehouse(conn_id, schema, hook_params=hook_params) as warehouse:
        tables = [one for one in warehouse.tables() if one.kind not in LASTING and one.name not in needed]
        old = beyond(limit, [(table, table.kind, table.made_at) for table in tables])
        for table, _ in old:
            if not dry_run:
                warehouse.drop(table)
    return [Pruned("staging_tables", f"{schema}.{table.name}", None, why, table.made_at) for table, why in old]
