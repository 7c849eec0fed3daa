"""The benchmark of changes: compared with a bare decode; the first load and the fold compared with plain copies.

    python benchmarks/changes.py [--rows 10000000] [--ids number] [--json figures.json]

A permitted set of 8 mapped columns is compared with a delivered state of the same number of people: 1 % changed, 0.5 %
left the model, 0.5 % withdrew consent, 1 % are new; removal is by e-mail. The bare decode reads the same columns of the
same Parquet files with pyarrow and does nothing with them. Times cover the work only, without imports; peak memory
covers the whole process.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd  # noqa: F401 - pyarrow loads it at first use: imported here so that it counts for no way
import pyarrow as pa
import pyarrow.parquet as pq
from measure import CACHE, measure, measure_here, parser, show, write_figures

from airflow_consent_retl.changes.computing import compute_changes
from airflow_consent_retl.changes.fold import Folding
from airflow_consent_retl.changes.results import BatchResult
from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.filtering.permitted_files import FilePermittedRows
from airflow_consent_retl.storage.change_set import Changes
from airflow_consent_retl.storage.decision_log import DecisionLogWriter, SignatureRow, SubjectKey
from airflow_consent_retl.storage.delivered import DeliveredState
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.manifest import (
    Column,
    ModelSource,
    PermittedCounts,
    PermittedManifest,
    RecipientsGroup,
)
from airflow_consent_retl.storage.part_writer import PartWriter
from airflow_consent_retl.storage.sync_mode import SyncMode

AT = datetime(2026, 11, 23, tzinfo=UTC)
KEY = SubjectKey("benchmark" * 4)
IDS = {"number": "(hash(i) >> 1)::BIGINT", "text": "'customer-' || lpad(i::VARCHAR, 10, '0')"}
ROW_GROUP_ROWS = 32_768
DENIED_BEFORE = 0.2


class ByEmail(Destination):
    """A destination that identifies people by their e-mail."""

    can_remove = True

    @property
    def limits(self) -> Limits:
        return Limits(batch_rows=10_000)

    def open(self, load: Load) -> None:
        """Do nothing."""

    def send(self, batch: Batch) -> Outcomes:
        return Outcomes.accepted(batch.rows.num_rows)

    def removal_schema(self, load: Load) -> pa.Schema:
        return pa.schema([load.schema.field("email")])


def people(rows: int, ids: str, *, now: bool) -> str:
    """Return a query for the permitted rows, before or now."""
    new = rows // 100
    present = f"i < {rows}" if not now else f"hash(i) % 200 NOT IN (0, 1) AND i < {rows + new}"
    changed = "0" if not now else "(hash(i + 9) % 100 = 0)::INT"
    return f"""SELECT {IDS[ids]} AS user_id, 'user' || i || '@example.com' AS email,
        'First' || (hash(i + 1) % 5000) AS first_name, 'Last' || (hash(i + 2) % 50000) AS last_name,
        '+4917' || (hash(i + 3) % 100000000) AS phone,
        ['DE', 'FR', 'US', 'GB', 'ES'][1 + (hash(i + 4) % 5)::INT] AS country,
        (hash(i + 6) % 100000)::INT + {changed} AS orders,
        TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL (hash(i + 7) % 10000000) SECOND AS updated_at
        FROM range({rows + new}) r(i) WHERE {present}"""


def write_permitted(folder: Folder, rows: int, ids: str, *, now: bool) -> None:
    """Write a permitted set as a filter does: one group, and a decision log with the denied rows."""
    with duckdb.connect() as connection:
        connection.execute("SET preserve_insertion_order = true")
        reader = connection.sql(people(rows, ids, now=now)).to_arrow_reader(ROW_GROUP_ROWS)
        parts = PartWriter(
            folder,
            "group-00000-00000.parquet",
            reader.schema,
            row_group_rows=ROW_GROUP_ROWS,
            dictionary_columns=["first_name", "last_name", "country", "orders"],
        )
        permitted = 0
        for batch in reader:
            parts.write(pa.Table.from_batches([batch]))
            permitted += batch.num_rows
        part = parts.close()
        withdrawn = f"hash(i) % 200 = 1 AND i < {rows}" if now else "false"
        before = f"i BETWEEN {2 * rows} AND {2 * rows + int(rows * DENIED_BEFORE)}"
        log = DecisionLogWriter(folder, KEY)
        denied = connection.sql(f"SELECT {IDS[ids]} AS id FROM range({3 * rows}) r(i) WHERE {withdrawn} OR {before}")
        for batch in denied.to_arrow_reader(ROW_GROUP_ROWS):
            log.write(batch.column(0), np.zeros(batch.num_rows, dtype=np.int32))
        reasons = {"crm": ["C0004:denied"]}
        signature = SignatureRow(
            subject="identified", statuses={"C0004": "denied"}, recipients=[], denied=reasons, rows=0
        )
        decisions = log.close([signature])
    counts = PermittedCounts(
        required=("C0004",),
        match="all",
        ground="consent",
        read=permitted + decisions.rows,
        permitted=permitted,
        denied=decisions.rows,
        denied_by_reason={"C0004:denied": decisions.rows},
    )
    manifest = PermittedManifest(
        model="customers",
        primary_key="user_id",
        source=ModelSource(conn_id="benchmark", sql="SELECT 1"),
        consent={},
        workspace="file:///nowhere",
        snapshot_sha256="0" * 64,
        snapshot_read_at=AT,
        policy_source="inline",
        policy_digest="sha256:benchmark",
        decided_at=AT,
        columns=tuple(Column(name=field.name, type=str(field.type)) for field in reader.schema),
        destinations={"crm": counts},
        groups=(RecipientsGroup(recipients=("crm",), parts=(part,), rows=permitted),),
        decision_log=decisions,
        rows_read=permitted + decisions.rows,
        rows_for_nobody=decisions.rows,
    )
    folder.publish(manifest.to_json())


def open_permitted(folder: Folder) -> FilePermittedRows:
    content = folder.read("manifest.json")
    manifest = PermittedManifest.from_json(content)
    columns = [column.name for column in manifest.columns]
    return FilePermittedRows(
        folder, manifest, "0" * 64, "crm", {column: column for column in columns}, manifest.groups[0].parts, {}
    )


def changes_between(permitted: FilePermittedRows, state: DeliveredState | None, folder: Folder) -> Changes:
    load = Load(
        key="0" * 64,
        destination="crm",
        model="customers",
        schema=permitted.schema(),
        key_field="user_id",
        rows=permitted.rows,
        decided_at=AT,
    )
    return compute_changes(
        permitted,
        state,
        folder,
        sync="customers/crm",
        mode=SyncMode.MIRROR,
        load=load,
        destination=ByEmail(),
        subject_key=KEY,
    )


def fold_accepted(state: DeliveredState | None, changes: Changes, folder: Folder) -> DeliveredState:
    def results(rows: int) -> Iterator[BatchResult]:
        for start in range(0, rows, 1_000):
            yield BatchResult(start, Outcomes.accepted(min(1_000, rows - start)), None, AT)

    manifest = changes.manifest
    with Folding(state, changes) as folding:
        return folding.finish(results(manifest.upsert_rows), results(manifest.removal_rows), folder)


def opened(folder: Path, kind: str) -> tuple[Folder, str]:
    return Folder.local(folder / kind), (folder / f"{kind}.sha256").read_text()


def prepared(rows: int, ids: str) -> Path:
    """Return a folder with both permitted sets and the state between them. It is created only once."""
    folder = CACHE / f"changes-{ids}-{rows}"
    if not (folder / "delivered.sha256").exists():
        shutil.rmtree(folder, ignore_errors=True)
        # In a separate process: a process that is started later would inherit this one's peak memory.
        subprocess.run([sys.executable, __file__, "--prepare", str(folder), str(rows), ids], check=True)
    return folder


def prepare(folder: Path, rows: int, ids: str) -> None:
    write_permitted(Folder.local(folder / "before"), rows, ids, now=False)
    write_permitted(Folder.local(folder / "now"), rows, ids, now=True)
    first = changes_between(open_permitted(Folder.local(folder / "before")), None, Folder.local(folder / "first"))
    (folder / "first.sha256").write_text(first.sha256)
    state = fold_accepted(None, first, Folder.local(folder / "delivered"))
    (folder / "delivered.sha256").write_text(state.sha256)


def decode(*folders: Path) -> int:
    """Read all columns of all Parquet files, as fast as pyarrow can."""
    rows = 0
    for folder in folders:
        for path in sorted(folder.glob("[dg]*-[0-9]*.parquet")):
            if path.name.startswith("decisions"):
                continue
            with pq.ParquetFile(path, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_size=65_536):
                    rows += batch.num_rows
    return rows


def copy(folder: Path, target: Path) -> None:
    for path in sorted(folder.glob("[dg]*-[0-9]*.parquet")):
        if path.name.startswith("decisions"):
            continue
        with (
            pq.ParquetFile(path, pre_buffer=False) as file,
            pq.ParquetWriter(target / path.name, file.schema_arrow) as writer,
        ):
            for batch in file.iter_batches(batch_size=65_536):
                writer.write_batch(batch)


def work_as(way: str, folder: Path) -> None:
    """Do and measure one way, in a process that `measure` started."""
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        target = Folder.local(f"{scratch}/out")
        state_folder, state_sha256 = opened(folder, "delivered")
        first_folder, first_sha256 = opened(folder, "first")
        works: dict[str, Callable[[], object]] = {
            "decode": lambda: decode(folder / "now", folder / "delivered"),
            "changes": lambda: changes_between(
                open_permitted(Folder.local(folder / "now")), DeliveredState(state_folder, sha256=state_sha256), target
            ),
            "copy of the rows": lambda: copy(folder / "before", Path(scratch)),
            "first load": lambda: changes_between(open_permitted(Folder.local(folder / "before")), None, target),
            "copy of the state": lambda: copy(folder / "delivered", Path(scratch)),
            "first fold": lambda: fold_accepted(None, Changes(first_folder, sha256=first_sha256), target),
        }
        if way == "fold":
            state = DeliveredState(state_folder, sha256=state_sha256)
            found = changes_between(
                open_permitted(Folder.local(folder / "now")), state, Folder.local(f"{scratch}/changes")
            )
            works["fold"] = lambda: fold_accepted(state, found, target)
        measure_here(works[way])


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=10_000_000)
    arguments.add_argument("--ids", nargs="*", choices=list(IDS), default=list(IDS))
    arguments.add_argument("--repeat", type=int, default=1, help="number of runs of each way; the fastest one counts")
    given = arguments.parse_args()
    CACHE.mkdir(exist_ok=True)
    lines, figures = [], {}
    for ids in given.ids:
        folder = prepared(given.rows, ids)
        for bare, ways in (
            ("decode", ["changes"]),
            ("copy of the rows", ["first load"]),
            ("copy of the state", ["first fold", "fold"]),
        ):
            taken = {
                way: min(
                    (measure(__file__, "--worker", way, folder) for _ in range(given.repeat)), key=lambda m: m.wall_s
                )
                for way in [bare, *ways]
            }
            for way, m in taken.items():
                ratio = m.wall_s / taken[bare].wall_s
                figures[f"{ids}: {way}"] = {"wall_s": m.wall_s, "cpu_s": m.cpu_s, "x": ratio, "peak_mib": m.peak_mib}
                lines.append([ids, way, f"{m.wall_s:.1f}", f"{m.cpu_s:.1f}", f"{ratio:.2f}", str(m.peak_mib)])
    headers = ["ids", f"way, {given.rows:,} people", "seconds", "processor s", "x bare", "peak MiB"]
    show("Changes", headers, lines)
    write_figures(given.json, figures)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--prepare"]:
        prepare(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    elif sys.argv[1:2] == ["--worker"]:
        work_as(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
