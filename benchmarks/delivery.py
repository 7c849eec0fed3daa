"""The benchmark of a load with a ledger, compared with the same webhook without one: same rows, same server, one run.

    python benchmarks/delivery.py [--rows 400000] [--latency-ms 0,5,50] [--json figures.json]

All ways send 1,000 rows per request over 8 connections. The plain webhook reads the permitted rows from their files and
passes them directly to the destination; a second figure starts from rows in memory (`webhook.py`). With the ledger, the
load publishes changes, records intents before and outcomes after each group of requests, and writes a delivered state
at the end. Its time goes from the start of the delivery to the update of the ledger's pointer. The time of the whole
load, including the comparison before it, is shown too. The server shares the two cores: at 0 ms, every microsecond that
this package uses is taken from the server.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from airflow.sdk import Connection
from measure import parser
from tabulate import tabulate
from webhook import CONNECTIONS, REPEATS, REQUEST_ROWS, counted, in_memory, ours, people, served

from airflow_consent_retl.changes.store import FileStore
from airflow_consent_retl.consent import mapping_document, parse_consent_mapping, parse_policy, plan_consent
from airflow_consent_retl.delivery.context import SyncContext
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.delivery.settings import SyncSettings
from airflow_consent_retl.delivery.steps import Step
from airflow_consent_retl.delivery.steps import log as steps_log
from airflow_consent_retl.delivery.syncing import Sync
from airflow_consent_retl.destinations.http.address import http_address
from airflow_consent_retl.destinations.webhook.destination import WebhookDestination
from airflow_consent_retl.destinations.webhook.options import WebhookOptions
from airflow_consent_retl.extraction.files import SnapshotWriter
from airflow_consent_retl.filtering.files import SnapshotFilter, column_kinds
from airflow_consent_retl.filtering.permitted import check_permitted
from airflow_consent_retl.filtering.permitted_files import FilePermittedRows, verified_files
from airflow_consent_retl.filtering.summary import destination_counts
from airflow_consent_retl.storage import OpenedPermitted
from airflow_consent_retl.storage.decision_log import SubjectKey
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.manifest import ModelSource, PermittedManifest
from airflow_consent_retl.storage.sync_folder import SyncFolder

KEY = SubjectKey("benchmark" * 4)
POLICY = parse_policy({"categories": [{"id": "C1", "name": "Everything", "destinations": ["webhook"]}]})
WAYS = ("plain webhook", "under the ledger", "the whole first load", "plain, rows in memory")
SOURCE = ModelSource(conn_id="benchmark", sql="SELECT 1")


class Clock(logging.Handler):
    """A log handler that stores the time at which each step of a delivery was last reached."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.at[str(record.msg)] = time.perf_counter()


def permitted_of(rows: pa.RecordBatch, folder: Path) -> FilePermittedRows:
    """Extract and filter the rows; all people consent."""
    model = rows.append_column("ok", pa.array([True] * len(rows), pa.bool_()))
    source, target = Folder.local(folder / "snapshot"), Folder.local(folder / "permitted")
    at = datetime.now(UTC)
    with SnapshotWriter(source, model.schema, primary_key="id") as writer:
        for start in range(0, len(model), 32_768):
            writer.write(model.slice(start, 32_768))
        snapshot, ref = writer.publish(model="people", source=SOURCE, read_at=at)
    mapping = parse_consent_mapping({"C1": "ok"})
    plan = plan_consent(POLICY, destinations=["webhook"], mapping=mapping, columns=column_kinds(snapshot.columns))
    with SnapshotFilter(source, snapshot, plan, duplicates=None, at=at) as run:
        decided = run.decide()
        groups, log = run.write(decided, target, KEY)
    manifest = PermittedManifest(
        model=snapshot.model,
        primary_key="id",
        source=SOURCE,
        workspace=folder.as_uri(),
        consent=mapping_document(mapping),
        snapshot_sha256=ref.sha256,
        snapshot_read_at=at,
        policy_source="inline",
        policy_digest=POLICY.digest,
        decided_at=at,
        columns=snapshot.columns,
        destinations=destination_counts(plan, decided.counts),
        groups=groups,
        decision_log=log,
        rows_read=decided.counts.read,
        rows_for_nobody=decided.counts.for_nobody,
    )
    opened = OpenedPermitted(target, manifest, target.publish(manifest.to_json()))
    checked = check_permitted(
        opened,
        destination="webhook",
        fields={name: name for name in rows.schema.names},
        policy_digest=POLICY.digest,
        max_age_s=3600,
        now=datetime.now(UTC),
        guards={},
    )
    return verified_files(opened, destination="webhook", fields=checked.fields)


