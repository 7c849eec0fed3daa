"""Jobs: rows are pending until the vendor processed them, a killed worker's job is resumed, and a trigger waits."""

from __future__ import annotations

import asyncio
import json
import pickle
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from destinations.http.bulk_crm import IMPORT, BulkCrmSpec, LoadToBulkCrmOperator
from destinations.http.bulk_crm_server import BulkCrm
from support.permitting import CONSENT, POLICY, customers, snapshot_of, warehouse_with
from support.processes import StartedProgram
from support.syncing import SyncBench, consenting, people, verified
from support.vendor_server import Reply, VendorServer, vendor_server

from airflow_consent_retl.compat import TaskDeferred
from airflow_consent_retl.contract import Destination, DestinationError, DestinationUnavailableError, RowStatus
from airflow_consent_retl.destinations.http.client import Answer
from airflow_consent_retl.operators import ConsentFilterOperator
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.triggers.pending_requests import PendingRequestsTrigger

FIELDS = {"id": "id", "email": "email"}
FAST: dict[str, Any] = {"confirm_interval_s": 0.02, "confirm_timeout_s": 10.0}


@pytest.fixture
def crm() -> BulkCrm:
    return BulkCrm()


@pytest.fixture
def server(crm: BulkCrm, monkeypatch: pytest.MonkeyPatch) -> Iterator[VendorServer]:
    with vendor_server(crm) as found:
        crm.url = found.url
        connection = {"conn_type": "http", "host": found.url, "extra": {"allow_private": True}}
        monkeypatch.setenv("AIRFLOW_CONN_BULK", json.dumps(connection))
        yield found


def built(**options: Any) -> Destination:
    settings = {"conn_id": "bulk", "batch_rows": 4, "backoff_s": 0.01, "timeout_s": 10, **options}
    return BulkCrmSpec(**settings).build()


def test_rows_are_what_the_job_says_of_them_over_all_pages(
    tmp_path: Path, crm: BulkCrm, server: VendorServer, caplog: pytest.LogCaptureFixture
) -> None:
    bench = SyncBench(tmp_path)
    crm.refused = {1, 5, 6, 9}

    report = bench.load(
        verified(bench.filtered(consenting(10)), fields=FIELDS), built(), max_rejected_ratio=0.5, **FAST
    )

    assert (report.sent.accepted, report.sent.rejected) == (6, 4)
    assert sorted(crm.contacts) == [0, 2, 3, 4, 7, 8]
    assert sorted(len(rows) for _, rows in crm.jobs.values()) == [2, 4, 4]
    # Their codes repeat the rows' values.
    assert "bad_" not in f"{report.sent.codes}{caplog.text}"


def test_withdrawals_are_removed_by_a_job_before_anything_is_added(
    tmp_path: Path, crm: BulkCrm, server: VendorServer
) -> None:
    bench = SyncBench(tmp_path)
    bench.load(verified(bench.filtered(people({1: ("a", True), 2: ("b", True)})), fields=FIELDS), built(), **FAST)

    later = verified(bench.filtered(people({1: ("a", False), 2: ("b", True), 3: ("c", True)})), fields=FIELDS)
    report = bench.load(later, built(), **FAST)

    assert (report.removed.accepted, sorted(crm.contacts)) == (1, [2, 3])
    assert [kind for kind, _ in crm.jobs.values()] == ["imports", "removals", "imports"]
    over = next(n for n, one in enumerate(server.asked) if one.path == "/imports/job-2" and crm.left["job-2"] < 0)
    assert [one.path for one in server.asked[over:]].count("/removals") <= 1


WORKER = """
import pickle, sys
from pathlib import Path
from destinations.http.bulk_crm_server import BulkCrm
from destinations.http.bulk_crm import BulkCrmSpec
from support.syncing import SyncBench, verified
folder, run = pickle.loads(Path(sys.argv[1]).read_bytes())
bench = SyncBench(folder, ttl_s=1)
permitted = verified(run, fields={"id": "id", "email": "email"})
bench.load(permitted, BulkCrmSpec(conn_id="bulk", batch_rows=4).build(), confirm_interval_s=0.05)
"""


