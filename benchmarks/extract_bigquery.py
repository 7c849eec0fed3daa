"""Extraction from BigQuery against the client's own fastest bulk read, written to the same Parquet.

The stand-in keeps the query's result, so that what is measured is downloading, decoding and writing, not its engine.
Ours does more: every part is digested, synced to disk, and each id proven to occur once. Usage:

    python benchmarks/extract_bigquery.py [--rows 1000000] [--repeat 3] [--json PATH]
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import Measured, measure, measure_here, parser, show, write_figures

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

_REPO = Path(__file__).resolve().parent.parent
_PROJECT = "bench-project"
_SQL = "SELECT * FROM shop.people"
_CONN_ID = "bench"
_WAYS = ("client", "ours")
_PEOPLE = """
CREATE TABLE shop.people AS SELECT
    i AS user_id,
    CONCAT('user', i, '@example.com') AS email,
    CONCAT('First', MOD(i * 48271, 5000)) AS first_name,
    CONCAT('Last', MOD(i * 40503, 50000)) AS last_name,
    CONCAT('+4917', MOD(i * 69069, 100000000)) AS phone,
    CASE MOD(i * 7919, 5) WHEN 0 THEN 'DE' WHEN 1 THEN 'FR' WHEN 2 THEN 'US' WHEN 3 THEN 'GB' ELSE 'ES' END AS country,
    CAST(MOD(i * 104729, 1000000) AS NUMERIC) / 100 AS lifetime_value,
    MOD(i * 1299709, 100000) AS orders,
    TIMESTAMP_ADD(TIMESTAMP '2026-01-01 00:00:00+00', INTERVAL MOD(i * 15485863, 10000000) SECOND) AS updated_at,
    CASE MOD(i * 31, 20) WHEN 0 THEN NULL ELSE MOD(i * 31, 10) < 7 END AS ads_ok,
    CASE MOD(i * 37, 20) WHEN 0 THEN NULL ELSE MOD(i * 37, 10) < 7 END AS analytics_ok,
    CASE MOD(i * 41, 20) WHEN 0 THEN NULL ELSE MOD(i * 41, 10) < 6 END AS email_ok
FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS i
"""


@dataclass(frozen=True, slots=True)
class BareHook:
    """What a source asks of a hook, without Airflow, whose start-up is no part of what is measured."""

    storage_port: int
    conn_type: str = "gcpbigquery"
    project_id: str = _PROJECT
    location: str | None = None
    priority: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    api_resource_configs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def connection_extra(self) -> dict[str, Any]:
        return {"storage_endpoint": f"127.0.0.1:{self.storage_port}"}

    def get_client(self, *, project_id: str, location: str | None) -> Client:
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.bigquery import Client

        credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
        return Client(project=project_id, location=location, credentials=credentials)


def ours(hook: Any, folder: Path) -> None:
    """Do what the operator does, without Airflow's task."""
    from airflow_consent_retl.engine.source import ModelQuery, read_model
    from airflow_consent_retl.workspace.folder import Folder
    from airflow_consent_retl.workspace.manifest import ModelSource
    from airflow_consent_retl.workspace.snapshot import SnapshotWriter

    with (
        read_model(hook, ModelQuery(conn_id=_CONN_ID, sql=_SQL, primary_key="user_id")) as rows,
        SnapshotWriter(Folder.local(folder), rows.schema, primary_key="user_id") as writer,
    ):
        for batch in rows.batches:
            writer.write(batch)
        writer.publish(model="people", source=ModelSource(conn_id=_CONN_ID, sql=_SQL), read_at=datetime.now(UTC))


def client(hook: Any, folder: Path) -> None:
    """Write the client's Arrow batches, read by the Storage API, in row groups like ours, with our options."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_consent_retl.engine.source_bigquery_session import open_session
    from airflow_consent_retl.workspace.folder import repeating_columns

    folder.mkdir()
    session = open_session(hook)
    writer: Any = None
    waiting: list[Any] = []

    def flush() -> None:
        table = pa.Table.from_batches(waiting)
        writer.write_table(table, row_group_size=131_072)
        waiting.clear()

    rows = session.client.query(_SQL).result(page_size=1000)
    for batch in rows.to_arrow_iterable(bqstorage_client=session.storage()):
        if writer is None:
            options = {"use_dictionary": repeating_columns(batch), "write_statistics": False}
            writer = pq.ParquetWriter(folder / "part.parquet", batch.schema, **options)
        waiting.append(batch)
        if sum(map(len, waiting)) >= 131_072:
            flush()
    if waiting:
        flush()
    writer.close()
    session.close()


def measure_one(way: str, storage_port: int, folder: Path) -> None:
    # The client's own bulk read is said to be deprecated, by itself.
    warnings.simplefilter("ignore")
    hook = BareHook(storage_port)
    measure_here(lambda: ours(hook, folder) if way == "ours" else client(hook, folder))


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        measure_one(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
        return
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--repeat", type=int, default=3)
    arguments = options.parse_args()
    sys.path.insert(0, str(_REPO / "tests"))
    from bigquery_server import running_bigquery

    best: dict[str, Measured] = {}
    with running_bigquery() as server, tempfile.TemporaryDirectory(prefix="consent-retl-bench-") as scratch:
        os.environ["BIGQUERY_EMULATOR_HOST"] = server.url
        made: Any = BareHook(server.storage_port).get_client(project_id=_PROJECT, location=None)
        made.query("CREATE SCHEMA shop").result()
        made.query(_PEOPLE.format(rows=arguments.rows)).result()
        made.close()
        server.control(keep_results=True)
        # The first run has its result made and kept.
        for number in range(arguments.repeat + 1):
            for way in _WAYS:
                folder = Path(scratch) / way
                measured = measure(__file__, "--one", way, server.storage_port, folder)
                shutil.rmtree(folder)
                if number:
                    best[way] = min(best.get(way, measured), measured, key=lambda one: one.wall_s)
    fastest = best["client"].wall_s
    show(
        f"Extraction from BigQuery's stand-in, {arguments.rows:,} rows",
        ["way", "s", "ratio", "peak MiB"],
        [[way, f"{one.wall_s:.2f}", f"{one.wall_s / fastest:.2f}", one.peak_mib] for way, one in best.items()],
    )
    ways = {way: asdict(one) for way, one in best.items()}
    write_figures(
        arguments.json,
        {
            "benchmark": "extract_bigquery",
            "rows": arguments.rows,
            "ways": ways,
            "ratio": best["ours"].wall_s / fastest,
            "peak_mib": best["ours"].peak_mib,
        },
    )


if __name__ == "__main__":
    main()
