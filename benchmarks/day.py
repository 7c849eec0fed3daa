"""The benchmark of whole days: this package's DAG and one that is written by hand, same people, one run.

    python benchmarks/day.py [--rows 1000000] [--pairs 1] [--json figures.json]

The people of a DuckDB warehouse go to a webhook, a SQLite table and Parquet files. On the second day 1 % of them have
changed and 0.5 % have withdrawn; on the third nothing has changed. Each day of each way is a run of its DAG by
`dag.test()` in a process of its own. Times are those of the tasks: seconds as Airflow records them, with its own start
before the first task; seconds of the operators' own work (`inside`); and seconds of processor time of that, which a
busy machine changes less. The receiving server runs on the same cores. `copy` is a plain copy of the model's Parquet
file by pyarrow.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from operator import truediv
from pathlib import Path
from typing import Any

import duckdb
from measure import CACHE, parser, show, write_figures
from webhook import counted, served

Clocks = Mapping[str, Callable[[], float]]
Measured = Mapping[str, dict[str, float]]

DAYS = ("first", "next", "quiet")
WAYS = ("by_hand", "with_consent")
_CUSTOMERS = """
    (hash(i) >> 1)::BIGINT AS user_id, 'user' || i || '@example.com' AS email,
    'First' || (hash(i + 1) % 5000) AS first_name, 'Last' || (hash(i + 2) % 50000) AS last_name,
    '+4917' || (hash(i + 3) % 100000000) AS phone,
    ['DE', 'FR', 'US', 'GB', 'ES'][1 + (hash(i + 4) % 5)::INT] AS country,
    (hash(i + 6) % 100000)::INT AS orders,
    TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL (hash(i + 7) % 10000000) SECOND AS updated_at,
    hash(i * 31) % 100 < 85 AS c0, hash(i * 31 + 1) % 100 < 85 AS c1,
    hash(i * 31 + 2) % 100 < 60 AS c2, hash(i * 31 + 3) % 100 < 75 AS c3"""
# 1 % change a field that each destination has or not, 0.5 % withdraw everything.
_NEXT_DAY = """
    UPDATE customers SET orders = orders + 1, phone = phone || '0' WHERE user_id % 100 = 7;
    UPDATE customers SET c0 = false, c1 = false, c2 = false, c3 = false WHERE user_id % 200 = 3"""


def make_warehouse(path: Path, rows: int) -> None:
    with duckdb.connect(str(path)) as warehouse:
        warehouse.execute(f"CREATE TABLE customers AS SELECT {_CUSTOMERS} FROM range({rows}) r(i)")


def environment(home: Path, port: int) -> dict[str, str]:
    """Return the variables of a process that runs one day."""
    http = {"conn_type": "http", "host": "127.0.0.1", "port": port, "extra": {"allow_private": True}}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **inherited,
        "DAY_HOME": str(home),
        "DAY_PORT": str(port),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).with_name("day_dags")),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__CONSENT_RETL__WORKSPACE": (home / "workspace").as_uri(),
        "AIRFLOW_CONN_DAY_WAREHOUSE": json.dumps({"conn_type": "duckdb", "host": str(home / "warehouse.duckdb")}),
        "AIRFLOW_CONN_DAY_CRM": json.dumps({"conn_type": "sqlite", "host": str(home / "crm.sqlite")}),
        "AIRFLOW_CONN_DAY_HTTP": json.dumps(http),
    }


def run_day(way: str) -> None:
    """Run a way's DAG once in this process, and print the seconds of each task and the peak memory as JSON."""
    dag = runpy.run_path(str(Path(__file__).with_name("day_dags") / f"{way}.py"))["dag"]
    clocks = {"inside": time.perf_counter, "processor": time.process_time}
    measured: dict[str, dict[str, float]] = {kind: {} for kind in clocks}
    for task in dag.tasks:
        task._pre_execute_hook = partial(_begin, clocks, measured)
        task._post_execute_hook = partial(_end, clocks, measured)
    run = dag.test()
    instances = run.get_task_instances()
    if run.state != "success":
        raise RuntimeError(f"{way}: {[(task.task_id, task.state) for task in instances]}")
    tasks = {task.task_id.rpartition(".")[2]: (task.end_date - task.start_date).total_seconds() for task in instances}
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(json.dumps({"tasks": tasks, **measured, "peak_mib": peak_mib}))


