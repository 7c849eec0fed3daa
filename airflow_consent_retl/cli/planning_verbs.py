"""The verbs that show what a load would do before it does it: its plan, a preview of its rows, and a test record."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airflow_consent_retl.cli.dag_files import Dags, instances_in, json_of, names_of, output_of
from airflow_consent_retl.cli.shown import Result, Table
from airflow_consent_retl.cli.verb import VerbGroup
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.operators.mapped_instances import TaskInstance
    from airflow_consent_retl.operators.planning import PlanWithExamples

VERBS = VerbGroup("Before a run")

Task = Annotated[
    str | None,
    typer.Option(
        "--task", metavar="TASK", help="The load, such as load_webhook, customers.load_webhook or load_webhook[2]."
    ),
]
Permitted = Annotated[
    str | None,
    typer.Option("--permitted", metavar="JSON", help="The output of a filter, as JSON, or a file with it."),
]
Extract = Annotated[
    bool, typer.Option("--extract", help="Run the extraction and the filter of the DAG first; they send nothing.")
]


@VERBS.verb("plan", example="dags/customers.py --task load_webhook --extract", finds=True)
def plan(
    file: Dags,
    task: Task = None,
    permitted: Permitted = None,
    extract: Extract = False,
    show_ids: Annotated[bool, typer.Option("--show-ids", help="Name people by their ids, not by digests.")] = False,
) -> Result:
    """Show what each load would add, update, remove and clear, by cause, with up to ten people of each kind.

    Nothing is sent, and nothing is recorded of a load. It ends with 1 if a limit would stop one of them.
    """
    from airflow_consent_retl.operators.planning import plan as planned

    found = [planned(load, _input(permitted, extract), show_ids=show_ids) for load in _loads(file, task, permitted)]
    return Result(
        [one.as_document() for one in found],
        parts=[part for one in found for part in _parts(one)],
        code=int(any(one.plan.is_stopped for one in found)),
    )


@VERBS.verb("preview", example="dags/customers.py --task load_webhook --extract")
def preview(
    file: Dags,
    task: Task = None,
    permitted: Permitted = None,
    extract: Extract = False,
    rows: Annotated[int, typer.Option("--rows", min=1, max=100, help="How many rows.")] = 10,
    show_values: Annotated[bool, typer.Option("--show-values", help="Show the values of people.")] = False,
) -> Result:
    """Show the first permitted rows in the form in which the destination gets them; their values are masked.

    The destination is not contacted.
    """
    from airflow_consent_retl.operators.planning import preview as previewed

    loads = _loads(file, task, permitted)
    found = [previewed(load, _input(permitted, extract), rows=rows, show_values=show_values) for load in loads]
    parts: list[str | Table] = []
    for one in found:
        title = f"{len(one.rows)} of {one.permitted:,} permitted rows for `{one.destination}`, {one.target}"
        names = list(dict.fromkeys(name for row in one.rows for name in row))
        parts.append(Table(names, [[_cell(row.get(name)) for name in names] for row in one.rows], title))
    return Result(
        [
            {
                "destination": one.destination,
                "target": one.target,
                "permitted": one.permitted,
                "rows": [dict(row) for row in one.rows],
            }
            for one in found
        ],
        parts=parts,
    )


@VERBS.verb(
    "send-test", example="""dags/customers.py --task load_webhook --extract --record '{"id": "test-1"}'""", finds=True
)
def send_test(
    file: Dags,
    record: Annotated[str, typer.Option("--record", metavar="JSON", help="The destination's fields, made up.")],
    task: Task = None,
    permitted: Permitted = None,
    extract: Extract = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the record that was sent.")] = False,
) -> Result:
    """Send one made-up record to a destination, and show what was sent and what it answered.

    The record's key begins with test-, or is a number below 0. Make up the other values too: they are not checked, and
    an e-mail of a real person would be sent. With --remove, the key is enough. It ends with 1 if the destination did
    not accept.
    """
    from dataclasses import asdict

    from airflow_consent_retl.operators.own_record import send_test as sent

    fields = json_of(record, "--record")
    if not isinstance(fields, dict):
        raise ConfigurationError("--record: expected a JSON object with the destination's fields")
    loads = _loads(file, task, permitted)
    if len(loads) > 1:
        raise ConfigurationError(f"{file} has {len(loads)} loads: name one with --task ({names_of(loads)})")
    answer = sent(loads[0], fields, _input(permitted, extract), remove=remove)
    return Result(asdict(answer), code=int(answer.status != "accepted"))


def _loads(file: str, task: str | None, permitted: str | None) -> "list[TaskInstance]":
    from airflow_consent_retl.operators import LoadOperator

    return instances_in(file, task, LoadOperator, "load", without=() if permitted is None else ("permitted",))


def _input(permitted: str | None, extract: bool) -> Any:
    """Return the output of a filter; None: extraction and filter run first."""
    if permitted is None:
        if not extract:
            raise ConfigurationError(
                "where do the rows come from? --extract runs the extraction and the filter of the DAG; --permitted "
                "names the output of a filter, as JSON"
            )
        return None
    return output_of(permitted, "--permitted")


def _parts(planned: "PlanWithExamples") -> list[str | Table]:
    parts: list[str | Table] = ["\n".join(planned.plan.lines())]
    if planned.people:
        rows = [[kind, ", ".join(some)] for kind, some in planned.people.items()]
        parts.append(Table(("kind", "up to ten people"), rows))
    return parts


def _cell(value: object) -> object:
    return json.dumps(value, default=str) if isinstance(value, (dict, list)) else value
