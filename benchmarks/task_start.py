"""The benchmark of the start of a task: the processor seconds of what `execute` imports, by project.

Each task of a small sync runs in a process of its own, which has `airflow.sdk` and the operators already, as a worker
has that has parsed the DAG file. pandas is a column of its own: Arrow imports it where it is installed.

python benchmarks/task_start.py [--json figures.json]
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

from measure import parser, show, write_figures

_RUNS = 9
_ROWS = 1000
_POLICY = {"categories": [{"id": "C0004", "name": "Advertising", "destinations": ["crm", "lake"]}]}
_TASKS = {"extract": "extract", "filter": "filter", "load to SQLite": "sqlite", "load to files": "files"}
_PROJECTS = ("airflow_consent_retl", "numpy", "pyarrow", "duckdb", "pandas")


def run_here(task: str, place: Path) -> None:
    """Run one task, and print what its imports took. Its output becomes a file for the next one."""
    bootstrap: Any = import_module("importlib._bootstrap")
    operator = _operator(task, place)
    spent: dict[str, float] = {}
    inner: list[float] = []
    find_and_load = bootstrap._find_and_load

    def timed(name: str, import_: Any) -> Any:
        began = time.process_time()
        inner.append(0.0)
        try:
            return find_and_load(name, import_)
        finally:
            took = time.process_time() - began
            project = name.partition(".")[0].lstrip("_")
            spent[project] = spent.get(project, 0.0) + took - inner.pop()
            if inner:
                inner[-1] += took

    bootstrap._find_and_load = timed
    returned = operator.execute({})
    bootstrap._find_and_load = find_and_load
    (place / f"{task}.json").write_text(json.dumps(returned))
    print(json.dumps(spent))


def _operator(task: str, place: Path) -> Any:
    from airflow.sdk import DAG, Asset, BaseHook, ObjectStoragePath, TaskGroup, Variable, XComArg  # noqa: F401

    from airflow_consent_retl.operators import (
        ConsentFilterOperator,
        ExtractModelOperator,
        LoadToFilesOperator,
        LoadToSqlTableOperator,
    )

    common: dict[str, Any] = {"task_id": task, "workspace": (place / "workspace").as_uri()}
    if task == "extract":
        return ExtractModelOperator(
            model="people",
            conn_id="source",
            sql="SELECT * FROM people",
            primary_key="id",
            column_types={"id": "int64", "email": "string", "ads_ok": "bool"},
            **common,
        )
    if task == "filter":
        snapshot = json.loads((place / "extract.json").read_text())
        consent: Any = {"C0004": "ads_ok"}
        return ConsentFilterOperator(
            snapshot=snapshot, policy=_POLICY, consent=consent, destinations=["crm", "lake"], **common
        )
    common |= {"permitted": json.loads((place / "filter.json").read_text()), "policy": _POLICY}
    common |= {"fields": {"id": "id", "email": "email"}}
    if task == "sqlite":
        return LoadToSqlTableOperator(destination="crm", conn_id="crm", table="people", **common)
    return LoadToFilesOperator(destination="lake", path=(place / "lake").as_uri(), **common)


def main() -> None:
    given = parser(__doc__).parse_args()
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in _TASKS}
    with tempfile.TemporaryDirectory() as byte_code:
        # The first round compiles to byte code.
        for _ in range(_RUNS + 1):
            with tempfile.TemporaryDirectory() as folder:
                for name, spent in _round(Path(folder), byte_code).items():
                    runs[name].append(spent)
    rows, figures = [], {}
    for name, every in runs.items():
        later = every[1:]
        total = statistics.median(sum(spent.values()) - spent.get("pandas", 0.0) for spent in later)
        parts = [statistics.median(spent.get(project, 0.0) for spent in later) for project in _PROJECTS]
        rows.append([name, f"{total:.2f}", *(f"{part:.2f}" for part in parts)])
        figures[f"{_TASKS[name]}_s"] = total
    show("Imports of a task", ["task", "without pandas", "this package", *_PROJECTS[1:]], rows)
    write_figures(given.json, figures)


def _round(place: Path, byte_code: str) -> dict[str, dict[str, float]]:
    with closing(sqlite3.connect(place / "source.db")) as connection:
        connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, ads_ok)")
        people = [(one, f"u{one}@x.example", one % 3 != 0) for one in range(_ROWS)]
        connection.executemany("INSERT INTO people VALUES (?, ?, ?)", people)
        connection.commit()
    environment = {
        **os.environ,
        "PYTHONPYCACHEPREFIX": byte_code,
        "AIRFLOW__CONSENT_RETL__ALLOW_DAG_POLICIES": "True",
        "AIRFLOW_CONN_SOURCE": json.dumps({"conn_type": "sqlite", "host": str(place / "source.db")}),
        "AIRFLOW_CONN_CRM": json.dumps({"conn_type": "sqlite", "host": str(place / "crm.db")}),
    }
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    found = {}
    for name, task in _TASKS.items():
        command = [sys.executable, "-W", "ignore", __file__, "--task", task, str(place)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        found[name] = json.loads(printed.splitlines()[-1])
    return found


if __name__ == "__main__":
    if sys.argv[1:2] == ["--task"]:
        run_here(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
