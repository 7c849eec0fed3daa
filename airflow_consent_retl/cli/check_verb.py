"""The verb `check`: everything in DAG files that a first run would refuse."""

from dataclasses import asdict
from typing import Annotated

import typer

from airflow_consent_retl.cli.shown import Result, Table
from airflow_consent_retl.cli.verb import PolicyFile, VerbGroup

VERBS = VerbGroup("Before a run")


@VERBS.verb("check", example="dags --policy-file policy.json", finds=True)
def check(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH", help="Folders and files of DAGs; default: Airflow's folder.")
    ] = None,
    policy_file: PolicyFile = None,
    no_connect: Annotated[
        bool, typer.Option("--no-connect", help="Only what needs no connection: no database and no target is asked.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 for warnings too.")] = False,
) -> Result:
    """Check DAGs, policy, models, connections and targets: everything that a first run would refuse.

    Columns are read by queries without rows. Nothing is sent. Workspace, ledger and folders of files are tried: nothing
    that is written there stays.
    """
    from airflow_consent_retl.checking.dag_check import check_dags

    report = check_dags(paths or (), policy_file=policy_file, connects=not no_connect)
    failing = [one for one in report.findings if one.kind == "problem" or (strict and one.kind == "warning")]
    counts = f"{_of(report.dags, 'DAG')}, {_of(report.tasks, 'task')} of this package: "
    counts += _of(len(report.problems), "problem")
    headers = ("dag", "task", "where", "what")
    parts: list[str | Table] = [counts]
    for kind, title in (("problem", "problems"), ("warning", "warnings"), ("unchecked", "known only in a run")):
        rows = [(one.dag, one.task, one.path, one.message) for one in report.findings if one.kind == kind]
        parts += [Table(headers, rows, title)] if rows else []
    return Result(asdict(report), parts, code=int(bool(failing)))


def _of(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
