"""The benchmark of extraction from PostgreSQL, compared with the driver's own fastest bulk read into the same Parquet.

The rival is psycopg's COPY as text, decoded by Arrow's CSV reader in one stream, without any check. `cursor` is a
server-side cursor whose tuples become Arrow; this is equivalent to reading with the hook. This package's extraction
does more: it digests every part, syncs it to disk, and proves that each id occurs once. The server is started for the
benchmark, on a Unix socket. Usage:

    python benchmarks/extract_postgres.py [--rows 1000000] [--repeat 3] [--json PATH]
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extracting import best_of, extract, tell
from measure import measure_here, parser

_REPO = Path(__file__).resolve().parent.parent
_SQL = "SELECT * FROM people"
_WAYS = ("copy", "cursor", "ours")
_FETCHED_ROWS = 32_768
_PEOPLE = """
CREATE TABLE people AS SELECT
    i AS user_id,
    'user' || i || '@example.com' AS email,
    'First' || mod(i * 2654435761, 5000) AS first_name,
    'Last' || mod(i * 40503, 50000) AS last_name,
    '+4917' || mod(i * 69069, 100000000) AS phone,
    (ARRAY['DE', 'FR', 'US', 'GB', 'ES'])[1 + mod(i * 7919, 5)] AS country,
    (mod(i * 104729, 1000000) / 100.0)::numeric(12, 2) AS lifetime_value,
    mod(i * 1299709, 100000) AS orders,
    timestamp '2026-01-01' + mod(i * 15485863, 10000000) * interval '1 second' AS updated_at,
    CASE mod(i * 31, 20) WHEN 0 THEN NULL ELSE mod(i * 31, 10) < 7 END AS ads_ok,
    CASE mod(i * 37, 20) WHEN 0 THEN NULL ELSE mod(i * 37, 10) < 7 END AS analytics_ok,
    CASE mod(i * 41, 20) WHEN 0 THEN NULL ELSE mod(i * 41, 10) < 6 END AS email_ok
FROM generate_series(1::bigint, {rows}) AS i
"""


@dataclass(frozen=True, slots=True)
class BareHook:
    """The part of a hook that a source uses, without Airflow, whose start-up is not measured."""

    socket_folder: str
    conn_type: str = "postgres"

    def get_conn(self) -> Any:
        import psycopg

        return psycopg.connect(host=self.socket_folder, user="postgres", dbname="postgres")


def bare(hook: BareHook, folder: Path, *, batches: Any) -> None:
    """Write Arrow batches in the order in which they arrive, with our options for Parquet."""
    import pyarrow.parquet as pq

    from airflow_consent_retl.storage.part_writer import repeating_columns

    folder.mkdir()
    writer: Any = None
    with closing(hook.get_conn()) as connection:
        for batch in batches(connection):
            if writer is None:
                options = {"use_dictionary": repeating_columns(batch), "write_statistics": False}
                writer = pq.ParquetWriter(folder / "part.parquet", batch.schema, **options)
            writer.write_batch(batch, row_group_size=131_072)
    writer.close()


def copied(connection: Any) -> Any:
    import io

    import pyarrow.csv as pacsv

    class Stream(io.RawIOBase):
        def __init__(self, copy: Any) -> None:
            self._copy = copy

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            taken, length = [], 0
            while length < size and (line := self._copy.read()):
                taken.append(line)
                length += len(line)
            return b"".join(taken)

    schema = _schema()
    with connection.cursor() as cursor, cursor.copy(f"COPY ({_SQL}) TO STDOUT (FORMAT csv)") as copy:
        yield from pacsv.open_csv(
            Stream(copy),
            pacsv.ReadOptions(column_names=schema.names, block_size=8 << 20),
            convert_options=pacsv.ConvertOptions(
                column_types=schema, null_values=[""], strings_can_be_null=True, true_values=["t"], false_values=["f"]
            ),
        )


def fetched(connection: Any) -> Any:
    import pyarrow as pa

    schema = _schema()
    with connection.cursor("bench") as cursor:
        cursor.execute(_SQL)
        while rows := cursor.fetchmany(_FETCHED_ROWS):
            columns = zip(*rows, strict=True)
            yield pa.RecordBatch.from_arrays(
                [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
            )


def _schema() -> Any:
    import pyarrow as pa

    texts = ("email", "first_name", "last_name", "phone", "country")
    return pa.schema(
        {
            "user_id": pa.int64(),
            **dict.fromkeys(texts, pa.string()),
            "lifetime_value": pa.decimal128(12, 2),
            "orders": pa.int64(),
            "updated_at": pa.timestamp("us"),
            **dict.fromkeys(("ads_ok", "analytics_ok", "email_ok"), pa.bool_()),
        }
    )


def measure_one(way: str, socket_folder: str, folder: Path) -> None:
    hook = BareHook(socket_folder)
    if way == "ours":
        measure_here(lambda: extract(hook, folder, sql=_SQL, primary_key="user_id"))
    else:
        measure_here(lambda: bare(hook, folder, batches=copied if way == "copy" else fetched))


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        measure_one(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
        return
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--repeat", type=int, default=3)
    arguments = options.parse_args()
    sys.path.insert(0, str(_REPO / "tests"))
    from support.postgres import running_postgres

    with running_postgres() as server, tempfile.TemporaryDirectory(prefix="consent-retl-bench-") as scratch:
        with closing(server.connect()) as connection:
            connection.execute(_PEOPLE.format(rows=arguments.rows))
            connection.execute("VACUUM ANALYZE people")
        best = best_of(__file__, _WAYS, server=server.socket_folder, scratch=Path(scratch), repeat=arguments.repeat)
    tell(
        "Extraction from PostgreSQL",
        best,
        rivals=("copy",),
        rows=arguments.rows,
        name="extract_postgres",
        json=arguments.json,
    )


if __name__ == "__main__":
    main()
