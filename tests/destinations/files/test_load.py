"""How versions of files are published, kept, refused and cleared away, on a local disk and in an object store."""

from __future__ import annotations

import json
import os
import resource
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.exports import folder, manifest, pointer, storage
from support.loading import DECIDED_AT, batches_of, deliver, load_of, rejected
from support.processes import run_program

from airflow_consent_retl.destinations.files.destination import FilesDestination
from airflow_consent_retl.destinations.files.operator import LoadToFilesOperator
from airflow_consent_retl.destinations.files.options import FilesOptions, Format
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError

CANARY = "canary-5f1c@example.org"
PEOPLE = pa.table({"id": [1, 2, 3], "email": ["a@example.org", None, CANARY]})
LATER = DECIDED_AT + timedelta(hours=1)


def current_rows(uri: str) -> pa.Table:
    names = [file["name"] for file in manifest(uri)["files"]]
    opened = [storage(uri).open(f"{folder(uri)}/{pointer(uri)['current']}/{name}", "rb") for name in names]
    return pa.concat_tables(pq.read_table(file) for file in opened)


def tree(uri: str) -> set[str]:
    return {str(path).removeprefix(folder(uri) + "/") for path in storage(uri).find(folder(uri))}


def test_publishes_a_version_with_its_manifest_and_points_to_it(uri: str) -> None:
    outcomes = deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)

    version = pointer(uri)["current"]
    assert rejected(outcomes) == {}
    assert tree(uri) == {"_current.json", f"{version}/_manifest.json", f"{version}/part-00000.parquet"}
    assert current_rows(uri).equals(PEOPLE)


def test_the_manifest_tells_what_the_version_holds_and_no_value_of_a_row(uri: str) -> None:
    load = load_of(PEOPLE)

    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE, load)

    found = manifest(uri)
    assert found["name"] == pointer(uri)["current"]
    assert str(found["name"]).startswith("20261123T175107250000Z-")
    assert (found["destination"], found["model"], found["rows"]) == ("lake", "customers", 3)
    assert found["load_key"] == load.key
    assert found["fields"] == [{"name": "id", "type": "int64"}, {"name": "email", "type": "string"}]
    assert CANARY not in json.dumps(found) + json.dumps(pointer(uri))


def test_files_hold_at_most_part_rows_rows_whatever_the_batches(uri: str) -> None:
    rows = pa.table({"id": range(25)})

    deliver(FilesDestination(FilesOptions(path=uri, part_rows=10, batch_rows=4)), rows)

    assert [file["rows"] for file in manifest(uri)["files"]] == [10, 10, 5]
    assert current_rows(uri).equals(rows)


def test_a_load_without_rows_publishes_an_empty_version_with_its_fields(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE.slice(0, 0))

    assert pointer(uri)["rows"] == 0
    assert current_rows(uri).schema == PEOPLE.schema


def test_the_same_load_again_gives_the_same_version_and_bytes(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    first = {path: storage(uri).cat_file(f"{folder(uri)}/{path}") for path in tree(uri)}

    outcomes = deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)

    assert rejected(outcomes) == {}
    assert {path: storage(uri).cat_file(f"{folder(uri)}/{path}") for path in tree(uri)} == first


def test_the_same_load_in_another_format_is_another_version(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    first = pointer(uri)["current"]

    deliver(FilesDestination(FilesOptions(path=uri, format="jsonl", keep_versions=None)), PEOPLE)

    assert pointer(uri)["current"] != first
    assert f"{first}/_manifest.json" in tree(uri)


def test_a_version_that_was_damaged_since_is_written_again(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    part = f"{folder(uri)}/{pointer(uri)['current']}/part-00000.parquet"
    storage(uri).pipe_file(part, b"broken")

    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)

    assert current_rows(uri).equals(PEOPLE)


def test_older_versions_are_removed_once_the_new_one_is_current(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)

    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE.slice(0, 1), load_of(PEOPLE.slice(0, 1), decided_at=LATER))

    version = pointer(uri)["current"]
    assert tree(uri) == {"_current.json", f"{version}/_manifest.json", f"{version}/part-00000.parquet"}


@pytest.mark.parametrize(("keep", "kept"), [(2, 2), (3, 3), (None, 4)])
def test_keeps_as_many_versions_as_it_is_told(uri: str, keep: int | None, kept: int) -> None:
    for hour in range(4):
        load = load_of(PEOPLE, decided_at=DECIDED_AT + timedelta(hours=hour))
        deliver(FilesDestination(FilesOptions(path=uri, keep_versions=keep)), PEOPLE, load)

    assert len({path.partition("/")[0] for path in tree(uri)} - {"_current.json"}) == kept


