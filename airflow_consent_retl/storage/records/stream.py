"""Streams of records: the folder of one sync, or of one model's decisions, to which every run adds a document.

    <workspace>/records/deliveries/<sync>/
    <workspace>/records/decisions/<model>/<destinations>/

A document is written after its parts, and nothing is ever changed. All names begin with the time at which they were
written, `20261128t162206123456`, so that records can be deleted by their age.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.manifest import Document, Part, sha256_hex
from airflow_consent_retl.storage.records.documents import SubjectPart
from airflow_consent_retl.storage.records.index import RecordIndex
from airflow_consent_retl.storage.records.sorted_rows import find_rows

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.records.subjects import RecordedPerson

_READERS = 4
_STAMP = "%Y%m%dt%H%M%S%f"
_DOCUMENT = re.compile(r"\d{8}t\d{12}-[0-9a-f]{12}\.json|\d{8}\.json")

OneDocument = TypeVar("OneDocument", bound=Document)
OneDetail = TypeVar("OneDetail", bound=Document)


@dataclass(frozen=True, slots=True)
class FoundRows(Generic[OneDocument]):
    """The rows of a person in one document."""

    name: str
    document: OneDocument
    rows: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class NewestDocument(Generic[OneDocument]):
    """The newest document of a stream, and the SHA-256 of its bytes."""

    document: OneDocument
    sha256: str


class _Parts(msgspec.Struct):
    """The parts of a document, all that a look-up needs of a document in which the person does not occur."""

    key_id: str
    parts: list[msgspec.Raw]


class RecordStream(Generic[OneDocument]):
    """The records of one sync, or of one model's decisions.

    Args:
        folder: of the stream.
        kind: the class of its documents.
    """

    def __init__(self, folder: Folder, kind: type[OneDocument]) -> None:
        self.folder = folder
        self._kind = kind

    def new_name(self, at: datetime) -> str:
        """Return the beginning of the names of a new document and its parts."""
        return f"{at.astimezone(UTC):{_STAMP}}-{uuid.uuid4().hex[:12]}"

    def publish(self, name: str, document: OneDocument) -> str:
        """Write a document, which makes its parts visible, and return its SHA-256.

        Raises:
            FileExistsError: there is one of this name.
        """
        return self.folder.publish(document.to_json(), name=f"{name}.json")

    def write_details(self, name: str, details: Sequence[Document]) -> Part:
        """Write what many rows refer to, in a file of its own, and return it for the document."""
        lines = [one.model_dump_json().encode() for one in details]
        content = b"\n".join(lines)
        with self.folder.create(f"{name}-details.jsonl") as file:
            file.write(content)
        return Part(name=f"{name}-details.jsonl", sha256=sha256_hex(content), rows=len(lines), size_bytes=len(content))

    def details(self, part: Part | None, kind: type[OneDetail]) -> list[OneDetail]:
        """Return what `write_details` wrote.

        Raises:
            RefusedError: the file is gone or was changed.
        """
        if part is None:
            return []
        content = self.folder.read(part.name)
        if sha256_hex(content) != part.sha256:
            raise RefusedError(f"{self.folder.uri}/{part.name} was changed since it was written: its SHA-256 differs")
        return [kind.from_json(line) for line in content.split(b"\n") if line]

    def names(self) -> list[str]:
        """Return the names of all documents, the oldest first."""
        return sorted(name for name in self.folder.names() if _DOCUMENT.fullmatch(name))

    def read(self, name: str) -> OneDocument:
        """Return a document.

        Raises:
            RefusedError: it is gone, not signed by the deployment, or no document of this kind.
        """
        return self._kind.from_json(self.folder.read_document(name))

    def newest(self) -> NewestDocument[OneDocument] | None:
        """Return the newest document, of a stream whose documents are numbered; None without any."""
        names = self.names()
        if not names:
            return None
        return NewestDocument(self.read(names[-1]), sha256_hex(self.folder.read(names[-1])))

    def remove_parts(self, name: str) -> None:
        """Delete the files that were written for a document which was not published.

        Args:
            name: from `new_name`.
        """
        for one in self.folder.names():
            if one.startswith(f"{name}-"):
                self.folder.remove_file(one)

    def find(self, person: RecordedPerson, *, verify: bool = False) -> Iterator[FoundRows[OneDocument]]:
        """Yield the rows of a person, document by document, the oldest first. A part with such rows is verified.

        Documents without the person by the index, which is signed and verified, are not opened.

        Args:
            person: to look up.
            verify: verify every part in which the person could be, and compare each document that the index names with
                the digest there.

        Raises:
            RefusedError: a document or a part is gone or was changed.
            ConfigurationError: a document was written under a key that is not known.
        """
        with ThreadPoolExecutor(_READERS, thread_name_prefix="look up") as readers:
            candidates = RecordIndex(self).candidates(self.names(), person)
            if verify:
                self._check_digests(candidates)
            for found in readers.map(lambda name: self._find_in(name, person, verify=verify), candidates):
                if found is not None:
                    yield found

    def _check_digests(self, candidates: Mapping[str, str | None]) -> None:
        for name, digest in candidates.items():
            if digest is not None and sha256_hex(self.folder.read(name)) != digest:
                raise RefusedError(f"{self.folder.uri}/{name} is not the document that the index of the records names")

    def _find_in(self, name: str, person: RecordedPerson, *, verify: bool) -> FoundRows[OneDocument] | None:
        content = self.folder.read_document(name)
        rows: list[dict[str, Any]] = []
        parts = self._decoded(content, name)
        subjects = person.under(parts.key_id, place=f"{self.folder.uri}/{name}")
        # The whole document is decoded only if the person occurs in it: its batches may be thousands.
        for part in (SubjectPart.from_json(bytes(raw)) for raw in parts.parts):
            wanted = part.among(subjects)
            found = find_rows(self.folder, part.part, wanted) if wanted else []
            if found or (wanted and verify):
                self.folder.verify(part.part)
            rows += found
        return FoundRows(name, self._kind.from_json(content), rows) if rows else None

    def _decoded(self, content: bytes, name: str) -> _Parts:
        try:
            return msgspec.json.decode(content, type=_Parts)
        except msgspec.DecodeError:
            raise RefusedError(f"{self.folder.uri}/{name}: no document of records") from None
