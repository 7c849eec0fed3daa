"""The benchmark of a load in slices: rows a minute through a webhook whose answers take 50 ms.

    python benchmarks/slices.py [--rows 1000000] [--slices 8] [--request-rows 100] [--json figures.json]

People of a DuckDB warehouse go to a receiver on this machine, once by one task and once by slices. Each slice is a
process of its own, as Airflow runs it; all of them, and the receiver, share the machine's cores. `send` is the time
from the start of the first slice's work until the end of the last one's; `processes` has their starts too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import duckdb
from measure import parser, show, write_figures
from webhook import counted, served

POLICY = {"categories": [{"id": "C1", "name": "Everything", "destinations": ["webhook"]}]}
MODEL = """CREATE TABLE customers AS SELECT i AS user_id, 'person' || i || '@example.com' AS email,
    ['DE', 'FR', 'JP'][1 + i % 3] AS country, i % 50 AS orders, true AS ok FROM range({rows}) AS r(i)"""


def make_dag(permitted: Any, *, slices: int, request_rows: int) -> Any:
    """Return a DAG with the load of this permitted set, in slices."""
    from airflow.sdk import DAG

    from airflow_consent_retl.operators import LoadToWebhookOperator, in_slices

    with DAG("bench") as dag:
        load = LoadToWebhookOperator(
            task_id="load",
            permitted=permitted,
            destination="webhook",
            policy=POLICY,
            conn_id="vendor",
            endpoint="/v1/people",
            fields={"id": "user_id", "email": "email", "country": "country", "orders": "orders"},
            answer="status",
            batch_rows=request_rows,
        )
        in_slices(load, slices)
    return dag


def send(file: Path, document: str) -> None:
    """Send one slice in this process."""
    from airflow_consent_retl.operators import SendSliceOperator

    dag = make_dag(**json.loads(file.read_text()))
    with dag:
        task = SendSliceOperator(task_id="slice", load="load", slice=json.loads(document))
    began = time.monotonic()
    task.execute({})
    print(json.dumps([began, time.monotonic()]))


def measured(home: Path, port: int, *, rows: int, slices: int, request_rows: int) -> dict[str, Any]:
    """Filter everyone, and load them in slices; return the seconds of each step."""
    from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator

    os.environ["AIRFLOW__CONSENT_RETL__WORKSPACE"] = (home / f"workspace-{slices}").as_uri()
    snapshot = ExtractModelOperator(
        task_id="extract",
        model="customers",
        conn_id="warehouse",
        sql="SELECT * FROM customers",
        primary_key="user_id",
    ).execute({})
    permitted = ConsentFilterOperator(
        task_id="consent", snapshot=snapshot, policy=POLICY, consent={"C1": "ok"}, destinations=["webhook"]
    ).execute({})
    given = {"permitted": permitted, "slices": slices, "request_rows": request_rows}
    file = home / f"given-{slices}.json"
    file.write_text(json.dumps(given))
    dag = make_dag(**given)
    seconds: dict[str, Any] = {"slices": slices}
    started = time.perf_counter()
    parts = dag.get_task("load__begin").execute({}) if slices > 1 else []
    seconds["begin"], started = time.perf_counter() - started, time.perf_counter()
    command = [sys.executable, __file__, "--send", str(file)]
    running = [subprocess.Popen([*command, json.dumps(part)], stdout=subprocess.PIPE, text=True) for part in parts]
    times = [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]
    seconds["processes"], started = time.perf_counter() - started, time.perf_counter()
    seconds["send"] = max(ended for _, ended in times) - min(began for began, _ in times) if times else 0.0
    dag.get_task("load").execute({})
    seconds["load"] = time.perf_counter() - started
    arrived = counted(port)
    if arrived != rows:
        raise RuntimeError(f"{arrived:,} of {rows:,} rows arrived")
    sending = seconds["send"] if slices > 1 else seconds["load"]
    seconds["rows a minute"] = round(60 * rows / sending)
    return seconds


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--slices", type=int, default=8)
    options.add_argument("--latency-ms", type=float, default=50)
    options.add_argument("--request-rows", type=int, default=100)
    given = options.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, served(given.latency_ms) as port:
        home = Path(folder)
        with duckdb.connect(str(home / "warehouse.duckdb")) as warehouse:
            warehouse.execute(MODEL.format(rows=given.rows))
        vendor = {"conn_type": "http", "host": "127.0.0.1", "port": port, "extra": {"allow_private": True}}
        os.environ |= {
            "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "duckdb", "host": str(home / "warehouse.duckdb")}),
            "AIRFLOW_CONN_VENDOR": json.dumps(vendor),
        }
        size = {"rows": given.rows, "request_rows": given.request_rows}
        figures = [measured(home, port, slices=slices, **size) for slices in (1, given.slices)]
    headers = list(figures[0])
    rows = [
        [f"{value:,.1f}" if isinstance(value, float) else f"{value:,}" for value in one.values()] for one in figures
    ]
    show(
        f"{given.rows:,} rows, {given.request_rows:,} in a request, answers after {given.latency_ms:.0f} ms",
        headers,
        rows,
    )
    write_figures(given.json, figures)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--send"]:
        warnings.simplefilter("ignore")
        send(Path(sys.argv[2]), sys.argv[3])
    else:
        main()
