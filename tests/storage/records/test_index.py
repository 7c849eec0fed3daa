"""The index of records finds the same as a look-up that opens every document, and hides nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.decision_log import SubjectKey
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.manifest import sha256_hex
from airflow_consent_retl.storage.records.documents import DeliveryRecords, RecordedOutcome
from airflow_consent_retl.storage.records.index import RecordIndex
from airflow_consent_retl.storage.records.sorted_rows import SubjectRows
from airflow_consent_retl.storage.records.stream import RecordStream
from airflow_consent_retl.storage.records.subjects import RecordedPerson, RecordKey
from airflow_consent_retl.storage.signing import Signer

SECRET = "index" * 8
KEY = RecordKey(SubjectKey(SECRET))
AT = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMA = pa.schema([("subject", pa.uint64()), ("position", pa.int32()), ("outcome", pa.int16())])


@pytest.fixture
def stream(tmp_path: Path) -> RecordStream[DeliveryRecords]:
    signer = Signer([SECRET])
    return RecordStream(Folder.local(tmp_path / "records", lambda: signer), DeliveryRecords)


def record(stream: RecordStream[DeliveryRecords], ids: list[int]) -> str:
    """Record a delivery to these people, and return the name of its document."""
    name = stream.new_name(datetime.now(UTC))
    with SubjectRows(SCHEMA, dictionary_columns=["outcome"]) as rows:
        rows.add(
            KEY.subjects(pa.array(ids, pa.int64())), np.arange(len(ids), dtype=np.int32), np.zeros(len(ids), np.int16)
        )
        stream.publish(
            name,
            DeliveryRecords(
                key_id=KEY.key_id,
                recorded_at=AT,
                sync="people/crm",
                model="people",
                destination="crm",
                target="",
                dag="",
                delivery=1,
                epoch=1,
                purpose="load",
                began_at=AT,
                decided_at=AT,
                policy_digest="",
                changes_sha256=sha256_hex(name.encode()),
                batches=None,
                outcomes=(RecordedOutcome(event="sent", cause="", status="accepted", code=""),),
                parts=rows.write(stream.folder, name),
                rows=len(ids),
            ),
        )
    return f"{name}.json"


def found(stream: RecordStream[DeliveryRecords], one: int, *, verify: bool = False) -> list[str]:
    return [document.name for document in stream.find(RecordedPerson.of(one, [KEY]), verify=verify)]


def test_the_index_finds_what_a_look_up_without_it_finds(stream: RecordStream[DeliveryRecords]) -> None:
    names = [record(stream, list(range(number, number + 3))) for number in range(7)]
    before = {one: found(stream, one) for one in range(12)}

    assert RecordIndex(stream).extend(documents=3) == 2
    assert RecordIndex(stream).extend(documents=3) == 0
    names.append(record(stream, [4]))

    assert {one: found(stream, one) for one in range(12)} == {**before, 4: [*names[2:5], names[7]]}
    assert found(stream, 4, verify=True) == found(stream, 4)


def test_documents_without_the_person_are_not_opened(stream: RecordStream[DeliveryRecords]) -> None:
    names = [record(stream, [number]) for number in range(3)]
    RecordIndex(stream).extend(documents=3)

    assert list(RecordIndex(stream).candidates(names, RecordedPerson.of(1, [KEY]))) == [names[1]]
    assert list(RecordIndex(stream).candidates([*names, "later.json"], RecordedPerson.of(9, [KEY]))) == ["later.json"]


@pytest.mark.parametrize("verify", [False, True])
def test_a_look_up_opens_what_has_the_person_and_nothing_else(
    stream: RecordStream[DeliveryRecords], tmp_path: Path, verify: bool
) -> None:
    names = [record(stream, [number, 100]) for number in range(5)]
    RecordIndex(stream).extend(documents=5)
    for name in names:
        if name != names[1]:
            (tmp_path / "records" / name).write_bytes(b"not a document")
            for part in (tmp_path / "records").glob(f"{name.removesuffix('.json')}-*"):
                part.unlink()

    assert found(stream, 1, verify=verify) == [names[1]]
    assert found(stream, 99, verify=verify) == []
    for one in (0, 2, 100):
        with pytest.raises(RefusedError):
            found(stream, one, verify=verify)


def test_a_document_that_another_signed_one_replaced_is_noticed_by_a_full_check(
    stream: RecordStream[DeliveryRecords], tmp_path: Path
) -> None:
    names = [record(stream, [number]) for number in range(2)]
    RecordIndex(stream).extend(documents=2)
    # Written by the deployment itself, under another name, and without the person.
    stream.folder.put_document(names[1], stream.folder.read_document(names[0]))

    with pytest.raises(RefusedError, match="is not the document that the index of the records names"):
        found(stream, 1, verify=True)
    assert found(stream, 0, verify=True) == [names[0]]


def test_a_document_that_was_deleted_is_noticed_whoever_is_looked_up(
    stream: RecordStream[DeliveryRecords], tmp_path: Path
) -> None:
    names = [record(stream, [number]) for number in range(2)]
    RecordIndex(stream).extend(documents=2)
    (tmp_path / "records" / names[1]).unlink()

    for verify in (False, True):
        with pytest.raises(RefusedError, match=r"does not exist any more, and the index of the records names it"):
            found(stream, 0, verify=verify)


@pytest.mark.parametrize("ending", [".json", ".parquet"])
def test_a_changed_index_is_refused(stream: RecordStream[DeliveryRecords], tmp_path: Path, ending: str) -> None:
    for number in range(2):
        record(stream, [number])
    RecordIndex(stream).extend(documents=2)
    (file,) = (tmp_path / "records" / "index").glob(f"*{ending}")
    content = file.read_bytes()
    file.write_bytes(content.replace(b'"version": 1', b'"version":  1') if ending == ".json" else content[:-1] + b"x")

    with pytest.raises(RefusedError):
        found(stream, 0)


def test_an_index_that_was_never_finished_costs_nothing(stream: RecordStream[DeliveryRecords], tmp_path: Path) -> None:
    names = [record(stream, [number]) for number in range(2)]
    RecordIndex(stream).extend(documents=2)
    (document,) = (tmp_path / "records" / "index").glob("*.json")
    document.unlink()

    assert found(stream, 1) == [names[1]]
