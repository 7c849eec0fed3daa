"""Tests of the keyed digests of subjects: they are CBC-MAC, and logs of an earlier release are read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st
from support.permitting import KEY, Filtered, customers, filtered_customers

from airflow_consent_retl.storage.decision_log import SubjectKey, find_decisions
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.manifest import PermittedManifest
from airflow_consent_retl.storage.part_writer import PartWriter
from airflow_consent_retl.storage.secret import Secret
from airflow_consent_retl.storage.subject_mac import SubjectMac

_KEY = hashlib.sha256(b"a key of the tests").digest()
_INTEGER, _TEXT = (1).to_bytes(8, "little"), (2).to_bytes(8, "little")


def chained(message: bytes) -> bytes:
    """Return the last block of the library's own CBC mode, which is CBC-MAC."""
    encryptor = Cipher(algorithms.AES(_KEY), modes.CBC(bytes(16))).encryptor()
    return (encryptor.update(message + bytes(-len(message) % 16)) + encryptor.finalize())[-16:]


def digests(ids: pa.Array) -> list[bytes]:
    return [row.tobytes() for row in SubjectMac(_KEY).digests(ids)]


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text(max_size=60), max_size=30), start=st.integers(0, 10))
def test_the_digest_of_text_is_that_of_the_librarys_own_chaining(texts: list[str], start: int) -> None:
    ids = pa.array(texts, pa.string()).slice(start)

    found = digests(ids)

    encoded = [text.encode() for text in texts[start:]]
    assert found == [chained(len(text).to_bytes(8, "little") + _TEXT + text) for text in encoded]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30))
def test_the_digest_of_an_integer_is_one_block(numbers: list[int]) -> None:
    found = digests(pa.array(numbers, pa.int64()))

    assert found == [chained(number.to_bytes(8, "little", signed=True) + _INTEGER) for number in numbers]


def test_integers_of_every_width_have_the_same_digest() -> None:
    found = {digests(pa.array([7], type_))[0] for type_ in (pa.int8(), pa.uint16(), pa.int32(), pa.int64())}

    assert len(found) == 1


def test_many_ids_of_very_different_lengths_have_the_digests_of_each_alone() -> None:
    texts = ["x" * (number % 130) for number in range(40_000)]

    found = digests(pa.array(texts))

    alone = {text: digests(pa.array([text]))[0] for text in set(texts)}
    assert found == [alone[text] for text in texts]


def of_earlier_release(run: Filtered, folder: Folder) -> tuple[PermittedManifest, Folder]:
    """Return a permitted set with the log that an earlier release would have written: BLAKE2s, and no word about it."""
    log = run.manifest.decision_log
    numbers = {
        KEY.digests(pa.array([subject]), log.digest)[0].as_py(): subject
        for subject in customers().column("id").to_pylist()
    }
    entries = pa.Table.from_batches(run.folder.read_rows(log.parts, batch_rows=100))
    earlier = pa.array(
        [earlier_digest(numbers[subject]) for subject in entries.column("subject").to_pylist()], pa.binary(16)
    )
    writer = PartWriter(folder, "decisions-00000.parquet", entries.schema, row_group_rows=100)
    writer.write(entries.set_column(0, entries.schema.field(0), earlier))
    part = writer.close()
    signatures = folder.create(log.signatures.name)
    with signatures as file:
        file.write(run.folder.read(log.signatures.name))
    document: dict[str, Any] = json.loads(run.manifest.to_json())
    del document["decision_log"]["digest"]
    document["decision_log"]["parts"] = [part.model_dump(mode="json")]
    return PermittedManifest.from_json(json.dumps(document)), folder


def earlier_digest(subject: int) -> bytes:
    keyed = hashlib.blake2s(key=Secret("0123456789abcdef0123456789abcdef").key, digest_size=16)
    keyed.update(b"subject:" + subject.to_bytes(8, "little", signed=True))
    return keyed.digest()


def test_a_log_of_an_earlier_release_is_found(tmp_path: Path) -> None:
    run = filtered_customers(tmp_path)
    manifest, folder = of_earlier_release(run, Folder.local(tmp_path / "earlier"))

    (found,) = find_decisions(folder, manifest, KEY, 4)

    assert found == next(find_decisions(run.folder, run.manifest, KEY, 4))
    assert manifest.decision_log.digest == "blake2s"


def test_text_has_the_digest_of_an_earlier_release_too() -> None:
    key = SubjectKey("k" * 40)
    keyed = hashlib.blake2s(b"subject:someone", key=Secret("k" * 40).key, digest_size=16)

    found = key.digests(pa.array(["someone", None]), "blake2s")

    assert found.to_pylist() == [keyed.digest(), None]