def test_the_job_of_a_worker_that_was_killed_is_resumed_by_its_id_and_not_submitted_again(
    tmp_path: Path, crm: BulkCrm, server: VendorServer
) -> None:
    bench = SyncBench(tmp_path, ttl_s=1, wait_s=10)
    crm.questions = 1_000_000
    run = bench.filtered(consenting(4))
    arguments = tmp_path / "arguments"
    arguments.write_bytes(pickle.dumps((tmp_path, run)))
    worker = StartedProgram(WORKER, str(arguments))
    while not server.of("/imports/job-1"):
        time.sleep(0.01)

    worker.kill()
    assert worker.ended()[0] == -9
    crm.left["job-1"] = 0
    report = bench.load(verified(run, fields=FIELDS), built(), **FAST)

    assert report.resumed
    assert report.sent.accepted == len(crm.contacts) == 4
    assert len(server.of("/imports")) == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Reply(404), "job_unknown"),
        (Reply(200, {"data": {"status": "cancelled", "failed_count": 0}}), "unreadable_answer"),
        (Reply(200, {"data": {"status": "complete"}}), "unreadable_answer"),
        (Reply(200, {"data": {"status": "complete", "failed_count": 7}}), "unreadable_answer"),
    ],
)
def test_a_job_whose_end_is_not_clear_leaves_its_rows_uncertain(
    crm: BulkCrm, server: VendorServer, fault: Reply, code: str
) -> None:
    crm.jobs["job-1"] = "imports", [{"id": 1}, {"id": 2}]
    crm.faults = [fault]
    destination = built()

    outcomes = destination.confirm("import:job-1", 2)

    assert outcomes is not None
    assert {(one.status, one.code) for one in outcomes} == {(RowStatus.UNCERTAIN, code)}
    destination.abort()


@pytest.mark.parametrize("link", ["https://evil.example/imports/job-1/errors", "//evil.example", "circle", 7])
def test_a_page_that_leads_elsewhere_is_not_asked_for(crm: BulkCrm, server: VendorServer, link: object) -> None:
    link = f"{server.url}/imports/job-1/errors" if link == "circle" else link
    crm.faults = [
        Reply(200, {"data": {"status": "complete", "failed_count": 1}}),
        Reply(200, {"errors": [{"pointer": "/contacts/0", "code": "bad_email"}], "next": link}),
        Reply(200, {"errors": [], "next": link}),
    ]
    destination = built()

    outcomes = destination.confirm("import:job-1", 2)

    assert outcomes is not None
    assert {one.code for one in outcomes} == {"unreadable_answer"}
    destination.abort()


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        ([Reply(503)] * 6, DestinationUnavailableError),
        ([Reply(200, b"<html>")], DestinationUnavailableError),
        ([Reply(403)], DestinationError),
    ],
)
def test_a_question_without_an_answer_leaves_the_rows_pending(
    crm: BulkCrm, server: VendorServer, replies: list[Reply], error: type[Exception]
) -> None:
    crm.faults = list(replies)
    destination = built()

    with pytest.raises(error):
        destination.confirm("import:job-1", 2)

    destination.abort()


def test_a_submission_without_an_id_is_uncertain_and_may_come_late() -> None:
    for body in (b"", b'{"data": {}}', b'{"data": {"id": "ada@x.example"}}', b'{"data": {"id": "a b"}}', None):
        outcomes = IMPORT.submitted(Answer(202, body, None), [{}])
        assert outcomes is not None
        (outcome,) = outcomes
        assert outcome.may_come_late
        assert outcome.status is RowStatus.UNCERTAIN
    assert IMPORT.submitted(Answer(422, b"{}", None), [{}]) is None


def fired(trigger: PendingRequestsTrigger) -> Any:
    async def run() -> list[Any]:
        return [event async for event in trigger.run()]

    (event,) = asyncio.run(run())
    return event.payload


def waiting(timeout_s: float = 10) -> PendingRequestsTrigger:
    spec = LoadToBulkCrmOperator(
        task_id="load", conn_id="bulk", permitted={}, destination="ads", fields=FIELDS
    ).destination_spec()
    path, arguments = PendingRequestsTrigger.of(
        spec, ["import:job-1", "import:job-2"], poll_interval_s=0.02, timeout_s=timeout_s
    ).serialize()
    assert path == "airflow_consent_retl.triggers.pending_requests.PendingRequestsTrigger"
    return PendingRequestsTrigger(**json.loads(json.dumps(arguments)))


