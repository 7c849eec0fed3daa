"""The verb `discover`: what in a model looks like consent, and a draft of its mapping."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airflow_consent_retl.cli.dag_files import names_of, tasks_of
from airflow_consent_retl.cli.shown import Result, Table
from airflow_consent_retl.cli.verb import PolicyFile, VerbGroup
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.progress import listed

if TYPE_CHECKING:
    from airflow_consent_retl.checking.discovery.finder import Discovery
    from airflow_consent_retl.checking.discovery.proposals import Proposal
    from airflow_consent_retl.storage.manifest import ModelSource

VERBS = VerbGroup("Before a run")


@VERBS.verb("discover", example='--conn-id warehouse --sql "SELECT * FROM customers"', finds=True)
def discover(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="A DAG file with an extraction, instead of --conn-id.")
    ] = None,
    task: Annotated[str | None, typer.Option(metavar="TASK", help="The extraction, if the file has several.")] = None,
    conn_id: Annotated[str | None, typer.Option(help="The Airflow connection of the warehouse.")] = None,
    sql: Annotated[str | None, typer.Option(help="The model's query.")] = None,
    policy_file: PolicyFile = None,
    rows: Annotated[int, typer.Option(help="The most rows of the sample, 1 to 100,000.")] = 1_000,
    draft: Annotated[
        str | None, typer.Option(metavar="PATH", help="Write the draft of a DAG into this file, which must not exist.")
    ] = None,
) -> Result:
    """Look at a model's columns and a sample, and propose its primary key and its consent mapping. It never decides.

    The warehouse takes the sample. Columns that identify people by their names are counted and not read, and no value
    is printed: only shapes, counts, and words such as yes or opted_out. A person reads the draft, and `check` has to
    accept it. It ends with 1 if something that looks like consent is not in the draft, or if nothing does.
    """
    from airflow_consent_retl.checking.discovery.finder import discover as look
    from airflow_consent_retl.checking.discovery.policies_known import policy_known

    source, model = _source(file, task, conn_id, sql)
    policy, place = policy_known(policy_file)
    if draft is not None and policy is None:
        raise ConfigurationError("--draft needs a policy, for its categories: name one with --policy-file")
    found = look(source, model=model, policy=policy, policy_place=place, rows=rows)
    if draft is not None and found.draft is not None:
        _write(draft, found.draft.code)
    document = asdict(found)
    for one in document["proposals"]:
        del one["signal"]
    return Result(document, _parts(found), code=int(found.needs_a_person))


def _source(file: str | None, task: str | None, conn_id: str | None, sql: str | None) -> "tuple[ModelSource, str]":
    """Return the model of a DAG file, or of a connection and a query, and its name."""
    if file is None:
        if conn_id is None or sql is None:
            raise ConfigurationError("name a model: a DAG file, or --conn-id and --sql")
        from airflow_consent_retl.operators.model_source import model_source

        given: dict[str, Any] = {"hook_params": None, "session_time_zone": None, "column_types": None}
        return model_source(conn_id=conn_id, sql=sql, consent_sources=(), **given), "discovered"
    if conn_id is not None or sql is not None:
        raise ConfigurationError("name the model once: by a DAG file, or by --conn-id and --sql")
    from airflow_consent_retl.checking.findings import TaskFindings
    from airflow_consent_retl.checking.rendering import rendered
    from airflow_consent_retl.operators import ExtractModelOperator

    found = tasks_of(file, task, ExtractModelOperator, "extraction")
    if len(found) > 1:
        raise ConfigurationError(f"{file} has {len(found)} extractions: name one with --task ({names_of(found)})")
    findings = TaskFindings(found[0].dag_id, found[0].task_id)
    extraction = rendered(found[0], findings)
    for finding in findings.found:
        raise ConfigurationError(f"{finding.path}: {finding.message}")
    return extraction.source_of(()), str(extraction.model)


def _write(path: str, code: str) -> None:
    try:
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(code)
    except FileExistsError:
        raise ConfigurationError(f"--draft: {path} exists: name a new file") from None
    except OSError as error:
        raise ConfigurationError(f"--draft: {path} cannot be written: {error.strerror}") from None


def _parts(found: "Discovery") -> list[str | Table]:
    key = found.primary_key or "no column that is named like an id is unique"
    parts: list[str | Table] = [
        f"{found.rows:,} rows of {found.columns:,} columns were sampled. Primary key: {key}. Not read, because they "
        f"identify people: {', '.join(found.not_read) or 'none'}."
    ]
    if not found.proposals:
        return [*parts, "Nothing looks like consent."]
    headers = ("column", "use", "category", "proposal", "confidence", "in the sample")
    rows = [
        (one.column, one.use, one.category, one.code or one.format, one.confidence, _seen(one))
        for one in found.proposals
    ]
    parts.append(Table(headers, rows, "proposals, for a person to judge"))
    doubts = [(one.column, doubt) for one in found.proposals for doubt in one.doubts]
    parts += [Table(("column", "doubt"), doubts, "doubts")] if doubts else []
    if found.draft is not None:
        parts.append(f"The draft decides for {', '.join(found.draft.destinations) or 'no destination'}.")
        left_out = list(found.draft.left_out.items())
        parts += [Table(("destination", "why"), left_out, "left out of the draft")] if left_out else []
    return parts


def _seen(one: "Proposal") -> str:
    counts = one.reading or one.shapes
    return listed(counts.items())
