"""The benchmark of extraction, compared with a bare loop over the same cursor or Arrow stream into the same Parquet.

This package's extraction does more: it widens types exactly, digests every part, syncs it to disk and proves that each
id occurs once. Each way runs in a separate process; ids are not sorted. Usage:

    python benchmarks/extract.py [--rows 10000000] [--cursor-rows 1000000] [--repeat 3] [--json PATH]
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extracting import extract

_REPO = Path(__file__).resolve().parent.parent
_BATCH_ROWS = 32_768
_SQL = "SELECT * FROM people"
_CONN_ID = "bench"
# SQL for DuckDB and PostgreSQL. {h1} and the others are hashes of the row's number and a salt, from 0 to 2^31 - 1.
_COLUMNS = """
    ({id}) AS user_id,
    'user' || i || '@example.com' AS email,
    'First' || ({h1} % 5000) AS first_name,
    'Last' || ({h2} % 50000) AS last_name,
    '+4917' || ({h3} % 100000000) AS phone,
    CASE {h4} % 5 WHEN 0 THEN 'DE' WHEN 1 THEN 'FR' WHEN 2 THEN 'US' WHEN 3 THEN 'GB' ELSE 'ES' END AS country,
    CAST(({h5} % 1000000) / 100.0 AS DOUBLE PRECISION) AS lifetime_value,
    CAST({h6} % 100000 AS INTEGER) AS orders,
    TIMESTAMPTZ '2026-01-01 00:00:00+00' + ({h7} % 10000000) * INTERVAL '1 second' AS updated_at,
    CASE {h8} % 20 WHEN 0 THEN NULL ELSE {h8} % 10 < 7 END AS ads_ok,
    CASE {h9} % 20 WHEN 0 THEN NULL ELSE {h9} % 10 < 7 END AS analytics_ok,
    CASE {h10} % 20 WHEN 0 THEN NULL ELSE {h10} % 10 < 6 END AS email_ok
"""


def _columns(row_hash: str, id_: str) -> str:
    return _COLUMNS.format(id=id_, **{f"h{salt}": row_hash.format(salt=salt) for salt in range(1, 11)})


def make_duckdb(path: Path, *, rows: int) -> None:
    import duckdb

    columns = _columns("((hash(i + {salt}) >> 33)::BIGINT)", "(hash(i) >> 1)::BIGINT")
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE TABLE people AS SELECT {columns} FROM range({rows}) AS r(i)")


def make_sqlite(path: Path, *, source: Path, rows: int) -> None:
    import duckdb

    with closing(sqlite3.connect(path)) as target, duckdb.connect(str(source), read_only=True) as connection:
        cursor = connection.execute(
            f"SELECT * REPLACE (updated_at::VARCHAR AS updated_at, ads_ok::INT AS ads_ok, "
            f"analytics_ok::INT AS analytics_ok, email_ok::INT AS email_ok) FROM people LIMIT {rows}"
        )
        target.execute(f"CREATE TABLE people ({', '.join(column[0] for column in cursor.description)})")
        while batch := cursor.fetchmany(_BATCH_ROWS):
            target.executemany(f"INSERT INTO people VALUES ({', '.join('?' * 12)})", batch)
        target.commit()


def make_postgres(server: Any, *, rows: int) -> None:
    columns = _columns("abs(hashint8(i + {salt})::bigint)", "hashint8extended(i, 0)")
    with server.connect() as connection:
        connection.execute(f"CREATE TABLE people AS SELECT {columns} FROM generate_series(1, {rows}::bigint) AS r(i)")
        connection.execute("VACUUM ANALYZE people")


def bare(hook: Any, folder: Path, *, default_parquet: bool) -> int:
    """Loop over the same cursor or stream and write, with our options for Parquet or with pyarrow's defaults."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_consent_retl.storage.part_writer import repeating_columns

    written = 0
    with ExitStack() as resources:
        batches = _bare_duckdb(hook, resources) if hook.conn_type == "duckdb" else _bare_cursor(hook, resources)
        folder.mkdir()
        writer: Any = None
        pending: list[pa.RecordBatch] = []
        for batch in batches:
            if writer is None:
                options = (
                    {} if default_parquet else {"use_dictionary": repeating_columns(batch), "write_statistics": False}
                )
                writer = resources.enter_context(pq.ParquetWriter(folder / "part.parquet", batch.schema, **options))
            pending.append(batch)
            written += batch.num_rows
            if len(pending) == 4:
                writer.write_table(pa.Table.from_batches(pending))
                pending = []
        if pending:
            writer.write_table(pa.Table.from_batches(pending))
    return written


