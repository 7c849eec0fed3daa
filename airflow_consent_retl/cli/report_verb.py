"""The verb `report`: one HTML file about a period, some syncs or one run."""

from dataclasses import asdict
from typing import Annotated

import typer

from airflow_consent_retl.cli.shown import Result
from airflow_consent_retl.cli.times import TIME_HELP, parsed_time
from airflow_consent_retl.cli.verb import LedgerConnId, VerbGroup, Workspace

VERBS = VerbGroup("Reports")


@VERBS.verb("report", example="november.html --since 2026-11-01 --until 2026-12-01")
def report(
    to: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="A path or a URI that ends in .html; default: in the workspace."),
    ] = None,
    sync: Annotated[
        list[str] | None,
        typer.Option(metavar="SYNC", help="Only this sync, such as customers/webhook; may be repeated."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="The length of the period, up to its end.")] = 30,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"{TIME_HELP} The period's begin, not --days.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="TIME", help=f"{TIME_HELP} The period's end; default: now.")
    ] = None,
    dag: Annotated[str, typer.Option(help="With --run: one run of this DAG, in place of a period.")] = "",
    run: Annotated[str, typer.Option(help="The id of the run.")] = "",
    workspace: Workspace = None,
    ledger_conn_id: LedgerConnId = None,
) -> Result:
    """Write a report as one HTML file: who was sent, denied and taken back, how late, and under which policy.

    It needs no server and asks no other host. It has counts, codes and digests, and no value of a person's row. A file
    that is there already is replaced. The same command over the same records gives the same digest of the figures.
    """
    from airflow_consent_retl.sight.report_file import report as write

    written = write(
        to,
        syncs=sync or (),
        dag=dag,
        run=run,
        days=days,
        since=parsed_time(since),
        until=parsed_time(until),
        workspace=workspace,
        ledger_conn_id=ledger_conn_id,
    )
    return Result({**asdict(written), "since": written.since.isoformat(), "until": written.until.isoformat()})