def _begin(clocks: Clocks, measured: Measured, context: Any) -> None:
    for kind, clock in clocks.items():
        measured[kind][_short(context)] = -clock()


def _end(clocks: Clocks, measured: Measured, context: Any, result: object) -> None:
    for kind, clock in clocks.items():
        measured[kind][_short(context)] += clock()


def _short(context: Any) -> str:
    return str(context["task"].task_id).rpartition(".")[2]


def copy_seconds(home: Path) -> tuple[float, float]:
    """Return the seconds of a plain copy of the model's file, and those of processor time."""
    import pyarrow.parquet as pq

    started, processor = time.perf_counter(), time.process_time()
    with (
        pq.ParquetFile(home / "by-hand.parquet", pre_buffer=False) as file,
        pq.ParquetWriter(home / "copy.parquet", file.schema_arrow) as writer,
    ):
        for rows in file.iter_batches(batch_size=65_536):
            writer.write_batch(rows)
    return time.perf_counter() - started, time.process_time() - processor


def arrived(home: Path, way: str, sent: int) -> dict[str, int]:
    """Return how many rows a way's destinations got or have."""
    table, lake = {
        "by_hand": ("by-hand.sqlite", "by-hand-lake.parquet"),
        "with_consent": ("crm.sqlite", "lake/*/*.parquet"),
    }[way]
    counts = duckdb.connect().execute(f"SELECT count(*) FROM read_parquet('{home / lake}')").fetchone()
    with sqlite3.connect(home / table) as crm:
        people = crm.execute("SELECT count(*) FROM people").fetchone()[0]
    return {"webhook": sent, "table": people, "lake": counts[0] if counts else 0}


def one_pair(rows: int) -> dict[str, dict[str, Any]]:
    """Run all days of both ways in one folder; return by day and way the seconds by task, memory and rows."""
    figures: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=CACHE)))
        port = stack.enter_context(served(0))
        variables = environment(home, port)
        make_warehouse(home / "warehouse.duckdb", rows)
        migrate = [sys.executable, "-m", "airflow", "db", "migrate"]
        subprocess.run(migrate, check=True, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for day in DAYS:
            if day == "next":
                with duckdb.connect(str(home / "warehouse.duckdb")) as warehouse:
                    warehouse.execute(_NEXT_DAY)
            for way in WAYS:
                command = [sys.executable, __file__, "--worker", way]
                printed = subprocess.run(command, check=True, env=variables, stdout=subprocess.PIPE, text=True).stdout
                found = json.loads(printed.splitlines()[-1])
                found["rows"] = arrived(home, way, counted(port))
                figures.setdefault(day, {})[way] = found
            seconds, processor = copy_seconds(home)
            clock, copied = {"copy": seconds}, {"processor": {"copy": processor}, "peak_mib": 0, "rows": {}}
            figures[day]["copy"] = {"tasks": clock, "inside": clock, **copied}
    return figures


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--pairs", type=int, default=1)
    given = arguments.parse_args()
    CACHE.mkdir(exist_ok=True)
    pairs = [one_pair(given.rows) for _ in range(given.pairs)]
    table = []
    for day in DAYS:
        for way in (*WAYS, "copy"):
            row = [day, way]
            for kind in ("tasks", "inside", "processor"):
                own, by_hand, copied = (
                    [sum(pair[day][one][kind].values()) for pair in pairs] for one in (way, "by_hand", "copy")
                )
                row.append(f"{statistics.median(own):.1f}")
                row += [f"{statistics.median(map(truediv, own, others)):.2f}" for others in (by_hand, copied)]
            last = pairs[-1][day][way]
            tasks = ", ".join(f"{task} {s:.2f}" for task, s in last["processor"].items())
            arrivals = ", ".join(f"{place} {n:,}" for place, n in last["rows"].items())
            table.append([*row, last["peak_mib"], tasks, arrivals])
    kinds = ("seconds", "inside", "processor s")
    headers = ["day", "way", *(header for kind in kinds for header in (kind, "x by hand", "x copy")), "peak MiB"]
    headers += ["processor s by task, last pair", "rows there"]
    show(f"Whole days, {given.rows:,} people", headers, table)
    write_figures(given.json, pairs)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        run_day(sys.argv[2])
    else:
        main()
