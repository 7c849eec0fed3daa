"""The benchmark of consent joined from a history of events, compared with the same join in the model's SQL.

The rival is DuckDB alone: a window over the events and a left join in the model's query, which is then extracted like
any other query. It does not check for conflicts, missing times and wrong keys. `model alone` is the extraction without
consent. Usage:

    python benchmarks/consent_source.py [--rows 10000000] [--repeat 1] [--json PATH]
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import duckdb
from extracting import best_of, extract, tell
from measure import measure_here, parser

from airflow_consent_retl.consent import ConsentSource
from airflow_consent_retl.databases.source import ModelQuery, read_model
from airflow_consent_retl.extraction.files import SnapshotWriter
from airflow_consent_retl.extraction.reading import reading_with_consent
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.manifest import ModelSource

_WAYS = ("in the model's SQL", "ours", "model alone")
_MODEL = "SELECT * FROM people"
_JOINED = """SET memory_limit = '4GB'; SELECT people.*, latest.ads_ok FROM people LEFT JOIN (
    SELECT user_id, ads_ok FROM consent_events
    QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY changed_at DESC) = 1
) latest USING (user_id)"""
_SOURCE = ConsentSource(
    "SELECT user_id, ads_ok, changed_at FROM consent_events", subject="user_id", time="changed_at", columns=["ads_ok"]
)
# The number of events equals the number of people: one person in five has two, one in five has none.
_TABLES = """
CREATE TABLE people AS SELECT
    (hash(i) >> 1)::BIGINT AS user_id, 'user' || i || '@example.com' AS email,
    'First' || (hash(i + 1) % 5000) AS first_name, 'Last' || (hash(i + 2) % 50000) AS last_name,
    '+4917' || (hash(i + 3) % 100000000) AS phone, (hash(i + 6) % 100000)::INT AS orders
FROM range({rows}) r(i);
CREATE TABLE consent_events AS SELECT
    (hash(CASE WHEN i % 5 = 0 THEN i + 1 ELSE i END) >> 1)::BIGINT AS user_id, hash(i + 9) % 10 < 7 AS ads_ok,
    TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL (i) SECOND / 2 AS changed_at
FROM range({rows}) r(i);
"""


@dataclass(frozen=True)
class BareHook:
    """The part of a hook that a source uses, without Airflow, whose start-up is not measured."""

    file: str
    conn_type: str = "duckdb"
    is_local: bool = True
    connection: SimpleNamespace = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "connection", SimpleNamespace(host=self.file))


def extract_with_consent(hook: BareHook, folder: Path) -> None:
    """Do the same as the operator with a consent source, without Airflow's task."""
    query = ModelQuery(conn_id="bench", sql=_MODEL, primary_key="user_id")
    reading = reading_with_consent(
        lambda: read_model(hook, query),  # type: ignore[arg-type]  # the part that a source uses
        [_SOURCE],
        hook_of=lambda conn_id: hook,  # type: ignore[arg-type, return-value]
        conn_id="bench",
        time_zone="UTC",
        at=datetime.now(UTC),
        log=lambda message: None,
        warn=lambda message: None,
    )
    with reading as rows, SnapshotWriter(Folder.local(folder), rows.schema, primary_key="user_id") as writer:
        for batch in rows.batches:
            writer.write(batch)
        writer.publish(model="people", source=ModelSource(conn_id="bench", sql=_MODEL), read_at=datetime.now(UTC))


def measure_one(way: str, file: str, folder: Path) -> None:
    hook = BareHook(file)
    if way == "ours":
        measure_here(lambda: extract_with_consent(hook, folder))
    else:
        sql = _MODEL if way == "model alone" else _JOINED
        measure_here(lambda: extract(hook, folder, sql=sql, primary_key="user_id"))


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        measure_one(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
        return
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=10_000_000)
    options.add_argument("--repeat", type=int, default=1)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="consent-retl-bench-") as scratch:
        file = str(Path(scratch) / "warehouse.duckdb")
        with duckdb.connect(file) as connection:
            connection.execute(_TABLES.format(rows=arguments.rows))
        best = best_of(__file__, _WAYS, server=file, scratch=Path(scratch), repeat=arguments.repeat)
    tell(
        "Consent from a history of events",
        best,
        rivals=(_WAYS[0],),
        rows=arguments.rows,
        name="consent_source",
        json=arguments.json,
    )


if __name__ == "__main__":
    main()