def test_versions_that_were_decided_too_long_ago_end_with_a_load(uri: str) -> None:
    now = datetime.now(UTC)
    for days in (9, 8, 2, 0):
        load = load_of(PEOPLE, decided_at=now - timedelta(days=days))
        deliver(FilesDestination(FilesOptions(path=uri, keep_versions=None, keep_versions_days=7)), PEOPLE, load)

    versions = {path.partition("/")[0] for path in tree(uri)} - {"_current.json"}
    assert sorted(one[:8] for one in versions) == [f"{now - timedelta(days=days):%Y%m%d}" for days in (2, 0)]


def test_an_older_decision_never_replaces_a_newer_one(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE.slice(0, 1), load_of(PEOPLE.slice(0, 1), decided_at=LATER))

    with pytest.raises(DestinationError, match="an older decision never replaces a newer one"):
        deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)

    assert current_rows(uri).num_rows == 1


@pytest.mark.parametrize("other", [{"destination": "ads"}, {"model": "orders"}])
def test_refuses_a_folder_of_another_destination_or_model(uri: str, other: dict[str, str]) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE, load_of(PEOPLE, **other))  # type: ignore[arg-type]

    with pytest.raises(DestinationError, match="choose another folder"):
        deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)


@pytest.mark.parametrize("ahead", [timedelta(hours=1), timedelta(days=400)])
@pytest.mark.parametrize("keep", [1, 2])
def test_a_decision_under_a_clock_that_was_ahead_is_replaced_and_its_version_removed_first(
    uri: str, ahead: timedelta, keep: int, caplog: pytest.LogCaptureFixture
) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE, load_of(PEOPLE, decided_at=now + ahead))
    of_the_future = pointer(uri)["current"]

    for seconds in (60, 30):
        load = load_of(PEOPLE.slice(1), decided_at=now - timedelta(seconds=seconds))
        deliver(FilesDestination(FilesOptions(path=uri, keep_versions=keep)), PEOPLE.slice(1), load)

    assert current_rows(uri).num_rows == 2
    assert not any(path.startswith(f"{of_the_future}/") for path in tree(uri))
    assert len([path for path in tree(uri) if path.endswith("_manifest.json")]) == keep
    assert "a clock was ahead" in caplog.text


def test_refuses_a_folder_whose_pointer_somebody_else_wrote(uri: str) -> None:
    storage(uri).makedirs(folder(uri), exist_ok=True)
    storage(uri).pipe_file(f"{folder(uri)}/_current.json", b'{"current": "mine"}')

    with pytest.raises(DestinationError, match="was not written by a load"):
        deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)


def test_never_removes_what_it_did_not_write(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    old = pointer(uri)["current"]
    foreign = {"notes.txt", "20261123T175107250000Z-mine/part-00000.parquet", f"{old}/notes.txt"}
    for path in foreign:
        storage(uri).makedirs(f"{folder(uri)}/{path}".rpartition("/")[0], exist_ok=True)
        storage(uri).pipe_file(f"{folder(uri)}/{path}", b"mine")

    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE, load_of(PEOPLE, decided_at=LATER))

    assert foreign < tree(uri)
    assert f"{old}/part-00000.parquet" not in tree(uri)


