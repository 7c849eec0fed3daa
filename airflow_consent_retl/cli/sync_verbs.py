"""The verbs about syncs: the list of them, and what becomes of the people of one."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from airflow_consent_retl.cli.shown import Result
from airflow_consent_retl.cli.verb import LedgerConnId, VerbGroup, Workspace

VERBS = VerbGroup("Syncs")

SyncArgument = Annotated[str, typer.Argument(metavar="SYNC", help="A name such as customers/webhook.")]


@VERBS.verb("syncs", example="--workspace s3://aws_default@bucket/consent_retl")
def syncs(workspace: Workspace = None, ledger_conn_id: LedgerConnId = None) -> Result:
    """List the syncs with people: how many, where they are, and when a run last served them."""
    from airflow_consent_retl.hooks.upkeep import syncs as known

    return Result(
        [
            {
                "sync": one.sync,
                "people": one.people,
                "target": one.target,
                "dag": one.dag,
                "served_at": one.served_at,
                "decided_at": one.decided_at,
                "is_in_progress": one.open_delivery is not None,
            }
            for one in known(workspace=workspace, ledger_conn_id=ledger_conn_id)
        ],
        empty="no sync has people",
    )


@VERBS.verb("hand-over", example="customers/webhook --dag new_dag_id")
def hand_over(
    sync: SyncArgument,
    dag: Annotated[str | None, typer.Option(help="The id of the DAG that loads it from now on.")] = None,
    to: Annotated[str | None, typer.Option(help="Its name from now on: its model or destination was renamed.")] = None,
    workspace: Workspace = None,
    ledger_conn_id: LedgerConnId = None,
) -> Result:
    """Hand a sync over to another DAG, or its people to another name of it."""
    from airflow_consent_retl.hooks.upkeep import hand_over as over

    over(sync, dag=dag, to=to, workspace=workspace, ledger_conn_id=ledger_conn_id)
    return Result({"sync": to or sync, "dag": dag})


@VERBS.verb("retire", example="customers/webhook --loads my_dags.forget_people:LOADS")
def retire(
    sync: SyncArgument,
    loads: Annotated[
        str, typer.Option(metavar="MODULE:NAME", help="A mapping from destinations to loads, as for forget.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Remove without a question.")] = False,
    workspace: Workspace = None,
    ledger_conn_id: LedgerConnId = None,
) -> Result:
    """Empty a sync: remove all people that it delivered from the destination, also those who consent.

    It asks first; where no person can answer, --yes is needed. Pause or remove the load first.
    """
    from airflow_consent_retl.hooks.upkeep import syncs as known
    from airflow_consent_retl.operators.forget import named_loads
    from airflow_consent_retl.operators.retire import retire as emptied

    named = named_loads(loads) or {}
    if not yes:
        people = {str(one.sync): one.people for one in known(workspace=workspace, ledger_conn_id=ledger_conn_id)}
        _ask(f"Remove the {people.get(sync, 0):,} people of `{sync}` from its destination?")
    return Result(emptied(sync, named, workspace=workspace, ledger_conn_id=ledger_conn_id))


def _ask(question: str) -> None:
    from airflow_consent_retl.errors import ConfigurationError

    if not sys.stdin.isatty():
        raise ConfigurationError(f"{question} Nothing was done: repeat it with --yes")
    if not typer.confirm(question, err=True):
        raise ConfigurationError("nothing was done")


@VERBS.verb("adopt", example="customers/webhook")
def adopt(
    syncs: Annotated[list[str] | None, typer.Argument(metavar="SYNC", help="Names of syncs; default: all.")] = None,
    gone: Annotated[bool, typer.Option("--gone", help="Declare that no one of them is there any more.")] = False,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Adopt also what has no signature of a known key.")
    ] = False,
    workspace: Workspace = None,
    ledger_conn_id: LedgerConnId = None,
) -> Result:
    """Adopt the delivered states of a workspace, after the ledger or the workspace was lost."""
    from airflow_consent_retl.hooks.upkeep import adopt as adopted

    found = adopted(
        workspace=workspace, ledger_conn_id=ledger_conn_id, syncs=syncs or None, gone=gone, unsigned=unsigned
    )
    return Result([asdict(one) for one in found], empty="nothing to adopt")


@VERBS.verb("reset-times", example="--workspace file:///srv/consent_retl")
def reset_times(workspace: Workspace = None, ledger_conn_id: LedgerConnId = None) -> Result:
    """Bring times in the future back to the present, after a clock was ahead. Prints the changed syncs."""
    from airflow_consent_retl.hooks.upkeep import reset_times as reset

    return Result(reset(workspace=workspace, ledger_conn_id=ledger_conn_id), empty="no time was in the future")
