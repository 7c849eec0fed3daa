"""The verbs about people: the records of one person, rejected people, and the right to be forgotten."""

import getpass
from dataclasses import asdict
from typing import Annotated, Any

import typer

from airflow_consent_retl.cli.dag_files import Dags, names_of, output_of, tasks_of
from airflow_consent_retl.cli.shown import Result, parts_of
from airflow_consent_retl.cli.sync_verbs import SyncArgument
from airflow_consent_retl.cli.verb import LedgerConnId, VerbGroup, Workspace

VERBS = VerbGroup("People")

Person = Annotated[str, typer.Argument(metavar="ID", help="The person's id, as the models have it.")]
Model = Annotated[str | None, typer.Option(help="Only this model's records.")]


@VERBS.verb("explain", example="4711 dags/customers.py --snapshot extract.json --destination webhook")
def explain(
    id: Person,  # noqa: A002 - the argument's name in the help
    file: Dags,
    snapshot: Annotated[
        str, typer.Option(metavar="JSON", help="The output of the extraction, as JSON, or a file with it.")
    ],
    task: Annotated[str | None, typer.Option(metavar="TASK", help="The filter, if the file has several.")] = None,
    destinations: Annotated[
        list[str] | None, typer.Option("--destination", help="Only for this one; may be repeated.")
    ] = None,
) -> Result:
    """Explain one person's decisions in words: why permitted or denied, and what would change it.

    The policy, the consent and the destinations are those of the filter in a DAG file, as they are now. No value of
    the person's row is shown, and nothing is recorded.
    """
    from airflow_consent_retl.checking.explaining import explain_by_filter
    from airflow_consent_retl.errors import ConfigurationError
    from airflow_consent_retl.operators import ConsentFilterOperator

    filters = tasks_of(file, task, ConsentFilterOperator, "filter")
    if len(filters) > 1:
        raise ConfigurationError(f"{file} has {len(filters)} filters: name one with --task ({names_of(filters)})")
    found = explain_by_filter(filters[0], id, output_of(snapshot, "--snapshot"), destinations=destinations or None)
    document = asdict(found)
    tables = {
        "categories": [
            {"category": name, "regime": found.regimes[name], "status": status}
            for name, status in found.statuses.items()
        ],
        "signals": document["signals"],
        "destinations": list(document["destinations"].values()),
    }
    about = {name: document[name] for name in ("subject", "rows", "policy_digest", "at")}
    return Result(document, parts_of({**about, **tables}, ""))


@VERBS.verb("history", example="4711")
def history(
    id: Person,  # noqa: A002 - the argument's name in the help
    model: Model = None,
    workspace: Workspace = None,
    ledger_conn_id: LedgerConnId = None,
) -> Result:
    """List everything that is recorded of one person: decisions, deliveries, removals."""
    from airflow_consent_retl.reports.history_of_person import person_history

    found = person_history(id, workspace=workspace, ledger_conn_id=ledger_conn_id, model=model)
    return Result(asdict(found))


@VERBS.verb("evidence", example='4711 request-17.zip --reference "request 17"')
def evidence(
    id: Person,  # noqa: A002 - as above
    to: Annotated[str, typer.Argument(help="A new folder, or a new file that ends in .zip.")],
    model: Model = None,
    reference: Annotated[str, typer.Option(help="A text for the page, such as the number of a request.")] = "",
    workspace: Workspace = None,
    ledger_conn_id: LedgerConnId = None,
) -> Result:
    """Write a bundle with all evidence about one person: a page to print, records, receipt, policies."""
    from airflow_consent_retl.reports.evidence_bundle import evidence as write

    written = write(id, to, workspace=workspace, ledger_conn_id=ledger_conn_id, model=model, reference=reference)
    return Result({"evidence": str(written)})


@VERBS.verb("rejected", example="customers/webhook")
def rejected(
    sync: SyncArgument,
    ids: Annotated[bool, typer.Option("--ids", help="Print the ids of one run's people, with codes.")] = False,
    delivery: Annotated[int | None, typer.Option(help="The number of the run; default: the last one.")] = None,
    limit: Annotated[int | None, typer.Option(help="The most ids to print; default: all.")] = None,
    workspace: Workspace = None,
) -> Result:
    """List how many people a destination rejected, run by run, with its codes; with --ids, also their ids."""
    from airflow_consent_retl.reports import rejected as of_one_run
    from airflow_consent_retl.reports import rejected_runs

    if ids:
        return Result(asdict(of_one_run(sync, delivery=delivery, workspace=workspace, limit=limit)))
    return Result([asdict(run) for run in rejected_runs(sync, workspace=workspace)], empty="no run is recorded")


@VERBS.verb("forget", example="4711 --loads my_dags.forget_people:LOADS")
def forget(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Ids of people; without any, unfinished requests resume.")
    ] = None,
    file: Annotated[str | None, typer.Option(help="A file with one id on each line.")] = None,
    sql: Annotated[str | None, typer.Option(help="A query with the ids.")] = None,
    conn_id: Annotated[str | None, typer.Option(help="The connection of the query.")] = None,
    id_column: Annotated[str, typer.Option(help="The column of the ids in its result.")] = "id",
    loads: Annotated[
        str | None, typer.Option(metavar="MODULE:NAME", help="A mapping as `loads` of ForgetOperator.")
    ] = None,
    models: Annotated[list[str] | None, typer.Option("--model", help="Only in this model; may be repeated.")] = None,
    objection: Annotated[
        bool, typer.Option("--objection", help="Leave rows at rest until the end of their retention.")
    ] = False,
    exempt: Annotated[
        list[str] | None, typer.Option(metavar="DESTINATION=REASON", help="Not there; may be repeated.")
    ] = None,
    lift: Annotated[
        bool, typer.Option("--lift", help="Take the people off the list again: they consented anew.")
    ] = False,
    workspace: Workspace = None,
    ledger_conn_id: LedgerConnId = None,
) -> Result:
    """Forget people: suppress them for good, remove them at every destination, delete their rows."""
    from airflow_consent_retl.operators.forget import forget as forget_people
    from airflow_consent_retl.operators.forget import lift as take_off
    from airflow_consent_retl.operators.forget import named_loads

    by = getpass.getuser()
    people: dict[str, Any] = {"ids": ids or None, "file": file, "sql": sql, "conn_id": conn_id, "id_column": id_column}
    if lift:
        return Result({"lifted": take_off(**people, workspace=workspace, by=by)})
    done = forget_people(
        **people,
        loads=named_loads(loads),
        models=models or None,
        erase=not objection,
        exempt={name: reason for name, _, reason in (one.partition("=") for one in exempt or ())},
        workspace=workspace,
        ledger_conn_id=ledger_conn_id,
        by=by,
    )
    return Result(done, empty="no request is unfinished")
