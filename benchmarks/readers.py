"""The benchmark of each reader of vendors' records: the consent filter, compared with a plain copy of the same files.

    python benchmarks/readers.py [--rows 10000000] [--reader DidomiPurposes ...] [--json figures.json]

Each file has 8 columns of payload and the columns of one reader, whose values are the rows of `tests/cases/records` in
turn. `unique` readers have documents that are all different. Copy and filter take turns; the figures are the sums of
processor seconds and of wall seconds.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from filter import _PAYLOAD, run_copy
from measure import CACHE, Measured, measure, measure_here, parser, show, write_figures

from airflow_consent_retl.consent import ConsentMappingLike, ConsentPlan, parse_policy, plan_consent
from airflow_consent_retl.extraction.files import SnapshotWriter
from airflow_consent_retl.filtering.files import SnapshotFilter, column_kinds
from airflow_consent_retl.storage.decision_log import SubjectKey
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.manifest import ModelSource, SnapshotManifest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from support.record_rows import VENDORS, record_tables
from support.records import FILES, tables

_AT = datetime.now(UTC)
_ARROW = {"boolean": pa.bool_(), "integer": pa.int64(), "text": pa.string(), "moment": pa.timestamp("us", "UTC")}
_CATEGORY = "C0004"


@dataclass(frozen=True)
class Reader:
    """A reader's mapping, and the values of its columns, row by row."""

    category: str
    mapping: ConsentMappingLike
    values: pa.Table
    is_unique: bool = False


def readers() -> dict[str, Reader]:
    """Return each reader, once with the first of its tables."""
    found: dict[str, Reader] = {}
    for file in FILES:
        for table in tables(file):
            signal = table.rows[0][0]
            raws = [raw for one, raw, _ in table.rows if one == signal]
            values = pa.table({signal.column: pa.array(raws, pa.string())})
            found.setdefault(table.reader, Reader(_CATEGORY, {_CATEGORY: signal}, values))
            documents = [raw for raw in raws if raw is not None and raw.startswith("{") and len(raw) > 2]
            if "Purposes" in table.reader and documents:
                unique = Reader(
                    _CATEGORY, {_CATEGORY: signal}, pa.table({signal.column: pa.array(documents)}), is_unique=True
                )
                found.setdefault(f"{table.reader}, unique", unique)
    for vendor in VENDORS:
        for one in record_tables(vendor, at=_AT):
            columns = {
                name: pa.array([row[name] for row, _ in one.rows], _ARROW.get(kind, pa.string()))
                for name, kind in one.kinds.items()
                if kind in _ARROW
            }
            if len(columns) == len(one.kinds):
                found.setdefault(one.reader, Reader(one.category, one.mapping, pa.table(columns)))
    return found


def snapshot_of(name: str, rows: int) -> Path:
    """Return the folder of a reader's snapshot."""
    reader = readers()[name]
    folder = CACHE / f"reader-{''.join(filter(str.isalnum, name))}-{rows}"
    shutil.rmtree(folder, ignore_errors=True)
    columns = [f'"{column}"' for column in reader.values.column_names]
    if reader.is_unique:
        # One more key in front, which no reader asks for.
        columns = [f"'{{\"row\": ' || i || ', ' || substr({column}, 2) AS {column}" for column in columns]
    query = (
        f"SELECT {_PAYLOAD}, {', '.join(columns)} FROM range({rows}) r(i) "
        f"JOIN (SELECT *, row_number() OVER () - 1 AS place FROM cases) ON place = i % {reader.values.num_rows}"
    )
    with duckdb.connect() as connection:
        connection.register("cases", reader.values)
        batches = connection.sql(query).to_arrow_reader(65_536)
        with SnapshotWriter(Folder.local(folder), batches.schema, primary_key="user_id") as writer:
            for batch in batches:
                writer.write(batch)
            writer.publish(model="customers", source=ModelSource(conn_id="benchmark", sql=query), read_at=_AT)
    return folder


def plan_of(name: str, snapshot: SnapshotManifest) -> ConsentPlan:
    """Return the plan of one destination that needs the reader's category."""
    reader = readers()[name]
    category: dict[str, Any] = {"id": reader.category, "name": "Advertising", "destinations": ["webhook"]}
    return plan_consent(
        parse_policy({"categories": [category]}),
        destinations=["webhook"],
        mapping=reader.mapping,
        columns=column_kinds(snapshot.columns),
        at=_AT,
    )


def run_filter(folder: Path, name: str) -> None:
    """Filter a snapshot."""
    snapshot = SnapshotManifest.from_json((folder / "manifest.json").read_bytes())
    plan = plan_of(name, snapshot)
    target = folder.with_name(f"{folder.name}-out")

    def work() -> None:
        with SnapshotFilter(Folder.local(folder), snapshot, plan, duplicates=None, at=_AT) as run:
            run.write(run.decide(), Folder.local(target), SubjectKey("benchmark" * 4))

    try:
        measure_here(work)
    finally:
        shutil.rmtree(target, ignore_errors=True)


def in_turn(rounds: int, *ways: Callable[[], Measured]) -> Iterator[tuple[float, float]]:
    """Yield the processor seconds and the wall seconds of each way, summed over rounds in which the ways take turns."""
    measured = [[way() for way in ways] for _ in range(rounds)]
    for runs in zip(*measured, strict=True):
        yield sum(run.cpu_s for run in runs), sum(run.wall_s for run in runs)


def main() -> None:
    known = readers()
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=10_000_000)
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--reader", nargs="*", choices=list(known), default=list(known))
    given = arguments.parse_args()
    CACHE.mkdir(exist_ok=True)
    rows, figures = [], {}
    for name in given.reader:
        folder = snapshot_of(name, given.rows)
        (copy_cpu, copy_wall), (cpu, wall) = in_turn(
            given.rounds,
            partial(measure, __file__, "--worker", "copy", folder),
            partial(measure, __file__, "--worker", "filter", folder, name),
        )
        shutil.rmtree(folder)
        figures[name] = {"copy_cpu_s": copy_cpu, "cpu_s": cpu, "copy_wall_s": copy_wall, "wall_s": wall}
        line = [name, f"{given.rows:,}", f"{copy_cpu:.1f}", f"{cpu:.1f}", f"{cpu / copy_cpu:.2f}"]
        rows.append([*line, f"{wall / copy_wall:.2f}"])
        print(json.dumps({name: figures[name]}), file=sys.stderr)
    show("Readers", ["reader", "rows", "copy, CPU s", "filter, CPU s", "x copy, CPU", "x copy, wall"], rows)
    write_figures(given.json, figures)


if __name__ == "__main__":
    if sys.argv[1:3] == ["--worker", "copy"]:
        run_copy(Path(sys.argv[3]))
    elif sys.argv[1:2] == ["--worker"]:
        run_filter(Path(sys.argv[3]), sys.argv[4])
    else:
        main()