def from_files(port: int, permitted: FilePermittedRows) -> float:
    """Return the rows per second of a load without a ledger."""
    return ours(port, permitted.batches(REQUEST_ROWS), permitted.schema(), permitted.rows)


def under_ledger(port: int, permitted: FilePermittedRows) -> tuple[float, float]:
    """Return the rows per second of the delivery, and of the whole first load."""
    connection = Connection(
        conn_id="bench", conn_type="http", host=f"http://127.0.0.1:{port}", extra='{"allow_private": true}'
    )
    clock = Clock()
    steps_log.addHandler(clock)
    steps_log.setLevel(logging.DEBUG)
    name = sync_name("people", "webhook")
    with tempfile.TemporaryDirectory() as workspace, Ledger.sqlite(Path(workspace) / "ledger.db") as ledger:
        report = LoadReport(permitted=permitted.rows)
        started = time.perf_counter()
        with ledger.acquire(name, holder="benchmark") as lease:
            context = SyncContext(
                lease=lease,
                store=FileStore(SyncFolder(Folder.local(workspace), name, epoch=lease.epoch), name),
                build=lambda: WebhookDestination(
                    http_address(connection, endpoint="/v1/people"),
                    WebhookOptions(batch_rows=REQUEST_ROWS, concurrency=CONNECTIONS),
                ),
                settings=SyncSettings(),
                log=logging.getLogger("benchmark"),
                key=lambda: KEY,
            )
            Sync(context).load(permitted, report, subject_key=KEY, make_recheck=None)
        elapsed_s = time.perf_counter() - started
    steps_log.removeHandler(clock)
    assert report.sent.accepted == permitted.rows == counted(port)
    return permitted.rows / (clock.at[Step.ADVANCED] - clock.at[Step.BEGUN]), permitted.rows / elapsed_s


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=400_000)
    options.add_argument("--latency-ms", default="0,5,50")
    chosen = options.parse_args()
    table = people(chosen.rows)

    figures: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        permitted = permitted_of(table, Path(folder))
        for latency_ms in map(float, chosen.latency_ms.split(",")):
            with served(latency_ms) as port:
                in_memory(port, table.slice(0, 10 * REQUEST_ROWS))
                # The ways run in turns, so that a busy machine slows all of them. The median counts.
                rounds = [
                    (from_files(port, permitted), *under_ledger(port, permitted), in_memory(port, table))
                    for _ in range(REPEATS)
                ]
            rates = [sorted(way)[REPEATS // 2] for way in zip(*rounds, strict=True)]
            for way, rate in zip(WAYS, rates, strict=True):
                figures.append(
                    {
                        "latency_ms": latency_ms,
                        "way": way,
                        "rows_per_s": round(rate),
                        "ratio": round(rate / rates[0], 2),
                    }
                )

    print(f"{chosen.rows:,} rows, {REQUEST_ROWS:,} per request, {CONNECTIONS} connections; ledger in SQLite")
    headers = ["latency ms", "way", "rows/s", "of the plain webhook"]
    print(tabulate([list(figure.values()) for figure in figures], headers=headers, intfmt=",", floatfmt=".2f"))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
