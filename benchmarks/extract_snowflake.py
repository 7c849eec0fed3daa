"""The benchmark of extraction from Snowflake, compared with the connector's own fastest bulk read to the same Parquet.

The stand-in keeps the query's result. The benchmark therefore measures downloading, decoding and writing, and not the
stand-in's engine. This package's extraction does more: it keeps numbers exact, gives all chunks one type, digests every
part, syncs it to disk, and proves that each id occurs once. `exact` is the connector's read with its option for exact
numbers. Usage:

    python benchmarks/extract_snowflake.py [--rows 1000000] [--repeat 3] [--json PATH]
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extracting import best_of, extract, tell
from measure import measure_here, parser

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

_REPO = Path(__file__).resolve().parent.parent
_SQL = "SELECT * FROM people"
_WAYS = ("connector", "exact", "ours")
_PEOPLE = """
CREATE TABLE people AS SELECT
    i AS user_id,
    'user' || i || '@example.com' AS email,
    'First' || MOD(i * 2654435761, 5000) AS first_name,
    'Last' || MOD(i * 40503, 50000) AS last_name,
    '+4917' || MOD(i * 69069, 100000000) AS phone,
    CASE MOD(i * 7919, 5) WHEN 0 THEN 'DE' WHEN 1 THEN 'FR' WHEN 2 THEN 'US' WHEN 3 THEN 'GB' ELSE 'ES' END AS country,
    (MOD(i * 104729, 1000000) / 100)::NUMBER(12, 2) AS lifetime_value,
    MOD(i * 1299709, 100000)::NUMBER(38, 0) AS orders,
    DATEADD(second, MOD(i * 15485863, 10000000), '2026-01-01 00:00:00'::TIMESTAMP_NTZ) AS updated_at,
    CASE MOD(i * 31, 20) WHEN 0 THEN NULL ELSE MOD(i * 31, 10) < 7 END AS ads_ok,
    CASE MOD(i * 37, 20) WHEN 0 THEN NULL ELSE MOD(i * 37, 10) < 7 END AS analytics_ok,
    CASE MOD(i * 41, 20) WHEN 0 THEN NULL ELSE MOD(i * 41, 10) < 6 END AS email_ok
FROM (SELECT SEQ8() AS i FROM TABLE(GENERATOR(ROWCOUNT => {rows})))
"""


@dataclass(frozen=True, slots=True)
class BareHook:
    """The part of a hook that a source uses, without Airflow, whose start-up is not measured."""

    port: int
    conn_type: str = "snowflake"

    @property
    def connection_extra(self) -> dict[str, Any]:
        return {}

    def get_conn(self) -> SnowflakeConnection:
        import snowflake.connector

        return snowflake.connector.connect(
            account="bench",
            host="localhost",
            port=self.port,
            user="bench",
            password="not a secret",  # noqa: S106 - the stand-in accepts any
            database="BENCH",
            schema="PUBLIC",
            ocsp_fail_open=True,
        )


def connector(hook: BareHook, folder: Path, *, exact: bool) -> None:
    """Write the connector's Arrow batches in the order in which they arrive, with our options for Parquet."""
    import pyarrow.parquet as pq

    from airflow_consent_retl.storage.part_writer import repeating_columns

    folder.mkdir()
    writer: Any = None
    with closing(hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
        connection.arrow_number_to_decimal_setter = exact
        cursor.execute(_SQL)
        for table in cursor.fetch_arrow_batches():
            if writer is None:
                # Chunks differ in the width of their integers; the last one of a table of ascending ids is the widest.
                schema = _widest(table.schema)
                sample = table.cast(schema).to_batches()[0]
                options = {"use_dictionary": repeating_columns(sample), "write_statistics": False}
                writer = pq.ParquetWriter(folder / "part.parquet", schema, **options)
            writer.write_table(table.cast(schema), row_group_size=131_072)
    writer.close()


def _widest(schema: Any) -> Any:
    import pyarrow as pa

    return pa.schema(
        field.with_type(pa.int64()) if pa.types.is_integer(field.type) else field.remove_metadata() for field in schema
    )


def measure_one(way: str, port: int, folder: Path) -> None:
    hook = BareHook(port)
    if way == "ours":
        measure_here(lambda: extract(hook, folder, sql=_SQL, primary_key="USER_ID"))
    else:
        measure_here(lambda: connector(hook, folder, exact=way == "exact"))


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        measure_one(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
        return
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--repeat", type=int, default=3)
    arguments = options.parse_args()
    sys.path.insert(0, str(_REPO / "tests"))
    from support.snowflake_server import running_snowflake

    with running_snowflake() as server, tempfile.TemporaryDirectory(prefix="consent-retl-bench-") as scratch:
        os.environ["REQUESTS_CA_BUNDLE"] = str(server.certificate)
        with closing(BareHook(server.port).get_conn()) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(_PEOPLE.format(rows=arguments.rows))
        server.control(keep_results=True)
        best = best_of(__file__, _WAYS, server=server.port, scratch=Path(scratch), repeat=arguments.repeat)
    tell(
        "Extraction from Snowflake's stand-in",
        best,
        rivals=("connector", "exact"),
        rows=arguments.rows,
        name="extract_snowflake",
        json=arguments.json,
    )


if __name__ == "__main__":
    main()
