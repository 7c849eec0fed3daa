"""The index of a stream of records: in which documents a person occurs, for 64 documents at a time.

    <stream>/index/<time>-<random>.json, and its parts

A look-up over thousands of runs would have to open a file of each. A segment of the index is signed, and names its
documents with their digests: whoever deletes one of them is noticed. Documents that no segment names are opened one by
one, so an index that is missing, or was never finished, costs time only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa
from pydantic import AwareDatetime

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.manifest import Document, sha256_hex
from airflow_consent_retl.storage.records.documents import SubjectPart
from airflow_consent_retl.storage.records.sorted_rows import SUBJECT, SubjectRows, find_rows
from airflow_consent_retl.values.buffers import values_of

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.records.stream import RecordStream
    from airflow_consent_retl.storage.records.subjects import RecordedPerson

INDEX: Final = "index"
SEGMENT_DOCUMENTS: Final = 64
_READ_ROWS = 262_144
# Small parts: a look-up verifies all bytes of some of them.
_PART_ROWS = 65_536
_SCHEMA = pa.schema([(SUBJECT, pa.uint64()), ("document", pa.int32())])


class IndexedDocument(Document):
    """One document of a segment, `key_id`: of the key of its subjects."""

    document: str
    digest: str
    key_id: str


class IndexSegment(Document):
    """Which subjects occur in some documents. Rows: `subject`, and `document`, an index into `documents`."""

    kind: Literal["record_index"] = "record_index"
    version: Literal[1] = 1
    recorded_at: AwareDatetime
    documents: tuple[IndexedDocument, ...]
    parts: tuple[SubjectPart, ...]

    @property
    def names(self) -> frozenset[str]:
        """The names of the documents."""
        return frozenset(one.document for one in self.documents)


class RecordIndex:
    """The index of one stream.

    Args:
        stream: of the records.
    """

    def __init__(self, stream: RecordStream[Any]) -> None:
        self._stream = stream
        self._folder: Folder = stream.folder / INDEX

    def segments(self) -> list[IndexSegment]:
        """Return all segments, the oldest first.

        Raises:
            RefusedError: one is not signed by the deployment, or was changed.
        """
        names = sorted(name for name in self._folder.names() if name.endswith(".json"))
        return [IndexSegment.from_json(self._folder.read_document(name)) for name in names]

    def candidates(self, names: Sequence[str], person: RecordedPerson) -> dict[str, str | None]:
        """Return those documents in which the person may occur, in the order given, with the digest that is known.

        Args:
            names: of all documents of the stream.
            person: to look up.

        Raises:
            RefusedError: a document that a segment names is gone, or a file of the index is gone or was changed.
            ConfigurationError: a document was written under a key that is not known.
        """
        there, covered, found = set(names), set[str](), dict[str, str]()
        for segment in self.segments():
            if gone := sorted(segment.names - there):
                raise RefusedError(
                    f"{self._stream.folder.uri}/{gone[0]} does not exist any more, and the index of the records names "
                    "it. Restore it; or delete the folder `index`, and note that records are missing"
                )
            covered |= segment.names
            here = (segment.documents[number] for number in self._of_person(segment, person))
            found |= {one.document: one.digest for one in here}
        return {name: found.get(name) for name in names if name in found or name not in covered}

    def extend(self, *, documents: int = SEGMENT_DOCUMENTS) -> int:
        """Write a segment for each full group of documents after the last one that is in the index.

        Args:
            documents: so many make a group.

        Returns:
            The number of segments written.

        Raises:
            RefusedError: a document or a part is gone or was changed.
        """
        names = self._stream.names()
        last = max((name for segment in self.segments() for name in segment.names), default="")
        later = [name for name in names if name > last]
        groups = [later[start : start + documents] for start in range(0, len(later), documents)]
        full = [group for group in groups if len(group) == documents]
        for group in full:
            self._write(group)
        return len(full)

    def _of_person(self, segment: IndexSegment, person: RecordedPerson) -> Iterator[int]:
        place = self._folder.uri
        wanted = {
            subject
            for key_id in {one.key_id for one in segment.documents}
            for subject in person.under(key_id, place=place)
        }
        for part in segment.parts:
            if here := part.among(wanted):
                # A part that was changed would hide documents, also where it has no row of the person.
                self._folder.verify(part.part)
                for row in find_rows(self._folder, part.part, here):
                    yield row["document"]

    def _write(self, names: Sequence[str]) -> None:
        at, stream = datetime.now(UTC), self._stream
        name = stream.new_name(at)
        indexed: list[IndexedDocument] = []
        with SubjectRows(_SCHEMA, dictionary_columns=["document"], part_rows=_PART_ROWS) as rows:
            for number, one in enumerate(names):
                document = stream.read(one)
                indexed.append(
                    IndexedDocument(document=one, digest=sha256_hex(stream.folder.read(one)), key_id=document.key_id)
                )
                for part in document.parts:
                    stream.folder.verify(part.part)
                    for batch in stream.folder.read_rows([part.part], columns=[SUBJECT], batch_rows=_READ_ROWS):
                        subjects = values_of(batch[SUBJECT], np.uint64)
                        rows.add(subjects, np.full(len(subjects), number, np.int32))
            segment = IndexSegment(recorded_at=at, documents=tuple(indexed), parts=rows.write(self._folder, name))
        self._folder.publish(segment.to_json(), name=f"{name}.json")
