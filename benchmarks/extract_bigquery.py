"""The benchmark of extraction from BigQuery, compared with the client's own fastest bulk read into the same Parquet.

The stand-in keeps the query's result. The benchmark therefore measures downloading, decoding and writing, and not the
stand-in's engine. This package's extraction does more: it digests every part, syncs it to disk, and proves that each id
occurs once. Usage:

    python benchmarks/extract_bigquery.py [--rows 1000000] [--repeat 3] [--json PATH]
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extracting import best_of, extract, tell
from measure import measure_here, parser

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

_REPO = Path(__file__).resolve().parent.parent
_PROJECT = "bench-project"
_SQL = "SELECT * FROM shop.people"
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
    """The part of a hook that a source uses, without Airflow, whose start-up is not measured."""

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


def client(hook: Any, folder: Path) -> None:
    """Write the client's Arrow batches from the Storage API, in row groups like ours, with our options."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from airflow_consent_retl.databases.bigquery.session import open_session
    from airflow_consent_retl.storage.part_writer import repeating_columns

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
    # The client's own bulk read warns that it is deprecated.
    warnings.simplefilter("ignore")
    hook = BareHook(storage_port)
    if way == "ours":
        measure_here(lambda: extract(hook, folder, sql=_SQL, primary_key="user_id"))
    else:
        measure_here(lambda: client(hook, folder))


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        measure_one(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
        return
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--repeat", type=int, default=3)
    arguments = options.parse_args()
    sys.path.insert(0, str(_REPO / "tests"))
    from support.bigquery_server import running_bigquery

    with running_bigquery() as server, tempfile.TemporaryDirectory(prefix="consent-retl-bench-") as scratch:
        os.environ["BIGQUERY_EMULATOR_HOST"] = server.url
        made: Any = BareHook(server.storage_port).get_client(project_id=_PROJECT, location=None)
        made.query("CREATE SCHEMA shop").result()
        made.query(_PEOPLE.format(rows=arguments.rows)).result()
        made.close()
        server.control(keep_results=True)
        best = best_of(__file__, _WAYS, server=server.storage_port, scratch=Path(scratch), repeat=arguments.repeat)
    tell(
        "Extraction from BigQuery's stand-in",
        best,
        rivals=("client",),
        rows=arguments.rows,
        name="extract_bigquery",
        json=arguments.json,
    )


if __name__ == "__main__":
    main()
