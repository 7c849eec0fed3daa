"""The benchmark of loads into a PostgreSQL table, compared with row-by-row upserts through the hook's `insert_rows`.

The server is started for the benchmark on a Unix socket, and is measured directly and behind a proxy that adds network
latency: half a millisecond per answer, as for a database in the same region. `insert_rows` upserts with one statement
per row and commits every 1,000 rows, its default; `committed` commits each row. psycopg 3 sends statements without
waiting for each answer. psycopg2 waits; the hook uses it if psycopg 3 is not installed. Each way loads into an empty
table and then again into the full one. Usage:

    python benchmarks/load_sql.py [--rows 200000] [--slow-rows 5000] [--repeat 3] [--json PATH]
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measure import parser, show, write_figures

_REPO = Path(__file__).resolve().parent.parent
_SOCKET = ".s.PGSQL.5432"
_CREATION = (
    "CREATE TABLE people (id bigint PRIMARY KEY, email text, first_name text, last_name text, phone text, "
    "country text, lifetime_value numeric(12, 2), updated_at timestamptz)"
)
_ROUND_TRIP_S = 0.0005


@contextmanager
def slow_server(folder: Path, *, server: str, delay_s: float) -> Iterator[str]:
    """Forward everything to the server's socket, delay each piece of an answer, and yield the proxy's folder."""
    ended = threading.Event()

    def hand_on(client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as behind:
            behind.connect(f"{server}/{_SOCKET}")
            while not ended.is_set():
                for source in select.select([client, behind], [], [], 0.05)[0]:
                    content = source.recv(1 << 18)
                    if not content:
                        return
                    if source is behind:
                        time.sleep(delay_s)
                    (client if source is behind else behind).sendall(content)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / _SOCKET))
        listening.listen()

        def serve() -> None:
            while not ended.is_set():
                if select.select([listening], [], [], 0.05)[0]:
                    threading.Thread(target=hand_on, args=(listening.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield str(folder)
        finally:
            ended.set()
            thread.join()


def people(rows: int) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.array(range(rows), pa.int64())
    # Without an order, like a model's rows.
    ids = pc.take(ids, pc.sort_indices(pc.bit_wise_and(pc.multiply(ids, 2_654_435_761), 0xFFFFFF)))
    text = ids.cast(pa.string())
    value = pc.bit_wise_and(ids, 0xFFFF).cast(pa.decimal128(21, 2)).cast(pa.decimal128(12, 2))
    return pa.table(
        {
            "id": ids,
            "email": pc.binary_join_element_wise("user", text, "@example.com", ""),
            "first_name": pc.binary_join_element_wise("First", pc.bit_wise_and(ids, 4095).cast(pa.string()), ""),
            "last_name": pc.binary_join_element_wise("Last", pc.bit_wise_and(ids, 65535).cast(pa.string()), ""),
            "phone": pc.binary_join_element_wise("+4917", text, ""),
            "country": pa.array(["DE", "FR", "US", "GB"]).take(pc.bit_wise_and(ids, 3)),
            "lifetime_value": value,
            "updated_at": ids.cast(pa.timestamp("s", "UTC")),
        }
    )


def inserted(hook: Any, table: Any, *, commit_every: int = 1_000, psycopg2: bool = False) -> Callable[[], None]:
    from airflow.providers.postgres.hooks import postgres as module

    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def run() -> None:
        module.USE_PSYCOPG3 = not psycopg2
        try:
            insert()
        finally:
            module.USE_PSYCOPG3 = True

    def insert() -> None:
        hook.insert_rows(
            "people", rows, table.column_names, replace=True, replace_index="id", commit_every=commit_every
        )

    return run


def loaded(conn_id: str, table: Any) -> Callable[[], None]:
    from support.loading import deliver, load_of, rejected

    from airflow_consent_retl.destinations.sql_table.operator import LoadToSqlTableOperator

    load = load_of(table)

    def run() -> None:
        operator = LoadToSqlTableOperator(
            task_id="load", permitted={}, destination="crm", fields={"id": "id"}, conn_id=conn_id, table="people"
        )
        if rejected(deliver(operator.build_destination(), table, load)):
            raise RuntimeError("rows were refused")

    return run


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=200_000)
    options.add_argument("--slow-rows", type=int, default=5_000)
    options.add_argument("--repeat", type=int, default=3)
    arguments = options.parse_args()
    sys.path.insert(0, str(_REPO / "tests"))
    os.environ["_AIRFLOW__AS_LIBRARY"] = "1"
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from support.postgres import running_postgres

    many, few = people(arguments.rows), people(arguments.slow_rows)
    figures: dict[str, dict[str, float]] = {}
    with (
        running_postgres() as server,
        tempfile.TemporaryDirectory(prefix="retl-") as scratch,
        slow_server(Path(scratch), server=server.socket_folder, delay_s=_ROUND_TRIP_S) as slow,
    ):
        connection = json.loads(server.airflow_connection())
        os.environ["AIRFLOW_CONN_NEAR"] = json.dumps(connection)
        os.environ["AIRFLOW_CONN_FAR"] = json.dumps(connection | {"host": slow})
        near, far = PostgresHook("near"), PostgresHook("far")
        ways = {
            "near: ours": (loaded("near", many), arguments.rows),
            "near: insert_rows": (inserted(near, many), arguments.rows),
            "near: insert_rows, psycopg2": (inserted(near, many, psycopg2=True), arguments.rows),
            "near: committed": (inserted(near, few, commit_every=1), arguments.slow_rows),
            "far: ours": (loaded("far", many), arguments.rows),
            "far: insert_rows": (inserted(far, many), arguments.rows),
            "far: insert_rows, psycopg2": (inserted(far, few, psycopg2=True), arguments.slow_rows),
        }
        with server.connect() as seen:
            for _ in range(arguments.repeat):
                for way, (run, rows) in ways.items():
                    seen.execute("DROP TABLE IF EXISTS people")
                    seen.execute(_CREATION)
                    for kind in ("new", "again"):
                        started = time.perf_counter()
                        run()
                        rate = rows / (time.perf_counter() - started)
                        found = figures.setdefault(way, {})
                        found[kind] = max(found.get(kind, 0), rate)
                    assert seen.execute("SELECT count(*) FROM people").fetchone() == (rows,)
    table = []
    for way, rates in figures.items():
        ours = figures[way.partition(":")[0] + ": ours"]
        table.append([way, *(f"{rates[k]:,.0f}" for k in rates), *(f"{ours[k] / rates[k]:.1f}" for k in rates)])
    show(
        f"Upserts into PostgreSQL, {arguments.rows:,} rows",
        ["way", "new rows/s", "again rows/s", "ours x (new)", "ours x (again)"],
        table,
    )
    write_figures(arguments.json, {"benchmark": "load_sql", "rows": arguments.rows, "rates": figures})


if __name__ == "__main__":
    main()
