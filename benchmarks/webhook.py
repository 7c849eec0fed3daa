"""Rows a second over HTTP: this package's webhook against drt-core, same rows, same local server, in one run.

    python benchmarks/webhook.py [--rows 200000] [--drt-rows 50000] [--latency-ms 0,50] [--json figures.json]

The server runs in a process of its own, reads every body as JSON, counts its rows and answers after the latency. Ours
is driven as a load drives it: `open`, `send` from threads, `commit`. drt-core's own destination sends from one thread;
its fastest settings are used: batch mode, no pacing, rows handed over as the dictionaries it takes.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import hashlib
import http.client
import json
import multiprocessing
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import orjson
import pyarrow as pa
from airflow.sdk import Connection
from tabulate import tabulate

from airflow_consent_retl.delivery.outcomes import Outcomes
from airflow_consent_retl.destinations._webhook_address import webhook_address
from airflow_consent_retl.destinations.base import Batch, Load
from airflow_consent_retl.destinations.webhook import WebhookDestination, WebhookOptions

REQUEST_ROWS = 1000
CONNECTIONS = 8
REPEATS = 3


class _Counter(asyncio.Protocol):
    """Reads POSTs with a JSON body, counts their rows, answers after a while; a GET asks for the count."""

    rows = 0
    latency_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._head = b""
        self._parts: list[bytes] = []
        self._missing = -1

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._head += data
            head, found, rest = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            lengths = [line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            self._head, self._parts, self._missing = b"", [], int(lengths[0]) if lengths else 0
            data = rest
        self._parts.append(data)
        self._missing -= len(data)
        if self._missing == 0:
            self._missing = -1
            self._answer(b"".join(self._parts))

    def _answer(self, body: bytes) -> None:
        if not body:
            self._write(json.dumps({"rows": _Counter.rows}).encode())
            return
        rows = len(orjson.loads(body)["rows"])
        _Counter.rows += rows
        asyncio.get_running_loop().call_later(self.latency_s, self._write, b'{"accepted":%d}' % rows)

    def _write(self, body: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )


def _serve(pipe: Pipe, latency_s: float) -> None:
    async def run() -> None:
        _Counter.latency_s = latency_s
        server = await asyncio.get_running_loop().create_server(_Counter, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextmanager
def served(latency_s: float) -> Iterator[int]:
    """Run the server, and yield its port."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, latency_s), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join()


def counted(port: int) -> int:
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


def ours(port: int, table: pa.RecordBatch) -> float:
    """Return rows a second."""
    connection = Connection(
        conn_id="bench", conn_type="http", host=f"http://127.0.0.1:{port}", extra='{"allow_private": true}'
    )
    destination = WebhookDestination(
        webhook_address(connection, endpoint="/v1/people"),
        WebhookOptions(batch_rows=REQUEST_ROWS, concurrency=CONNECTIONS),
    )
    load = Load(
        key="0" * 64,
        destination="webhook",
        model="people",
        schema=table.schema,
        key_field="id",
        rows=len(table),
        decided_at=dt.datetime.now(dt.UTC),
    )
    before, started = counted(port), time.perf_counter()
    destination.open(load)
    accepted = 0
    in_flight: deque[Future[Outcomes]] = deque()
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for start in range(0, len(table), REQUEST_ROWS):
            if len(in_flight) == CONNECTIONS:
                accepted += len(_accepted(in_flight.popleft()))
            key = hashlib.sha256(f"{load.key}:{start}".encode()).hexdigest()
            in_flight.append(threads.submit(destination.send, Batch(key=key, rows=table.slice(start, REQUEST_ROWS))))
        accepted += sum(len(_accepted(sent)) for sent in in_flight)
    destination.commit()
    elapsed_s = time.perf_counter() - started
    assert accepted == len(table) == counted(port) - before
    return accepted / elapsed_s


def _accepted(sent: Future[Outcomes]) -> Outcomes:
    outcomes = sent.result()
    assert outcomes == Outcomes.accepted(len(outcomes))
    return outcomes


def drt(port: int, rows: list[dict[str, object]], *, request_rows: int) -> float:
    """Return rows a second of `drt.destinations.rest_api`, at its fastest settings."""
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
        max_records_per_request=request_rows,
        rate_limit=RateLimitConfig(requests_per_second=0),
    )
    before, started = counted(port), time.perf_counter()
    result = RestApiDestination().load(rows, config, SyncOptions(batch_size=len(rows)))
    elapsed_s = time.perf_counter() - started
    assert result.success == len(rows) == counted(port) - before, result.row_errors[:1]
    return len(rows) / elapsed_s


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=200_000)
    options.add_argument("--drt-rows", type=int, default=50_000, help="it is slower: rows a second are compared")
    options.add_argument("--latency-ms", default="0,50")
    options.add_argument("--json", type=Path)
    chosen = options.parse_args()
    table = people(chosen.rows)
    dictionaries = table.slice(0, chosen.drt_rows).to_pylist()

    figures: list[dict[str, object]] = []
    for latency_ms in map(float, chosen.latency_ms.split(",")):
        with served(latency_ms / 1000) as port:
            ours(port, table.slice(0, 10 * REQUEST_ROWS))
            # Taken in turns, so that a busy machine slows all of them; the median counts.
            rounds = [
                (
                    ours(port, table),
                    drt(port, dictionaries, request_rows=REQUEST_ROWS),
                    drt(port, dictionaries, request_rows=10 * REQUEST_ROWS),
                )
                for _ in range(REPEATS)
            ]
        mine, theirs, larger = (sorted(way)[REPEATS // 2] for way in zip(*rounds, strict=True))
        figures.append(
            {
                "latency_ms": latency_ms,
                "webhook_rows_per_s": round(mine),
                "drt_rows_per_s": round(theirs),
                "ratio": round(mine / theirs, 1),
                "drt_10k_a_request_rows_per_s": round(larger),
            }
        )

    print(f"webhook: {chosen.rows:,} rows, {REQUEST_ROWS:,} a request, {CONNECTIONS} connections")
    print(
        f"drt-core: {chosen.drt_rows:,} rows, body_mode=batch, batch_template with tojson_safe, "
        f"max_records_per_request={REQUEST_ROWS:,} (and {10 * REQUEST_ROWS:,}), requests_per_second=0 (no pacing)"
    )
    headers = ["latency ms", "webhook rows/s", "drt-core rows/s", "ratio", "drt-core rows/s, 10,000 a request"]
    print(tabulate([list(figure.values()) for figure in figures], headers=headers, intfmt=",", floatfmt=",.1f"))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
