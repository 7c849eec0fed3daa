"""The benchmark of the records of people: their cost in a filter and in a load, their size, and a look-up.

    python benchmarks/person_records.py [--rows 10000000] [--runs 1000] [--only filter load look-up] [--json f.json]

Filter and load are the second run of a model of which 1 % changes. One destination accepts every row at once, so the
share of the records in such a load is the most that it can be; the other one is a table in SQLite. The look-up reads
the decisions and deliveries of all runs, without and with the index that `prune` keeps; and so does `evidence`, which
also verifies them and writes the bundle.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
from delivery import Clock, permitted_of
from filter import plan_of, snapshot_of
from measure import CACHE, measure, measure_here, parser, show, write_figures

from airflow_consent_retl.changes.store import FileStore
from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.delivery.context import SyncContext
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.delivery.settings import SyncSettings
from airflow_consent_retl.delivery.steps import Step
from airflow_consent_retl.delivery.steps import log as steps_log
from airflow_consent_retl.delivery.syncing import Sync
from airflow_consent_retl.filtering.decision_files import SortedPeople
from airflow_consent_retl.filtering.decision_records import DecidedRun, DecisionRecorder
from airflow_consent_retl.filtering.files import SnapshotFilter
from airflow_consent_retl.reports.recorded_decisions import recorded_decisions
from airflow_consent_retl.reports.recorded_deliveries import recorded_deliveries
from airflow_consent_retl.storage.decision_log import SubjectKey
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.manifest import SnapshotManifest
from airflow_consent_retl.storage.records.all_streams import extend_indexes
from airflow_consent_retl.storage.records.documents import (
    DecisionClass,
    DecisionRecords,
    DeliveryRecords,
    DestinationDecision,
    RecordedBatch,
    RecordedOutcome,
)
from airflow_consent_retl.storage.records.sorted_rows import SubjectRows
from airflow_consent_retl.storage.records.stream import RecordStream
from airflow_consent_retl.storage.records.subjects import DECIDED_MASK, RecordedPerson, RecordKey
from airflow_consent_retl.storage.signing import Signer
from airflow_consent_retl.storage.sync_folder import SyncFolder

SECRET = "benchmark" * 4
KEY = SubjectKey(SECRET)
RECORDS = RecordKey(KEY)
AT = datetime(2026, 1, 1, tzinfo=UTC)
LOG = logging.getLogger("benchmark")
CHANGED = 100
BATCH_ROWS = 1_000


def decided_run(rows: int, destinations: tuple[str, ...]) -> DecidedRun:
    return DecidedRun(
        model="customers",
        destinations=destinations,
        decided_at=AT,
        data_time=AT,
        policy_digest="sha256:0",
        policy_source="inline",
        snapshot_sha256="0" * 64,
        rows_read=rows,
    )


def run_filter(rows: int, records: Path, way: str) -> None:
    """Filter once: `plain`, or with records; in the run `second`, every hundredth person has another decision."""
    folder = snapshot_of("boolean", 4, rows)
    snapshot = SnapshotManifest.from_json((folder / "manifest.json").read_bytes())
    plan = plan_of(snapshot, "boolean", 4, 5)
    stream = RecordStream(Folder.local(records), DecisionRecords)
    with tempfile.TemporaryDirectory(dir=CACHE) as target:

        def work() -> None:
            with SnapshotFilter(Folder.local(folder), snapshot, plan, duplicates=None, at=datetime.now(UTC)) as run:
                decided = run.decide()
                if way == "plain":
                    run.write(decided, Folder.local(f"{target}/out"), KEY)
                    return
                recorder = DecisionRecorder(stream, RECORDS, decided, LOG, Folder.local)
                with SortedPeople(recorder) as people:

                    def add(ids: pa.Array, numbers: np.ndarray) -> None:
                        if way == "second":
                            numbers = np.where(np.asarray(ids) % CHANGED == 0, (numbers + 1) % 2, numbers)
                        people.add(ids, numbers)

                    run.write(decided, Folder.local(f"{target}/out"), KEY, record=add)
                    recorder.publish(decided_run(rows, plan.destinations), people)

        measure_here(work)


def filter_figures(rows: int, pairs: int) -> dict[str, object]:
    records = CACHE / "records"
    shutil.rmtree(records, ignore_errors=True)
    first = measure(__file__, "filter", rows, records, "first")
    # In each pair, one person of a hundred has another decision than in the pair before.
    found = [
        (measure(__file__, "filter", rows, records, "plain"), measure(__file__, "filter", rows, records, way))
        for way, _ in zip(cycle(("second", "first")), range(pairs), strict=False)
    ]
    stream = RecordStream(Folder.local(records), DecisionRecords)
    last = stream.read(stream.names()[-1])
    slower = [recorded.cpu_s / plain.cpu_s - 1 for plain, recorded in found]
    return {
        "first_cpu_s": first.cpu_s,
        "plain_cpu_s": [plain.cpu_s for plain, _ in found],
        "recorded_cpu_s": [recorded.cpu_s for _, recorded in found],
        "slower": median(slower),
        "slower_by_pair": slower,
        "peak_mib": [max(one.peak_mib for one in some) for some in zip(*found, strict=True)],
        "changes": last.rows,
        "bytes_per_change": sum(part.part.size_bytes for part in last.parts) / last.rows,
        "state_bytes_per_person": 0 if last.state is None else last.state.size_bytes / last.people,
    }


class Accepting(Destination):
    """Accepts every row at once."""

    can_remove = True

    @property
    def limits(self) -> Limits:
        return Limits(batch_rows=BATCH_ROWS)

    def open(self, load: Load) -> None:
        """Connect to nothing."""

    def send(self, batch: Batch) -> Outcomes:
        return Outcomes.accepted(batch.rows.num_rows)

    def remove(self, batch: Batch) -> Outcomes:
        return Outcomes.accepted(batch.rows.num_rows)


class CpuClock(Clock):
    """Stores the processor time at each step."""

    def emit(self, record: logging.LogRecord) -> None:
        self.at[str(record.msg)] = time.process_time()


def table_in(folder: Path) -> Destination:
    """Return a table in a SQLite file, the fastest of the databases to write to."""
    os.environ["AIRFLOW_CONN_CRM"] = json.dumps({"conn_type": "sqlite", "host": str(folder / "crm.db")})
    from airflow_consent_retl.operators import LoadToSqlTableOperator

    load = LoadToSqlTableOperator(
        task_id="load", permitted={}, destination="crm", conn_id="crm", table="people", fields={"id": "id"}
    )
    return load.build_destination()


def loaded(
    rows: int, folder: Path, *, changed: bool, build: Callable[[], Destination] = Accepting
) -> tuple[float, float]:
    """Load, and return the seconds of processor time of the load and of its records."""
    ids = np.arange(rows)
    value = ids + (changed & (ids % CHANGED == 0))
    people = pa.record_batch({"id": ids, "email": pa.array(value).cast(pa.string())})
    permitted = permitted_of(people, folder / str(changed))
    clock = CpuClock()
    steps_log.addHandler(clock)
    steps_log.setLevel(logging.DEBUG)
    name = sync_name("people", "webhook")
    with Ledger.sqlite(folder / "ledger.db") as ledger, ledger.acquire(name, holder="benchmark") as lease:
        started = time.process_time()
        store = FileStore(SyncFolder(Folder.local(folder / "workspace"), name, epoch=lease.epoch), name)
        context = SyncContext(lease=lease, store=store, build=build, settings=SyncSettings(), log=LOG, key=lambda: KEY)
        report = LoadReport(permitted=permitted.rows)
        Sync(context).load(permitted, report, subject_key=KEY, make_recheck=None)
        took = time.process_time() - started
    steps_log.removeHandler(clock)
    return took, clock.at[Step.RECORDED] - clock.at[Step.FOLDED]


def load_figures(rows: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory(dir=CACHE) as target:
        folder = Path(target)
        first, second = (loaded(rows, folder, changed=changed) for changed in (False, True))
        stream = RecordStream(
            SyncFolder(Folder.local(folder / "workspace"), sync_name("people", "webhook")).records, DeliveryRecords
        )
        documents = [stream.read(name) for name in stream.names()]
        sizes = [sum(part.part.size_bytes for part in one.parts) / one.rows for one in documents]
    with tempfile.TemporaryDirectory(dir=CACHE) as target:
        folder = Path(target)
        into_table = [
            loaded(rows, folder, changed=changed, build=lambda: table_in(folder)) for changed in (False, True)
        ]
    return {
        "first_load_cpu_s": first[0],
        "first_records_cpu_s": first[1],
        "second_load_cpu_s": second[0],
        "second_records_cpu_s": second[1],
        "slower": second[1] / (second[0] - second[1]),
        "first_slower": first[1] / (first[0] - first[1]),
        "table_load_cpu_s": [load for load, _ in into_table],
        "table_slower": [records / (load - records) for load, records in into_table],
        "changes": [one.rows for one in documents],
        "bytes_per_change": sizes,
    }


def written_runs(root: Path, rows: int, runs: int) -> int:
    """Write the records of many runs: the first about everyone, each other one about 1 %. Return the bytes."""
    signer = Signer([SECRET])
    workspace = Folder.local(root, lambda: signer)
    decisions = RecordStream(workspace / "records" / "decisions" / "customers" / "0", DecisionRecords)
    deliveries = RecordStream(workspace / "records" / "deliveries" / "customers", DeliveryRecords)
    answers = [
        DecisionClass(destinations={"ads": DestinationDecision(permitted=number == 0, reasons=(), withheld=())})
        for number in range(2)
    ]
    outcome = RecordedOutcome(event="updated", cause="", status="accepted", code="")
    random = np.random.default_rng(14)
    of_decisions = pa.schema([("subject", pa.uint64()), ("decision", pa.int16()), ("before", pa.int16())])
    of_deliveries = pa.schema([("subject", pa.uint64()), ("position", pa.int32()), ("outcome", pa.int16())])
    for run in range(runs):
        at = AT + timedelta(hours=run)
        ids = np.arange(rows) if run == 0 else np.unique(random.integers(1, rows, rows // CHANGED))
        if run % 100 == 1:
            ids = np.append(ids, 0)
        subjects = RECORDS.subjects(pa.array(ids))
        name = decisions.new_name(at)
        with SubjectRows(of_decisions, dictionary_columns=["decision", "before"]) as kept:
            decision, before = (np.full(len(ids), number, np.int16) for number in (run % 2, -1))
            kept.add(subjects & DECIDED_MASK, decision, before)
            document = DecisionRecords(
                **asdict(decided_run(rows, ("ads",))),
                key_id=KEY.key_id,
                recorded_at=at,
                number=run + 1,
                previous_sha256=None,
                classes=decisions.write_details(name, answers),
                parts=kept.write(decisions.folder, name),
                rows=len(ids),
                state=None,
                people=rows,
            )
            decisions.publish(f"{run + 1:08d}", document)
        name = deliveries.new_name(at)
        batches = [
            RecordedBatch(
                kind="send",
                number=start // BATCH_ROWS,
                start=start,
                rows=min(BATCH_ROWS, len(ids) - start),
                key=f"{run:032x}{start:032x}",
                asked_at=at,
                ended_at=at,
                requests=((0, f"request-{run}-{start}"),),
            )
            for start in range(0, len(ids), BATCH_ROWS)
        ]
        with SubjectRows(of_deliveries, dictionary_columns=["outcome"]) as kept:
            kept.add(subjects, np.arange(len(ids), dtype=np.int32), np.zeros(len(ids), np.int16))
            deliveries.publish(
                name,
                DeliveryRecords(
                    key_id=KEY.key_id,
                    recorded_at=at,
                    sync="customers/ads",
                    model="customers",
                    destination="ads",
                    target="",
                    dag="",
                    delivery=run + 1,
                    epoch=run + 1,
                    purpose="load",
                    began_at=at,
                    decided_at=at,
                    policy_digest="sha256:0",
                    changes_sha256=f"{run:064x}",
                    batches=deliveries.write_details(name, batches),
                    outcomes=(outcome,),
                    parts=kept.write(deliveries.folder, name),
                    rows=len(ids),
                ),
            )
    return sum(file.stat().st_size for file in root.rglob("*") if file.is_file())


def look_up_figures(rows: int, runs: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory(dir=CACHE) as target:
        root = Path(target)
        size_bytes = written_runs(root, rows, runs)
        signer = Signer([SECRET])
        workspace = Folder.local(root, lambda: signer)
        without = look_ups(workspace, rows)
        evidence_without = evidences(root, rows)
        started = time.perf_counter()
        segments = extend_indexes(workspace)
        index_s = time.perf_counter() - started
        with_index = look_ups(workspace, rows)
        evidence_with = evidences(root, rows)
        index_bytes = sum(file.stat().st_size for file in root.rglob("index/*"))
    return {
        "without_index": without,
        "with_index": with_index,
        "evidence_without_index": evidence_without,
        "evidence_with_index": evidence_with,
        "segments": segments,
        "index_s": index_s,
        "size_bytes": size_bytes,
        "index_bytes": index_bytes,
        "runs": runs,
    }


def looked_up(rows: int) -> dict[str, int]:
    """Return the ids of three people."""
    return {"a person with events": 0, "a person of 1 %": 4711, "a stranger": rows + 1}


def look_ups(workspace: Folder, rows: int) -> dict[str, tuple[float, float, int]]:
    """Look up three people; return the seconds, the seconds of CPU, and the number of events, of each."""
    stream = RecordStream(workspace / "records" / "decisions" / "customers" / "0", DecisionRecords)
    seconds = {}
    for title, subject in looked_up(rows).items():
        person = RecordedPerson.of(subject, [RECORDS])
        started, cpu = time.perf_counter(), time.process_time()
        found = [
            *recorded_decisions(stream, person, verify=False),
            *recorded_deliveries(workspace, person, verify=False),
        ]
        seconds[title] = (time.perf_counter() - started, time.process_time() - cpu, len(found))
    return seconds


def evidences(root: Path, rows: int) -> dict[str, tuple[float, float, int]]:
    """Write the evidence about three people; return the seconds, the seconds of CPU, and the bytes, of each."""
    os.environ["AIRFLOW__CONSENT_RETL__WORKSPACE"] = root.as_uri()
    os.environ["AIRFLOW__CONSENT_RETL__DIGEST_KEY"] = SECRET
    from airflow_consent_retl.reports import evidence

    with tempfile.TemporaryDirectory(dir=CACHE) as target:
        # A process loads its libraries once.
        evidence(rows + 2, f"{target}/warm.zip")
        seconds = {}
        for title, subject in looked_up(rows).items():
            started, cpu = time.perf_counter(), time.process_time()
            bundle = evidence(subject, f"{target}/{subject}.zip")
            seconds[title] = (time.perf_counter() - started, time.process_time() - cpu, bundle.stat().st_size)
    return seconds


def main() -> None:
    if sys.argv[1:2] == ["filter"]:
        run_filter(int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
        return
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=10_000_000)
    arguments.add_argument("--runs", type=int, default=1_000)
    arguments.add_argument("--pairs", type=int, default=3, help="of a filter without and with records")
    arguments.add_argument("--only", nargs="*", default=["filter", "load", "look-up"])
    given = arguments.parse_args()
    CACHE.mkdir(exist_ok=True)
    figures: dict[str, object] = {"rows": given.rows}
    if "filter" in given.only:
        figures["filter"] = filter_figures(given.rows, given.pairs)
    if "look-up" in given.only:
        figures["look_up"] = look_up_figures(given.rows, given.runs)
    if "load" in given.only:
        figures["load"] = load_figures(given.rows)
    show("records of people", ["figure", "value"], [[name, json.dumps(value)] for name, value in figures.items()])
    write_figures(given.json, figures)


if __name__ == "__main__":
    main()
