"""The benchmark of rows per second over HTTP: this package's webhook and drt-core, same rows, same server, one run.

    python benchmarks/webhook.py [--rows 200000] [--drt-rows 50000] [--latency-ms 0,50] [--json figures.json]

The server runs in a separate process and answers after the latency. After the run it reads all bodies as JSON to count
their rows. The benchmark calls this package's webhook as a load does: `open`, `send` from threads, `commit`. drt-core's
own destination sends from one thread, with its fastest settings: batch mode, no pacing, rows passed as dictionaries.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import http.client
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
from airflow.sdk import Connection
from tabulate import tabulate

from airflow_consent_retl.contract.destination import Batch, Load
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.http.address import http_address
from airflow_consent_retl.destinations.webhook.destination import WebhookDestination
from airflow_consent_retl.destinations.webhook.options import WebhookOptions

REQUEST_ROWS = 1000
CONNECTIONS = 8
REPEATS = 3


@contextmanager
def served(latency_ms: float) -> Iterator[int]:
    """Run the server and yield its port."""
    script = Path(__file__).with_name("webhook_server.py")
    with subprocess.Popen([sys.executable, str(script), str(latency_ms)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def counted(port: int) -> int:
    """Return the number of rows that have arrived since the last call. All bodies are read as JSON."""
    client = http.client.HTTPConnection("127.0.0.1", port)
    client.request("GET", "/")
    rows = int(json.loads(client.getresponse().read())["rows"])
    client.close()
    return rows


def people(rows: int) -> pa.RecordBatch:
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return pa.record_batch(
        {
            "id": pa.array(range(10**15, 10**15 + rows)),
            "email": [f"person.{row}@mail{row % 97}.example.com" for row in range(rows)],
            "first_name": [f"Name{row % 1009}" for row in range(rows)],
            "country": [("DE", "FR", "JP", None)[row % 4] for row in range(rows)],
            "orders": pa.array([row % 50 for row in range(rows)], pa.int32()),
            "spent": pa.array([Decimal(row % 100_000) / 100 for row in range(rows)], pa.decimal128(12, 2)),
            "seen_at": pa.array([start + dt.timedelta(seconds=row) for row in range(rows)], pa.timestamp("us", "UTC")),
        }
    )


def ours(port: int, batches: Iterable[pa.RecordBatch], schema: pa.Schema, rows: int) -> float:
    """Return the rows per second."""
    connection = Connection(
        conn_id="bench", conn_type="http", host=f"http://127.0.0.1:{port}", extra='{"allow_private": true}'
    )
    destination = WebhookDestination(
        http_address(connection, endpoint="/v1/people"),
        WebhookOptions(batch_rows=REQUEST_ROWS, concurrency=CONNECTIONS),
    )
    load = Load(
        key="0" * 64,
        destination="webhook",
        model="people",
        schema=schema,
        key_field="id",
        rows=rows,
        decided_at=dt.datetime.now(dt.UTC),
    )
    started = time.perf_counter()
    destination.open(load)
    accepted = 0
    in_flight: deque[Future[Outcomes]] = deque()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for number, some in enumerate(batches):
            if len(in_flight) == CONNECTIONS:
                accepted += len(_accepted(in_flight.popleft()))
            key = hashlib.sha256(f"{load.key}:{number}".encode()).hexdigest()
            in_flight.append(threads.submit(destination.send, Batch(key=key, rows=some)))
        accepted += sum(len(_accepted(sent)) for sent in in_flight)
    destination.commit()
    elapsed_s = time.perf_counter() - started
    assert accepted == rows == counted(port)
    return accepted / elapsed_s


def in_memory(port: int, table: pa.RecordBatch) -> float:
    """Return the rows per second for rows that are already in memory."""
    batches = (table.slice(start, REQUEST_ROWS) for start in range(0, len(table), REQUEST_ROWS))
    return ours(port, batches, table.schema, len(table))


def _accepted(sent: Future[Outcomes]) -> Outcomes:
    outcomes = sent.result()
    assert outcomes == Outcomes.accepted(len(outcomes))
    return outcomes


def drt(port: int, rows: list[dict[str, object]], *, batch_rows: int) -> float:
    """Return the rows per second of `drt.destinations.rest_api`, called once per batch, as in drt's engine."""
    from drt.config.base import RateLimitConfig
    from drt.config.destinations_saas import RestApiDestinationConfig
    from drt.config.sync_options import SyncOptions
    from drt.destinations.rest_api import RestApiDestination

    config = RestApiDestinationConfig(
        type="rest_api",
        url=f"http://127.0.0.1:{port}/v1/people",
        headers={"Content-Type": "application/json"},
        body_mode="batch",
        batch_template='{"rows":{{ rows | tojson_safe }}}',
        max_records_per_request=REQUEST_ROWS,
        rate_limit=RateLimitConfig(requests_per_second=0),
    )
    options, destination = SyncOptions(batch_size=batch_rows), RestApiDestination()
    started = time.perf_counter()
    sent = 0
    for start in range(0, len(rows), batch_rows):
        sent += destination.load(rows[start : start + batch_rows], config, options).success
    elapsed_s = time.perf_counter() - started
    assert sent == len(rows) == counted(port)
    return sent / elapsed_s


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=200_000)
    options.add_argument("--drt-rows", type=int, default=50_000, help="it is slower: rows per second are compared")
    options.add_argument("--latency-ms", default="0,50")
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    table = people(chosen.rows)
    dictionaries = table.slice(0, chosen.drt_rows).to_pylist()

    figures: list[dict[str, object]] = []
    for latency_ms in map(float, chosen.latency_ms.split(",")):
        with served(latency_ms) as port:
            in_memory(port, table.slice(0, 10 * REQUEST_ROWS))
            # The ways run in turns, so that a busy machine slows all of them. The median counts.
            rounds = [
                (
                    in_memory(port, table),
                    drt(port, dictionaries, batch_rows=REQUEST_ROWS),
                    drt(port, dictionaries, batch_rows=chosen.drt_rows),
                )
                for _ in range(REPEATS)
            ]
        mine, *theirs = (sorted(way)[REPEATS // 2] for way in zip(*rounds, strict=True))
        figures.append({"latency_ms": latency_ms, "way": "webhook", "rows_per_s": round(mine), "ratio": None})
        for batch_rows, rate in zip((REQUEST_ROWS, chosen.drt_rows), theirs, strict=True):
            way = f"drt-core, batch_size={batch_rows}"
            figures.append(
                {"latency_ms": latency_ms, "way": way, "rows_per_s": round(rate), "ratio": round(mine / rate, 1)}
            )

    print(f"{REQUEST_ROWS:,} rows per request; webhook: {chosen.rows:,} rows over {CONNECTIONS} connections;")
    print(
        f"drt-core {version('drt-core')}: {chosen.drt_rows:,} rows, body_mode=batch, max_records_per_request="
        f"{REQUEST_ROWS}, requests_per_second=0 (no pacing), a new client for each batch_size rows"
    )
    headers = ["latency ms", "way", "rows/s", "webhook is faster by"]
    print(tabulate([list(figure.values()) for figure in figures], headers=headers, intfmt=",", floatfmt=".1f"))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