def test_a_load_that_is_given_up_leaves_the_version_before_and_nothing_else(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    before = tree(uri)
    destination = FilesDestination(FilesOptions(path=uri))
    destination.open(load_of(PEOPLE, decided_at=LATER))
    destination.send(next(batches_of(PEOPLE, batch_rows=10)))

    destination.abort()

    assert tree(uri) == before


_SENT_AND_KILLED = """
import os, signal, sys
from datetime import timedelta
import pyarrow as pa
from support.loading import DECIDED_AT, batches_of, load_of
from airflow_consent_retl.destinations.files.destination import FilesDestination
from airflow_consent_retl.destinations.files.options import FilesOptions

rows = pa.table({"id": [1, 2, 3]})
destination = FilesDestination(FilesOptions(path=sys.argv[1], part_rows=2))
destination.open(load_of(rows, decided_at=DECIDED_AT + timedelta(hours=1)))
destination.send(next(batches_of(rows, batch_rows=10)))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_killed_before_publishing_leaves_the_version_before_and_its_rest_is_cleared(
    tmp_path: Path,
) -> None:
    uri = f"{tmp_path.as_uri()}/lake"
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    before = pointer(uri)

    killed = run_program(_SENT_AND_KILLED, uri, check=False)

    assert killed.returncode == -signal.SIGKILL
    assert pointer(uri) == before
    assert list((tmp_path / "lake").glob(".staging-*"))
    newer = PEOPLE.slice(1)
    deliver(FilesDestination(FilesOptions(path=uri)), newer, load_of(newer, decided_at=LATER + timedelta(hours=1)))
    assert sorted(path.name for path in (tmp_path / "lake").iterdir()) == [pointer(uri)["current"], "_current.json"]


def test_what_a_killed_try_left_in_an_object_store_is_cleared_by_the_next(uri: str) -> None:
    unfinished = FilesDestination(FilesOptions(path=uri, part_rows=2))
    unfinished.open(load_of(PEOPLE))
    unfinished.send(next(batches_of(PEOPLE, batch_rows=10)))
    left = tree(uri)
    if uri.startswith("file"):
        unfinished.abort()

    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE, load_of(PEOPLE, decided_at=LATER))

    assert left
    assert not left & tree(uri)
    unfinished.abort()


def test_a_second_load_into_a_local_folder_waits_for_another_try(tmp_path: Path) -> None:
    uri = f"{tmp_path.as_uri()}/lake"
    running = FilesDestination(FilesOptions(path=uri))
    running.open(load_of(PEOPLE))
    running.send(next(batches_of(PEOPLE, batch_rows=10)))

    with pytest.raises(DestinationUnavailableError, match=r"another load .* is running"):
        deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)

    running.commit()
    assert current_rows(uri).equals(PEOPLE)


def test_a_link_that_is_named_like_a_version_is_not_followed(tmp_path: Path) -> None:
    uri = f"{tmp_path.as_uri()}/lake"
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "part-00000.parquet").write_bytes(b"mine")
    owner = str(pointer(uri)["current"]).split("-")[1]
    (tmp_path / "lake" / f"20260101T000000000000Z-{owner}-{'0' * 12}").symlink_to(outside)

    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE, load_of(PEOPLE, decided_at=LATER))

    assert (outside / "part-00000.parquet").exists()


def test_exports_are_as_readable_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        deliver(FilesDestination(FilesOptions(path=f"{tmp_path.as_uri()}/lake")), PEOPLE)
    finally:
        os.umask(before)

    files = [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o640}
    assert (tmp_path / "lake").stat().st_mode & 0o777 == 0o750


def test_a_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file")

    with pytest.raises(DestinationError, match="cannot open"):
        deliver(FilesDestination(FilesOptions(path=f"{tmp_path.as_uri()}/lake")), PEOPLE)


@pytest.mark.parametrize("file_format", ["parquet", "csv", "jsonl"])
def test_a_full_disk_is_worth_another_try_and_leaves_the_version_before(tmp_path: Path, file_format: Format) -> None:
    uri = f"{tmp_path.as_uri()}/lake"
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    before = tree(uri)
    rows = pa.table({"id": range(2_000), "email": [f"{number * 7_919}{CANARY}" for number in range(2_000)]})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(
            DestinationUnavailableError, match=r"cannot write to .*limit on the size of files \(EFBIG\)"
        ) as raised:
            deliver(FilesDestination(FilesOptions(path=uri, format=file_format)), rows, load_of(rows, decided_at=LATER))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert CANARY not in str(raised.value)
    assert tree(uri) == before


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "must not be empty"),
        ("exports/lake", "is not absolute"),
        ("file://exports/lake", "is not absolute"),
        ("file:///", "storage's root"),
        ("file:///exports/../..", "contains `..`"),
        ("memory://bucket", "storage's root"),
        ("s3://key:hunter2@bucket/", "storage's root"),
        ("nosuch://key:hunter2@bucket/lake", "no installed provider serves `nosuch://`"),
    ],
)
def test_refuses_a_path_that_is_no_folder_of_its_own(path: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as raised:
        FilesDestination(FilesOptions(path=path))

    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "xlsx"}, "format must be `parquet`, `csv` or `jsonl`"),
        ({"part_rows": 0}, "at least 1"),
        ({"batch_rows": 0}, "at least 1"),
        ({"keep_versions": 0}, "at least 1"),
        ({"keep_versions_days": 0}, "above 0"),
        ({"null_text": "a,b"}, "null_text"),
        ({"null_text": "=1"}, "null_text"),
        ({"nulls": "drop"}, "nulls"),
        ({"compression": "rar"}, "compression"),
    ],
)
def test_refuses_an_option_that_means_nothing(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FilesDestination(FilesOptions(path="file:///exports/lake", **options))  # type: ignore[arg-type]


def test_the_operator_builds_its_destination_from_its_parameters(tmp_path: Path) -> None:
    operator = LoadToFilesOperator(
        task_id="load",
        permitted={},
        destination="lake",
        fields={"id": "id"},
        path=f"{tmp_path.as_uri()}/lake",
        format="csv",
        null_text="NULL",
        batch_rows=7,
    )

    destination = operator.build_destination()

    assert destination.limits.batch_rows == 7
    deliver(destination, PEOPLE)
    [part] = (tmp_path / "lake").glob("*/part-00000.csv")
    assert part.read_text().splitlines()[2] == "2,NULL"
    assert {"permitted", "destination", "fields", "path"} <= set(operator.template_fields)
