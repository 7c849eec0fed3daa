"""The verbs about a workspace: its signatures and its retention."""

from dataclasses import asdict
from typing import Annotated

import typer

from airflow_consent_retl.cli.shown import Result, StandardError
from airflow_consent_retl.cli.times import TIME_HELP, parsed_time
from airflow_consent_retl.cli.verb import LedgerConnId, VerbGroup, Workspace

VERBS = VerbGroup("Workspace")


@VERBS.verb("doctor", example="--workspace file:///srv/consent_retl", finds=True)
def doctor(workspace: Workspace = None, ledger_conn_id: LedgerConnId = None) -> Result:
    """Look at what every run needs: versions, workspace, ledger, clock, digest key, policy. Nothing written stays.

    Run it as the user and with the settings of the workers. It ends with 1 if there is a problem.
    """
    from airflow_consent_retl.checking.deployment import examine

    found = examine(workspace=workspace, ledger_conn_id=ledger_conn_id)
    return Result([asdict(one) for one in found], code=int(any(one.state == "problem" for one in found)))


@VERBS.verb("verify", example="--workspace file:///srv/consent_retl", finds=True)
def verify(
    manifest: Annotated[
        str | None, typer.Argument(metavar="MANIFEST", help="The URI of one manifest; default: all of the workspace.")
    ] = None,
    sync: Annotated[
        str | None, typer.Option(metavar="SYNC", help="Only what this sync, such as customers/webhook, has written.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"{TIME_HELP} Only what was written, or is gone, since then.")
    ] = None,
    signatures_only: Annotated[
        bool, typer.Option("--signatures-only", help="Do not read the files that manifests name.")
    ] = False,
    workspace: Workspace = None,
) -> Result:
    """Check who signed the manifests of a workspace, and whether their files changed.

    Long checks say every ten seconds on standard error how far they are. It ends with 1 unless all manifests are true.
    """
    from airflow_consent_retl.reports.signature_check import verify as check

    checked = check(
        manifest,
        workspace=workspace,
        sync=sync,
        since=parsed_time(since),
        files=not signatures_only,
        log=StandardError(),
    )
    return Result(
        [asdict(one) for one in checked],
        code=0 if all(one.is_true for one in checked) else 1,
        empty="the workspace has no manifest" if sync is None and since is None else "there is nothing to check",
    )


@VERBS.verb("prune", example="--dry-run")
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing: show what would be deleted.")] = False,
    conn_id: Annotated[str | None, typer.Option(help="The connection of a warehouse with a staging schema.")] = None,
    schema: Annotated[str | None, typer.Option(help="The staging schema, whose old tables are dropped too.")] = None,
    exports: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="A folder of exports that no load of the workspace noted; may be repeated."),
    ] = None,
    workspace: Workspace = None,
    ledger_conn_id: LedgerConnId = None,
) -> Result:
    """Delete what has reached the end of its retention."""
    from airflow_consent_retl.destinations.files.export_retention import prune_versions
    from airflow_consent_retl.hooks.pruning import prune as delete
    from airflow_consent_retl.operators.prune import prune_old_versions

    found = delete(workspace=workspace, ledger_conn_id=ledger_conn_id, conn_id=conn_id, schema=schema, dry_run=dry_run)
    found += prune_old_versions(workspace, dry_run=dry_run)
    for path in exports or ():
        # A folder that a load of this workspace noted was pruned already.
        found += [one for one in prune_versions(path, dry_run=dry_run) if one not in found]
    return Result([asdict(one) for one in found], empty="nothing is at the end of its retention")
