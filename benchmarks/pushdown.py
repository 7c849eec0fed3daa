"""The benchmark of rows and bytes that leave the warehouse when consent is decided inside it, counted at the client.

    python benchmarks/pushdown.py [--rows 1000000] [--json figures.json]

A real PostgreSQL holds a model of 12 columns. The same sync runs three times: the first load, a run that changes
nothing, and a run in which 1 % of the permitted rows changed. The model's bytes are the bytes of its extraction as
Arrow. The signature table, the comparison, the repeated check of consent and the load's own reads all count.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from measure import parser
from tabulate import tabulate

if TYPE_CHECKING:
    import psycopg
    from support.postgres import Postgres

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
POLICY = {"categories": [{"id": "C1", "name": "Everything", "destinations": ["lake"]}]}
MODEL = """
DROP SCHEMA IF EXISTS staging CASCADE; CREATE SCHEMA staging;
CREATE TABLE customers AS
SELECT n::bigint AS id, 'person.' || n || '@mail' || n % 97 || '.example.com' AS email,
    'Name' || n % 1009 AS first_name, 'Name' || n % 4001 AS last_name, (ARRAY['DE', 'FR', 'JP'])[n % 3 + 1] AS country,
    n % 50 AS orders, (n % 100000) / 100.0 AS spent, timestamptz '2026-01-01' + n * interval '1 second' AS seen_at,
    md5(n::text) AS token, n % 7 AS segment, n % 5 < 4 AS ok, n AS version
FROM generate_series(1, {rows}) n
"""


_OWN_STATEMENTS = 2


class Counted:
    """The data that leaves the database server: rows, and Arrow bytes from the sources."""

    def __init__(self) -> None:
        self.rows = self.bytes = 0

    @contextmanager
    def counting(self) -> Iterator[Counted]:
        from airflow_consent_retl.databases.postgres.source import PostgresSource

        opened = PostgresSource.open

        def open_counted(source: Any, resources: Any) -> Any:
            rows = opened(source, resources)
            return type(rows)(rows.schema, self._counted(rows.batches))

        self.rows = self.bytes = 0
        PostgresSource.open = open_counted  # type: ignore[method-assign, assignment]
        try:
            yield self
        finally:
            PostgresSource.open = opened  # type: ignore[method-assign]

    def _counted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            self.rows += batch.num_rows
            self.bytes += batch.nbytes
            yield batch


class Statements:
    """The statements that the server ran, and the rows that their scans returned."""

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        with postgres.connect() as connection:
            connection.execute("ALTER SYSTEM SET log_statement = 'all'")
            connection.execute("SELECT pg_reload_conf()")
        self.reset()

    def reset(self) -> None:
        self._before = self._now()

    def since(self) -> tuple[int, int]:
        """Return both since the last reset, without those of this class."""
        statements, scanned = self._now()
        return statements - self._before[0] - _OWN_STATEMENTS, scanned - self._before[1]

    def _now(self) -> tuple[int, int]:
        with self._postgres.connect() as connection:
            # A session that ended has reported its scans.
            connection.execute("SELECT pg_stat_force_next_flush()")
            read = connection.execute("SELECT tup_returned FROM pg_stat_database WHERE datname = current_database()")
            scanned = int(str((read.fetchone() or [0])[0]))
        log = (Path(self._postgres.socket_folder) / "log").read_text(errors="replace")
        return log.count("LOG:  statement: ") + log.count("LOG:  execute "), scanned


def drop_rows(connection: psycopg.Connection[Any]) -> None:
    """Drop the rows of runs that ended, which no later run reads, so that the disk has the rows of one run."""
    tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'staging'").fetchall()
    for (table,) in tables:
        if {"snapshot", "permitted"} & set(table.split("_")):
            connection.execute(f'DROP TABLE staging."{table}"')


def timed(seconds: dict[str, float], stage: str, work: Callable[[], Any]) -> Any:
    """Do the work of a stage, note its seconds, and return its result."""
    started = time.perf_counter()
    result = work()
    seconds[stage] = round(time.perf_counter() - started, 2)
    return result


def extract(workspace: str | None) -> Any:
    from airflow_consent_retl.operators import ExtractModelOperator

    return ExtractModelOperator(
        task_id="extract",
        model="customers",
        conn_id="pg",
        sql="SELECT * FROM customers",
        primary_key="id",
        workspace=workspace,
    ).execute({})


def run() -> tuple[dict[str, Any], dict[str, float]]:
    """Run a sync; return the counts of its load, and the seconds of each stage."""
    from airflow_consent_retl.operators import ConsentFilterOperator, LoadToWebhookOperator

    seconds: dict[str, float] = {}
    snapshot = timed(seconds, "extract", lambda: extract("warehouse:staging"))
    consent = ConsentFilterOperator(
        task_id="consent", snapshot=snapshot, policy=POLICY, consent={"C1": "ok"}, destinations=["lake"]
    )
    permitted = timed(seconds, "consent", lambda: consent.execute({}))
    load = LoadToWebhookOperator(
        task_id="load",
        permitted=permitted,
        destination="lake",
        policy=POLICY,
        conn_id="vendor",
        endpoint="/v1/people",
        fields={"id": "id", "email": "email", "spent": "spent", "seen_at": "seen_at"},
        answer="status",
    )
    return timed(seconds, "load", lambda: load.execute({})), seconds


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    chosen = options.parse_args()
    warnings.simplefilter("ignore")
    from support.postgres import running_postgres
    from webhook import served

    figures: list[dict[str, Any]] = []
    counted = Counted()
    with tempfile.TemporaryDirectory() as home, running_postgres() as postgres, served(0.0) as port:
        vendor = {"conn_type": "http", "host": "127.0.0.1", "port": port, "extra": {"allow_private": True}}
        os.environ |= {
            "AIRFLOW_CONN_PG": postgres.airflow_connection(),
            "AIRFLOW_CONN_VENDOR": json.dumps(vendor),
            "AIRFLOW__CONSENT_RETL__WORKSPACE": Path(home).as_uri(),
        }
        with postgres.connect() as connection:
            connection.execute(MODEL.format(rows=chosen.rows))
        statements = Statements(postgres)
        with counted.counting():
            extract(None)
            model = counted.bytes
        steps = (
            ("first load", ""),
            ("nothing changed", ""),
            ("1 % changed", "UPDATE customers SET spent = spent + 1 WHERE ok AND id % 100 = 1"),
        )
        for name, statement in steps:
            with postgres.connect() as connection:
                if statement:
                    connection.execute(statement)
                drop_rows(connection)
            statements.reset()
            with counted.counting():
                counts, seconds = run()
                run_statements, scanned = statements.since()
                sent = counts["added"] + counts["updated"]
                figures.append(
                    {
                        "run": name,
                        "permitted and changed": sent,
                        "rows that left": counted.rows,
                        "octets that left": counted.bytes,
                        "of the model's octets": round(100 * counted.bytes / model, 4),
                        "statements": run_statements,
                        "rows scanned": scanned,
                        **seconds,
                        "peak MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
                    }
                )

    print(f"{chosen.rows:,} rows of 12 columns, {model / (1 << 20):,.0f} MiB as Arrow")
    headers = ["run", "permitted and changed", "rows that left", "bytes that left", "% of the model's"]
    headers += ["statements", "rows scanned", "extract s", "consent s", "load s", "peak MiB"]
    print(tabulate([list(figure.values()) for figure in figures], headers=headers, intfmt=",", floatfmt=".4f"))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