def test_a_trigger_waits_for_all_jobs_without_a_worker(crm: BulkCrm, server: VendorServer) -> None:
    crm.jobs = {f"job-{number}": ("imports", [{"id": number}]) for number in (1, 2)}
    crm.left = {"job-1": 1, "job-2": 3}

    assert fired(waiting()) == {"processed": True, "refused": False, "open": 0}
    assert len(server.of("/imports/job-2")) == 4


def deferring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], LoadToBulkCrmOperator]:
    """Filter, and return what makes each try of a load."""
    warehouse_with(tmp_path, monkeypatch)
    _, ref = snapshot_of(Folder.local(tmp_path / "snapshot"), customers())
    workspace = f"file://{tmp_path}/workspace"
    permitted = ConsentFilterOperator(
        task_id="consent",
        snapshot=ref.to_xcom(),
        policy=POLICY,
        consent=CONSENT,
        destinations=["lake"],
        workspace=workspace,
    ).execute({})

    def load() -> LoadToBulkCrmOperator:
        return LoadToBulkCrmOperator(
            task_id="load",
            conn_id="bulk",
            permitted=permitted,
            destination="lake",
            fields=FIELDS,
            policy=POLICY,
            deferrable=True,
            confirm_interval_s=0.02,
        )

    return load


def test_a_load_defers_to_the_trigger_and_resumes_when_it_fires(
    tmp_path: Path, crm: BulkCrm, server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = deferring(tmp_path, monkeypatch)

    with pytest.raises(TaskDeferred) as deferred:
        load().execute({})
    trigger = deferred.value.trigger
    assert isinstance(trigger, PendingRequestsTrigger)
    assert (trigger.request_ids, deferred.value.method_name) == (["import:job-1"], "resume")

    counts = load().resume({}, fired(trigger))

    assert counts["accepted"] == len(crm.contacts) > 0
    assert len(server.of("/imports")) == 1
    with pytest.raises(DestinationUnavailableError, match="did not process all requests"):
        load().resume({}, {"processed": False, "refused": False, "open": 1})


def test_a_request_that_only_the_load_sees_unprocessed_is_waited_for_until_the_time_is_up(
    tmp_path: Path, crm: BulkCrm, server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, processed = deferring(tmp_path, monkeypatch), {"processed": True, "refused": False, "open": 0}
    with pytest.raises(TaskDeferred) as first:
        load().execute({})
    waits = dict(first.value.kwargs or {})["waits"]
    crm.left = {"job-1": 1_000_000}

    with pytest.raises(TaskDeferred) as second:
        load().resume({}, processed, waits=waits)
    over = {**waits, "until": datetime.now(UTC).isoformat()}
    with pytest.raises(DestinationUnavailableError, match="still processes 1 requests: the next try asks again"):
        load().resume({}, processed, waits=over)

    # The time is not begun anew, unless there is another request.
    assert dict(second.value.kwargs or {})["waits"] == waits
    with pytest.raises(TaskDeferred):
        load().resume({}, processed, waits={**over, "request_ids": ["import:job-0"]})


def test_a_worker_waits_itself_where_the_triggerer_cannot_import_the_destination(
    tmp_path: Path, crm: BulkCrm, server: VendorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = deferring(tmp_path, monkeypatch)
    with pytest.raises(TaskDeferred) as deferred:
        load().execute({})
    _, arguments = deferred.value.trigger.serialize()

    event = fired(PendingRequestsTrigger(**{**arguments, "spec": "unusual_prefix_of_a_dag.Spec"}))
    counts = load().resume({}, event)

    assert event == {"processed": False, "refused": True, "open": 1}
    assert counts["accepted"] == len(crm.contacts) > 0


def test_a_trigger_ends_at_its_deadline_or_when_questions_are_refused(crm: BulkCrm, server: VendorServer) -> None:
    crm.jobs = {f"job-{number}": ("imports", [{"id": number}]) for number in (1, 2)}
    crm.left = {"job-1": 0, "job-2": 1_000_000}

    assert fired(waiting(timeout_s=0.4)) == {"processed": False, "refused": False, "open": 1}

    crm.faults = [Reply(401)]
    assert fired(waiting())["refused"]