def _bare_duckdb(hook: Any, resources: ExitStack) -> Iterator[Any]:
    import duckdb

    connection = resources.enter_context(duckdb.connect(hook.connection.host, read_only=True))
    yield from connection.sql(_SQL).to_arrow_reader(_BATCH_ROWS)


def _bare_cursor(hook: Any, resources: ExitStack) -> Iterator[Any]:
    import pyarrow as pa

    connection = resources.enter_context(closing(hook.get_conn()))
    cursor = connection.cursor("bare") if hook.conn_type == "postgres" else connection.cursor()
    cursor.execute(_SQL)
    names = [column[0] for column in cursor.description]
    while rows := cursor.fetchmany(_BATCH_ROWS):
        yield pa.RecordBatch.from_arrays([pa.array(values) for values in zip(*rows, strict=True)], names)


@dataclass(frozen=True, slots=True)
class BareHook:
    """The part of a hook that a source uses, without Airflow, whose start-up is not measured."""

    conn_type: str
    host: str

    @property
    def is_local(self) -> bool:
        return True

    @property
    def connection(self) -> BareHook:
        return self

    def get_uri(self) -> str:
        return f"sqlite:///{self.host}"

    def get_conn(self) -> Any:
        if self.conn_type == "sqlite":
            return sqlite3.connect(self.host)
        import psycopg

        return psycopg.connect(host=self.host, user="postgres")


def measure_one(way: str, hook: BareHook, folder: Path) -> None:
    """Run one way in this process, and print its time and memory."""
    # Imports are not timed.
    import airflow_consent_retl.databases.duckdb.source
    import airflow_consent_retl.extraction.files  # noqa: F401

    started = time.perf_counter()
    if way == "ours":
        rows = extract(hook, folder, sql=_SQL, primary_key="user_id", batch_rows=_BATCH_ROWS)
    else:
        rows = bare(hook, folder, default_parquet=way == "bare_default")
    took_s = time.perf_counter() - started
    written = sum(file.stat().st_size for file in folder.glob("*.parquet"))
    print(json.dumps({"rows": rows, "s": took_s, "peak_mib": peak_mib(), "parquet_mib": written / (1 << 20)}))


def peak_mib() -> float:
    """Return this process's own peak memory; `getrusage` would start from the peak of the parent process."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def measure(source: str, host: str, scratch: Path, *, repeat: int) -> dict[str, Any]:
    """Run all ways in turns, each run in a separate process, and return the fastest run of each way."""
    runs: dict[str, list[dict[str, float]]] = {"bare": [], "bare_default": [], "ours": []}
    for _ in range(repeat):
        for way, results in runs.items():
            folder = scratch / "written"
            command = [sys.executable, __file__, "--one", way, source, host, str(folder)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True)
            results.append(json.loads(answer.stdout.splitlines()[-1]))
            shutil.rmtree(folder)
    best = {way: min(results, key=lambda result: result["s"]) for way, results in runs.items()}
    return {
        "source": source,
        **best,
        "ratio": best["ours"]["s"] / best["bare"]["s"],
        "ratio_to_default_parquet": best["ours"]["s"] / best["bare_default"]["s"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of the DuckDB source")
    parser.add_argument("--cursor-rows", type=int, default=1_000_000, help="rows of the SQLite and PostgreSQL sources")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--sources", nargs="+", default=["duckdb", "sqlite", "postgres"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        way, source, host, folder = arguments.one
        measure_one(way, BareHook(source, host), Path(folder))
        return
    results = []
    with ExitStack() as resources:
        scratch = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="consent-retl-bench-")))
        duck, lite = scratch / "people.duckdb", scratch / "people.sqlite"
        make_duckdb(duck, rows=max(arguments.rows, arguments.cursor_rows))
        hosts = {"duckdb": str(duck)}
        if "sqlite" in arguments.sources:
            make_sqlite(lite, source=duck, rows=arguments.cursor_rows)
            hosts["sqlite"] = str(lite)
        if "postgres" in arguments.sources:
            sys.path.insert(0, str(_REPO / "tests"))
            from support.postgres import running_postgres

            server = resources.enter_context(running_postgres())
            make_postgres(server, rows=arguments.cursor_rows)
            hosts["postgres"] = server.socket_folder
        for source in arguments.sources:
            result = measure(source, hosts[source], scratch, repeat=arguments.repeat)
            results.append(result)
            for way in ("bare", "bare_default", "ours"):
                one = result[way]
                print(
                    f"{source:9} {way:13} {one['rows']:>11,.0f} rows {one['s']:7.2f} s {one['peak_mib']:6.0f} MiB peak "
                    f"{one['parquet_mib']:7.1f} MiB Parquet"
                )
            print(f"{source:9} ours / bare {result['ratio']:.2f}, / default {result['ratio_to_default_parquet']:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"benchmark": "extract", "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
