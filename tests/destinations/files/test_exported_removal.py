"""How single people leave the current version of files: in every format, exactly, never to come by an old load."""

from __future__ import annotations

import csv
import io
import json
import signal
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.exports import folder, manifest, pointer, storage
from support.loading import DECIDED_AT, Lease, batches_of, deliver, load_of, rejected, take_back
from support.processes import run_program

from airflow_consent_retl.destinations.files.destination import FilesDestination
from airflow_consent_retl.destinations.files.options import FilesOptions
from airflow_consent_retl.errors import ConfigurationError, DestinationError, LeaseLostError

CANARY = "canary-5f1c@example.org"
PEOPLE = pa.table({"id": [1, 2, 3, 4], "email": ["a@example.org", None, CANARY, "=d"]})
HOUR = timedelta(hours=1)
LATER = DECIDED_AT + HOUR
FORMATS = ["parquet", "csv", "jsonl"]


def parts(uri: str) -> list[bytes]:
    version = f"{folder(uri)}/{pointer(uri)['current']}"
    return [storage(uri).cat_file(f"{version}/{file['name']}") for file in manifest(uri)["files"]]


def versions(uri: str) -> set[str]:
    return {path.removeprefix(folder(uri) + "/").partition("/")[0] for path in storage(uri).find(folder(uri))} - {
        "_current.json"
    }


def current_ids(uri: str, key: str = "id") -> list[Any]:
    rows = []
    for part in parts(uri):
        rows += pq.read_table(pa.BufferReader(part))[key].to_pylist()
    return rows


def removal_of(rows: pa.Table = PEOPLE, *, decided_at: datetime = LATER, **options: Any) -> Any:
    return load_of(rows, rows_sent=0, decided_at=decided_at, salt="removal", **options)


def ids(*values: object) -> pa.Table:
    return pa.table({"id": pa.array(values, pa.int64())})


