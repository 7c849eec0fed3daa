"""The text of a DAG file for a model of Segment. It names connections, and contains no secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_consent_retl.migration.dag_text import text_of, untemplated


@dataclass(frozen=True, slots=True)
class MigratedLoad:
    """One load: a mapping of Segment."""

    destination: str
    operator: str
    parameters: Mapping[str, Any]
    fields: Mapping[str, str]
    mode: str


@dataclass(frozen=True, slots=True)
class MigratedDag:
    """One DAG: a model of Segment, with the mappings that run at the same times, by the name of the destination."""

    dag_id: str
    model: str
    title: str
    conn_id: str
    sql: str
    primary_key: str
    consent: Mapping[str, str]
    column_types: Mapping[str, str]
    schedule: str
    time_zone: str
    loads: Mapping[str, MigratedLoad]


def dag_code(dag: MigratedDag) -> str:
    """Return the text of a DAG file."""
    return "\n".join(_lines(dag)) + "\n"


def _lines(dag: MigratedDag) -> Iterator[str]:
    title = dag.title.replace("\\", " ").replace('"', "'").splitlines()
    yield f'"""The model `{" ".join(title)}`, as Segment had it. Paused until a person reads and unpauses it."""'
    yield ""
    yield f"from datetime import datetime{', timedelta' if 'timedelta' in dag.schedule else ''}"
    yield "from functools import partial"
    yield "from zoneinfo import ZoneInfo"
    yield ""
    yield "from airflow.sdk import DAG"
    operators = sorted({load.operator for load in dag.loads.values()})
    yield f"from airflow_consent_retl.operators import {', '.join(operators)}"
    yield "from airflow_consent_retl.sync import consent_sync"
    yield ""
    yield "with DAG("
    yield f"    {text_of(dag.dag_id)},"
    yield f"    schedule={dag.schedule},"
    yield f"    start_date=datetime(2026, 1, 1, tzinfo=ZoneInfo({text_of(dag.time_zone)})),"
    yield "    catchup=False,"
    yield "    is_paused_upon_creation=True,"
    yield "):"
    yield "    consent_sync("
    yield f"        {text_of(dag.model)},"
    yield f"        conn_id={text_of(dag.conn_id)},"
    yield f"        sql={text_of(untemplated(dag.sql))},"
    yield f"        primary_key={text_of(dag.primary_key)},"
    if dag.column_types:
        yield f"        column_types={text_of(dict(dag.column_types))},"
    yield f"        consent={text_of(dict(dag.consent))},"
    yield "        loads={"
    for name, load in dag.loads.items():
        yield f"            {text_of(name)}: partial("
        yield f"                {load.operator},"
        for key, value in load.parameters.items():
            yield f"                {key}={text_of(value)},"
        yield f"                fields={text_of(dict(load.fields))},"
        yield f"                mode={text_of(load.mode)},"
        yield "            ),"
    yield "        },"
    yield "    )"