def test_publishes_a_new_version_without_those_who_are_named_and_removes_the_old(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    old = pointer(uri)["current"]

    outcomes = take_back(FilesDestination(FilesOptions(path=uri)), ids(3, 1), removal_of())

    assert rejected(outcomes) == {}
    assert current_ids(uri) == [2, 4]
    assert versions(uri) == {pointer(uri)["current"]} != {old}
    assert (pointer(uri)["rows"], manifest(uri)["rows"]) == (2, 2)
    assert datetime.fromisoformat(manifest(uri)["decided_at"]) == LATER


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_version_is_the_one_that_a_load_without_them_would_have_made(uri: str, file_format: Any) -> None:
    rows = pa.table(
        {
            "name": ['say "hi",\r\n"you"', None, "", "=cmd()", "\n", "Zoë 🦊", '","', "x"],
            "id": range(8),
            "tags": [["a\nb", '"'], [], None, ["="], None, None, None, None],
            "score": pa.array([Decimal("1.50"), None] * 4, pa.decimal128(9, 2)),
            "tier": pa.array(["a", "b", None, "a"] * 2).dictionary_encode(),
        }
    )
    going = [1, 4, 6]
    options: dict[str, Any] = {"format": file_format, "part_rows": 3, "batch_rows": 2}
    deliver(FilesDestination(FilesOptions(path=uri, **options)), rows)

    take_back(FilesDestination(FilesOptions(path=uri, **options)), ids(*going), removal_of(rows))
    found = [(part, file["rows"]) for part, file in zip(parts(uri), manifest(uri)["files"], strict=True)]

    for number, (part, count) in enumerate(found):
        expected = rows.slice(3 * number, 3)
        expected = expected.filter(pa.array([value not in going for value in expected["id"].to_pylist()]))
        assert count == expected.num_rows
        other = uri + f"-expected-{number}"
        deliver(FilesDestination(FilesOptions(path=other, **options)), expected)
        if file_format == "parquet":
            assert pq.read_table(pa.BufferReader(part)).equals(pq.read_table(pa.BufferReader(parts(other)[0])))
        else:
            assert part == b"".join(parts(other))


KEYS = {
    "text": pa.array(["1", "01", "=1+1", 'a"b', "c\r\nd", "", "'", "e,f", "Zoë 🦊", "\\", "null"]),
    "phones": pa.array(["+31201234567", "-1", "@x", "31201234567"]),
    "large": pa.array([2**63 - 1, -(2**63), 0, 1, 10, 2**53 + 1, 2**53], pa.int64()),
    "unsigned": pa.array([2**64 - 1, 1, 11], pa.uint64()),
    "decimal": pa.array([Decimal(text) for text in ("0.10", "-1.00", "2.50", "0.00000001")], pa.decimal128(20, 8)),
    "moment": pa.array([datetime(2026, 1, day, 3, 4, 5, 678, tzinfo=UTC) for day in range(1, 6)]),
    "day": pa.array([datetime(2026, 1, day, tzinfo=UTC).date() for day in range(1, 6)]),
    "binary": pa.array([b"\x00", b"\xff", b"", b"a", b"b"]),
    "tier": pa.array(["a", "b", "A", "c"]).dictionary_encode(),
}


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("key", KEYS)
def test_finds_people_by_keys_of_every_kind(tmp_path: Path, key: str, file_format: Any) -> None:
    rows = pa.table({"note": [f'"{n},\n' for n in range(len(KEYS[key]))], "id": KEYS[key]})
    uri = f"{tmp_path.as_uri()}/lake"
    for going in range(rows.num_rows):
        time = DECIDED_AT + going * HOUR
        deliver(FilesDestination(FilesOptions(path=uri, format=file_format)), rows, load_of(rows, decided_at=time))

        take_back(
            FilesDestination(FilesOptions(path=uri, format=file_format)),
            rows.select(["id"]).slice(going, 1),
            removal_of(rows, decided_at=time + HOUR / 2),
        )

        assert notes(uri, file_format) == [note for n, note in enumerate(rows["note"].to_pylist()) if n != going]


def notes(uri: str, file_format: str) -> list[str]:
    if file_format == "parquet":
        return current_ids(uri, "note")
    content = b"".join(parts(uri)).decode()
    if file_format == "jsonl":
        return [json.loads(line)["note"] for line in content.splitlines()]
    return [row["note"] for row in csv.DictReader(io.StringIO(content, newline=""), strict=True)]


def test_keys_that_escaping_made_the_same_go_together(tmp_path: Path) -> None:
    rows = pa.table({"id": ["=1", "'=1", "=2"], "note": ["a", "b", "c"]})
    going = rows.select(["id"]).slice(1, 1)
    for escape, stayed in ((True, ["c"]), (False, ["a", "c"])):
        uri = f"{tmp_path.as_uri()}/lake-{escape}"
        deliver(FilesDestination(FilesOptions(path=uri, format="csv", escape_formulas=escape)), rows)

        take_back(
            FilesDestination(FilesOptions(path=uri, format="csv", escape_formulas=escape)), going, removal_of(rows)
        )

        assert notes(uri, "csv") == stayed


CELLS = st.text(st.sampled_from('a",\r\n=+\\é\x00 '), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    people=st.lists(
        st.tuples(CELLS, st.one_of(st.none(), CELLS), st.integers(0, 9)), max_size=12, unique_by=lambda p: p[0]
    ),
    going=st.sets(CELLS, max_size=6),
    picked=st.sets(st.integers(0, 11)),
    file_format=st.sampled_from(FORMATS),
    escape=st.booleans(),
    part_rows=st.integers(1, 5),
)
def test_what_stays_is_what_was_there_less_those_who_went(
    tmp_path_factory: pytest.TempPathFactory,
    people: list[tuple[str, str | None, int]],
    going: set[str],
    picked: set[int],
    file_format: Any,
    escape: bool,
    part_rows: int,
) -> None:
    uri = f"{tmp_path_factory.mktemp('lake').as_uri()}/lake"
    schema = pa.schema([("note", pa.string()), ("nr", pa.int64()), ("id", pa.string())])
    rows = pa.table([[p[1] for p in people], [p[2] for p in people], [p[0] for p in people]], schema=schema)
    leaving = sorted(going | {people[n][0] for n in picked if n < len(people)})
    assume(leaving)
    options: dict[str, Any] = {"format": file_format, "escape_formulas": escape, "part_rows": part_rows}
    deliver(FilesDestination(FilesOptions(path=uri, **options)), rows)

    take_back(
        FilesDestination(FilesOptions(path=uri, **options)),
        pa.table({"id": pa.array(leaving, pa.string())}),
        removal_of(rows),
    )

    staying = rows.filter(pa.array([p[0] not in leaving for p in people], pa.bool_()))
    expected_uri = f"{tmp_path_factory.mktemp('lake').as_uri()}/lake"
    deliver(FilesDestination(FilesOptions(path=expected_uri, **{**options, "part_rows": 100})), staying)
    if file_format == "parquet":
        assert current_ids(uri) == staying["id"].to_pylist()
        assert current_ids(uri, "note") == staying["note"].to_pylist()
    else:
        header, found = (b"", parts(uri))
        if file_format == "csv":
            header = b'"note","nr","id"\r\n'
            found = [part.removeprefix(header) for part in found]
        assert header + b"".join(found) == b"".join(parts(expected_uri))


def test_copies_rows_beyond_a_block_and_calls_for_the_lease_before_each(tmp_path: Path) -> None:
    uri = f"{tmp_path.as_uri()}/lake"
    rows = pa.table({"id": range(30_000), "note": ['"\n' * 40] * 30_000})
    for file_format in ("csv", "jsonl", "parquet"):
        lease = Lease()
        destination: dict[str, Any] = {"path": f"{uri}-{file_format}", "format": file_format, "batch_rows": 5_000}
        deliver(FilesDestination(FilesOptions(**destination)), rows)

        take_back(
            FilesDestination(FilesOptions(**destination)),
            ids(*range(0, 30_000, 7)),
            removal_of(rows, before_request=lease.check),
        )

        assert pointer(f"{uri}-{file_format}")["rows"] == 30_000 - len(range(0, 30_000, 7))
        # Some blocks, the version, and the pointer.
        assert lease.asked >= 4
    found = duckdb.sql(f"SELECT count(*), count(DISTINCT id) FROM read_csv('{tmp_path}/lake-csv/*/part-*.csv')")
    assert found is not None
    assert found.fetchall() == [(25_714, 25_714)]


@pytest.mark.parametrize("file_format", FORMATS)
def test_everybody_may_go(uri: str, file_format: Any) -> None:
    deliver(FilesDestination(FilesOptions(path=uri, format=file_format)), PEOPLE)

    outcomes = take_back(
        FilesDestination(FilesOptions(path=uri, format=file_format)), PEOPLE.select(["id"]), removal_of()
    )

    assert rejected(outcomes) == {}
    assert pointer(uri)["rows"] == 0


def test_nobody_is_there_before_the_first_version(uri: str) -> None:
    outcomes = take_back(FilesDestination(FilesOptions(path=uri)), ids(1, 2), removal_of())

    assert rejected(outcomes) == {}
    assert versions(uri) == set()
    assert not storage(uri).exists(f"{folder(uri)}/_current.json")


def test_somebody_who_is_not_there_leaves_the_version_as_it_is(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    before = pointer(uri)

    outcomes = take_back(FilesDestination(FilesOptions(path=uri)), ids(99, None), removal_of())

    assert rejected(outcomes) == {}
    assert pointer(uri) == {**before, "decided_at": LATER.isoformat().replace("+00:00", "Z")}
    assert versions(uri) == {before["current"]}


def test_the_same_removal_again_changes_nothing(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    take_back(FilesDestination(FilesOptions(path=uri)), ids(1), removal_of())
    before = {path: storage(uri).cat_file(path) for path in storage(uri).find(folder(uri))}

    outcomes = take_back(FilesDestination(FilesOptions(path=uri)), ids(1), removal_of())

    assert rejected(outcomes) == {}
    assert {path: storage(uri).cat_file(path) for path in storage(uri).find(folder(uri))} == before


@pytest.mark.parametrize("person", [1, 99])
def test_a_load_decided_before_a_removal_never_brings_anybody_back(uri: str, person: int) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    take_back(FilesDestination(FilesOptions(path=uri)), ids(person), removal_of())
    before = pointer(uri)

    with pytest.raises(DestinationError, match="an older decision never replaces a newer one"):
        deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)

    assert pointer(uri) == before
    assert len(versions(uri)) == 1


def test_a_removal_decided_before_the_current_version_is_refused(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE, load_of(PEOPLE, decided_at=LATER))

    with pytest.raises(DestinationError, match="an older decision never replaces a newer one"):
        take_back(FilesDestination(FilesOptions(path=uri)), ids(1), removal_of(decided_at=DECIDED_AT))

    assert current_ids(uri) == [1, 2, 3, 4]


@pytest.mark.parametrize("salt", ["a", "b", "c", "d"])
def test_a_removal_decided_with_the_current_version_takes_its_place(uri: str, salt: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE, load_of(PEOPLE, salt=salt))

    take_back(FilesDestination(FilesOptions(path=uri)), ids(1), removal_of(decided_at=DECIDED_AT))

    assert current_ids(uri) == [2, 3, 4]
    assert len(versions(uri)) == 1


def test_a_later_load_sends_whom_it_may(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    take_back(FilesDestination(FilesOptions(path=uri)), ids(1), removal_of())

    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE, load_of(PEOPLE, decided_at=LATER + HOUR))

    assert current_ids(uri) == [1, 2, 3, 4]


def test_a_version_that_a_killed_load_completed_but_did_not_publish_is_no_place_to_stay(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE.slice(1), load_of(PEOPLE.slice(1)))
    before = storage(uri).cat_file(f"{folder(uri)}/_current.json")
    deliver(
        FilesDestination(FilesOptions(path=uri, keep_versions=None)),
        PEOPLE,
        load_of(PEOPLE, decided_at=DECIDED_AT + HOUR / 2),
    )
    storage(uri).pipe_file(f"{folder(uri)}/_current.json", before)

    take_back(FilesDestination(FilesOptions(path=uri)), ids(1), removal_of())

    assert current_ids(uri) == [2, 3, 4]
    assert versions(uri) == {pointer(uri)["current"]}


def test_a_load_that_sends_replaces_everything_whoever_it_removes(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    destination = FilesDestination(FilesOptions(path=uri))
    destination.open(load_of(PEOPLE.slice(2), decided_at=LATER))

    removed = destination.remove(next(batches_of(ids(1, 3), batch_rows=10)))
    destination.send(next(batches_of(PEOPLE.slice(2), batch_rows=10)))
    destination.commit()

    assert rejected(removed) == {}
    assert current_ids(uri) == [3, 4]


def test_keeps_the_form_of_the_version_whatever_the_load_would_write_today(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri, format="csv", null_text="NULL", part_rows=3)), PEOPLE)

    take_back(FilesDestination(FilesOptions(path=uri, format="parquet")), ids(1), removal_of(PEOPLE.select(["id"])))

    assert parts(uri)[0] == f'"id","email"\r\n2,NULL\r\n3,"{CANARY}"\r\n'.encode()
    assert manifest(uri)["options"]["part_rows"] == 3
    assert [field["name"] for field in manifest(uri)["fields"]] == ["id", "email"]


@pytest.mark.parametrize("file_format", FORMATS)
def test_finds_people_by_integers_and_text_of_other_types(tmp_path: Path, file_format: Any) -> None:
    cases = [
        (pa.array([1, 2, 3], pa.int32()), pa.array([2, 2**40], pa.int64())),
        (pa.array([1, 2, 3], pa.int64()), pa.array([2], pa.uint64())),
        (pa.array(["a", "2", "c"]), pa.array(["2"], pa.large_string())),
        (pa.array(["a", "2", "c"]).dictionary_encode(), pa.array(["2"])),
        (pa.array(["a", "2", "c"]), pa.array(["2"]).dictionary_encode()),
    ]
    for number, (kept, leaving) in enumerate(cases):
        uri = f"{tmp_path.as_uri()}/lake-{number}"
        deliver(FilesDestination(FilesOptions(path=uri, format=file_format)), pa.table({"id": kept}))

        take_back(
            FilesDestination(FilesOptions(path=uri, format=file_format)),
            pa.table({"id": leaving}),
            removal_of(pa.table({"id": leaving})),
        )

        assert pointer(uri)["rows"] == 2


def test_refuses_keys_of_another_kind_than_the_version_has(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)

    with pytest.raises(DestinationError, match=r"`id` is int64 in .* but string here"):
        take_back(
            FilesDestination(FilesOptions(path=uri)), pa.table({"id": ["1"]}), removal_of(pa.table({"id": ["1"]}))
        )


def test_refuses_a_version_that_does_not_tell_who_is_in_it(uri: str) -> None:
    deliver(
        FilesDestination(FilesOptions(path=uri)),
        PEOPLE.select(["email"]),
        load_of(PEOPLE.select(["email"]), key_field=None),
    )

    with pytest.raises(DestinationError, match="has no field `id`"):
        take_back(FilesDestination(FilesOptions(path=uri)), ids(1), removal_of())


def test_refuses_to_remove_where_the_primary_key_is_not_mapped(uri: str) -> None:
    destination = FilesDestination(FilesOptions(path=uri))
    load = removal_of(PEOPLE.select(["email"]), key_field=None)
    destination.open(load)

    with pytest.raises(ConfigurationError, match="primary key of model `customers` is not mapped"):
        destination.remove(next(batches_of(ids(1), batch_rows=10)))

    destination.abort()
    # A load of all rows needs no key for the others to be gone.
    assert destination.removal_schema(load) == pa.schema([])
    assert destination.removal_schema(removal_of()) == pa.schema([("id", pa.int64())])


@pytest.mark.parametrize("broken", ["part-00000.parquet", "_manifest.json"])
def test_refuses_a_version_that_was_changed_since_it_was_published(uri: str, broken: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    storage(uri).pipe_file(f"{folder(uri)}/{pointer(uri)['current']}/{broken}", CANARY.encode())

    with pytest.raises(DestinationError, match="was changed since it was published") as raised:
        take_back(FilesDestination(FilesOptions(path=uri)), ids(1), removal_of())

    assert CANARY not in str(raised.value)


@pytest.mark.parametrize("keep", [2, None])
@pytest.mark.parametrize("leaving", [1, 99], ids=["who is there", "who is only in an older version"])
def test_no_older_version_outlasts_a_removal_whatever_is_to_be_kept(uri: str, keep: int | None, leaving: int) -> None:
    options = FilesOptions(path=uri, keep_versions=keep)
    deliver(FilesDestination(options), PEOPLE)
    deliver(FilesDestination(options), PEOPLE.slice(1), load_of(PEOPLE.slice(1), decided_at=DECIDED_AT + HOUR / 2))
    assert len(versions(uri)) == 2

    take_back(FilesDestination(options), ids(leaving), removal_of())

    assert versions(uri) == {pointer(uri)["current"]}


def test_a_load_that_sends_and_removes_deletes_older_versions_too(uri: str) -> None:
    options = FilesOptions(path=uri, keep_versions=None)
    deliver(FilesDestination(options), PEOPLE)
    destination = FilesDestination(options)
    destination.open(load_of(PEOPLE.slice(2), decided_at=LATER))
    destination.remove(next(batches_of(ids(1), batch_rows=10)))
    for batch in batches_of(PEOPLE.slice(2), batch_rows=10):
        destination.send(batch)
    destination.commit()

    assert versions(uri) == {pointer(uri)["current"]}


def test_a_removal_that_is_given_up_leaves_everything_as_it_was(uri: str) -> None:
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    before = set(storage(uri).find(folder(uri)))
    destination = FilesDestination(FilesOptions(path=uri))
    destination.open(removal_of())
    destination.remove(next(batches_of(ids(1), batch_rows=10)))

    destination.abort()

    assert set(storage(uri).find(folder(uri))) == before


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("asked", [0, 1, 2])
def test_takes_nobody_out_once_the_lease_is_lost(uri: str, file_format: Any, asked: int) -> None:
    deliver(FilesDestination(FilesOptions(path=uri, format=file_format)), PEOPLE)
    before = pointer(uri)

    with pytest.raises(LeaseLostError):
        take_back(
            FilesDestination(FilesOptions(path=uri, format=file_format)),
            ids(1),
            removal_of(before_request=Lease(lost_after=asked).check),
        )

    assert pointer(uri) == before
    take_back(FilesDestination(FilesOptions(path=uri, format=file_format)), ids(1), removal_of())
    assert pointer(uri)["rows"] == 3
    assert len(versions(uri)) == 1


@pytest.mark.parametrize("asked", range(5))
def test_publishes_nothing_once_the_lease_is_lost(uri: str, asked: int) -> None:
    options: dict[str, Any] = {"path": uri, "part_rows": 3, "batch_rows": 2}
    lease = Lease(lost_after=asked)

    with pytest.raises(LeaseLostError):
        deliver(FilesDestination(FilesOptions(**options)), PEOPLE, load_of(PEOPLE, before_request=lease.check))

    assert not storage(uri).exists(f"{folder(uri)}/_current.json")
    again = Lease()
    deliver(FilesDestination(FilesOptions(**options)), PEOPLE, load_of(PEOPLE, before_request=again.check))
    # Rows 1 and 2, row 3, row 4; the version, unless it is there already; the pointer.
    assert again.asked == (4 if asked == 4 else 5)
    assert current_ids(uri) == [1, 2, 3, 4]


_REMOVED_AND_KILLED = """
import os, signal, sys
from datetime import timedelta
import pyarrow as pa
from support.loading import DECIDED_AT, load_of, take_back
from airflow_consent_retl.destinations.files.destination import FilesDestination
from airflow_consent_retl.destinations.files.options import FilesOptions

left = int(sys.argv[2])

def before_request():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

people = pa.table({"id": [1, 2, 3, 4], "email": ["a@example.org", None, "canary-5f1c@example.org", "=d"]})
load = load_of(people, rows_sent=0, decided_at=DECIDED_AT + timedelta(hours=1), salt="removal",
               before_request=before_request)
take_back(FilesDestination(FilesOptions(path=sys.argv[1])), pa.table({"id": [1]}), load)
"""


@pytest.mark.parametrize("requests", [0, 1, 2])
def test_a_removal_that_was_killed_is_finished_by_the_next_try(tmp_path: Path, requests: int) -> None:
    uri = f"{tmp_path.as_uri()}/lake"
    deliver(FilesDestination(FilesOptions(path=uri)), PEOPLE)
    before = pointer(uri)

    killed = run_program(_REMOVED_AND_KILLED, uri, str(requests), check=False)
    between = pointer(uri)
    take_back(FilesDestination(FilesOptions(path=uri)), ids(1), removal_of())

    assert killed.returncode == -signal.SIGKILL
    assert between == before
    assert current_ids(uri) == [2, 3, 4]
    assert sorted(path.name for path in (tmp_path / "lake").iterdir()) == [pointer(uri)["current"], "_current.json"]


def test_says_where_rows_go_without_credentials() -> None:
    destination = FilesDestination(FilesOptions(path="file:///exports/lake/"))

    assert destination.can_remove
    assert destination.replaces
    assert destination.target == "file:///exports/lake"
