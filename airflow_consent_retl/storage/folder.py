"""One folder of the workspace: immutable files on any fsspec storage, published by the manifest written last.

Only `replace` overwrites a file. On a local disk only the owner can read what it writes (folders 0700, files 0600). It
knows bytes and Parquet parts; the manifest knows what they mean.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.local_path import local_uri
from airflow_consent_retl.storage.manifest import MANIFEST_NAME, Part, sha256_hex
from airflow_consent_retl.storage.signing import SignatureState, SignedDocument, signed
from airflow_consent_retl.storage.verified_file import FileDigests, VerifiedFile, check_digests

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from airflow_consent_retl.storage.signing import Signer

_CHUNK_BYTES = 1 << 20
_AGAIN = "run the extraction and the filter again"
_RESTORE = "find out who wrote it, and restore it from a backup"


class Folder:
    """A folder of immutable files.

    Args:
        fs: the storage, with its credentials.
        path: the folder, as `fs` spells it.
        uri: the folder, as tasks and people spell it.
        signer: returns what signs the manifests here and checks their signatures; None: they are not signed.
    """

    def __init__(self, fs: AbstractFileSystem, path: str, uri: str, signer: Callable[[], Signer] | None = None) -> None:
        self.fs = fs
        self._signer = signer
        # INVARIANT: of what was verified here, no other bytes are decoded.
        self._verified: dict[str, FileDigests] = {}
        self.path = path.rstrip("/")
        self.uri = uri.rstrip("/")

    @classmethod
    def local(cls, path: str | Path, signer: Callable[[], Signer] | None = None) -> Self:
        """Return the folder at a local path, which need not exist yet."""
        return cls(LocalFileSystem(), str(Path(path).absolute()), local_uri(path), signer)

    def __truediv__(self, name: str) -> Folder:
        return Folder(self.fs, f"{self.path}/{name}", f"{self.uri}/{name}", self._signer)

    @property
    def parent(self) -> Folder:
        """The folder that this one is in."""
        return Folder(self.fs, self.path.rpartition("/")[0], self.uri.rpartition("/")[0], self._signer)

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.rpartition("/")[2]

    @property
    def is_local(self) -> bool:
        """Whether files here are ordinary files of this machine."""
        return isinstance(self.fs, LocalFileSystem)

    def file_path(self, name: str) -> str:
        """Return the path of a file here, as the storage spells it, and refuse a name that leads elsewhere."""
        if not name or "/" in name or name in {".", ".."}:
            raise RefusedError(f"a manifest names a file outside its folder: {self.uri}")
        return f"{self.path}/{name}"

    def make(self) -> None:
        """Make the folder, readable for its owner only, where the storage has real folders."""
        if self.is_local:
            _make_private(Path(self.path))

    @contextmanager
    def create(self, name: str, *, is_durable: bool = False) -> Iterator[IO[bytes]]:
        """Open a new file for writing; raise for an existing one, which is never overwritten.

        Args:
            name: of the file.
            is_durable: whether its bytes are on the disk when the block ends.
        """
        path = self.file_path(name)
        self.make()
        if self.is_local:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                if is_durable:
                    os.fsync(descriptor)
        else:
            if self.fs.exists(path):
                raise FileExistsError(f"{self.uri}/{name}")
            with self.fs.open(path, "wb") as file:
                yield file

    @contextmanager
    def publishing(self) -> Iterator[Folder]:
        """Yield this folder for writing, and remove it with its content if the block fails."""
        with ExitStack() as undo:
            undo.callback(self.remove)
            yield self
            undo.pop_all()

    def publish(self, manifest: bytes, *, name: str = MANIFEST_NAME) -> str:
        """Sign and write the manifest, which makes the folder's files visible, and return its SHA-256."""
        if self._signer is not None:
            manifest = signed(manifest, self._signer(), place=f"{self.uri}/{name}")
        # A digest reveals a part that a power failure lost; a manifest must not be lost.
        with self.create(name, is_durable=True) as file:
            file.write(manifest)
        if self.is_local:
            _fsync_folder(self.path)
        return sha256_hex(manifest)

    def replace(self, name: str, content: bytes) -> None:
        """Write a small file that may exist: readers see the old content or the new one."""
        path = self.file_path(name)
        self.make()
        if not self.is_local:
            self.fs.pipe_file(path, content)
            return
        draft = f"{name}.{uuid.uuid4().hex}"
        with self.create(draft) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(self.file_path(draft)).replace(path)
        _fsync_folder(self.path)

    def read(self, name: str) -> bytes:
        """Return a whole small file.

        Raises:
            RefusedError: there is no such file.
        """
        try:
            content: bytes = self.fs.cat_file(self.file_path(name))
        except FileNotFoundError:
            raise RefusedError(f"{self.uri}/{name} does not exist any more") from None
        return content

    def read_manifest(self, *, sha256: str, is_proof: bool = False) -> bytes:
        """Return the manifest that a reference names, without its signature.

        Args:
            sha256: of the manifest's bytes.
            is_proof: only a manifest that the deployment signed, for this very folder, will do. Otherwise the caller
                knows the digest from the ledger, and only a false signature is refused.

        Raises:
            RefusedError: the manifest is gone, its bytes have another digest, or its signature will not do.
        """
        manifest = self.read(MANIFEST_NAME)
        if sha256_hex(manifest) != sha256:
            raise RefusedError(f"{self.uri}/{MANIFEST_NAME} was changed since it was written: its SHA-256 differs")
        if is_proof:
            return self._signed_body(MANIFEST_NAME, manifest, {SignatureState.SIGNED}, _AGAIN)
        accepted = set(SignatureState) - {SignatureState.FALSE}
        return self._signed_body(MANIFEST_NAME, manifest, accepted, _AGAIN)

    def read_own_manifest(self) -> bytes:
        """Return the manifest that the deployment signed for this very folder, without its signature.

        Raises:
            RefusedError: there is none, or its signature will not do.
        """
        return self._signed_body(MANIFEST_NAME, self.read(MANIFEST_NAME), {SignatureState.SIGNED}, _AGAIN)

    def put_document(self, name: str, document: bytes) -> None:
        """Sign and write a document that `read_document` reads: readers see all of it, or the one before it."""
        if self._signer is not None:
            document = signed(document, self._signer(), place=f"{self.uri}/{name}")
        self.replace(name, document)

    def read_document(self, name: str) -> bytes:
        """Return a document that is a proof of the past, without its signature.

        It may have been signed elsewhere, since a workspace may be moved, and with a key that is not known any more.

        Raises:
            RefusedError: there is no such document, it is not signed, or its signature is false.
        """
        accepted = {SignatureState.SIGNED, SignatureState.MOVED, SignatureState.UNKNOWN_KEY}
        return self._signed_body(name, self.read(name), accepted, _RESTORE)

    @property
    def signs(self) -> bool:
        """True if documents here are signed."""
        return self._signer is not None

    def signature_state(self, name: str = MANIFEST_NAME) -> SignatureState:
        """Return whether the deployment signed the manifest here, or another document.

        Raises:
            RefusedError: there is none.
        """
        document = SignedDocument.read(self.read(name))
        if self._signer is None:
            return SignatureState.UNSIGNED
        return document.state(self._signer(), place=f"{self.uri}/{name}")

    def _signed_body(self, name: str, content: bytes, accepted: Collection[SignatureState], remedy: str) -> bytes:
        document = SignedDocument.read(content)
        if self._signer is not None:
            signer = self._signer()
            state = document.state(signer, place=f"{self.uri}/{name}")
            if state not in accepted:
                raise RefusedError(f"{self.uri}/{name} {document.doubt(state, signer)}: {remedy}")
        return document.body

    def verify(self, part: Part) -> None:
        """Read a part's bytes and compare them with the manifest; later reads of this folder check them again.

        Raises:
            RefusedError: the file is gone, shorter, longer, or differs in one bit.
        """
        try:
            with self.fs.open(self.file_path(part.name), "rb") as file:
                digests = FileDigests.of(file)
        except FileNotFoundError:
            raise RefusedError(f"{self.uri}/{part.name} does not exist any more") from None
        check_digests(part, digests.sha256, digests.size_bytes, place=f"{self.uri}/{part.name}")
        self._verified[part.name] = digests

    def open_parquet(self, part: Part) -> pq.ParquetFile:
        """Open a part for reading.

        Raises:
            RefusedError: the part is gone, or its number of rows differs from the manifest's; also from a read: the
                part was changed since `verify`.
        """
        try:
            # pre_buffer reads whole row groups ahead: several times the memory, and no gain on a local disk.
            file = pq.ParquetFile(self._source(part), pre_buffer=not self.is_local)
        except FileNotFoundError:
            raise RefusedError(f"{self.uri}/{part.name} does not exist any more") from None
        if file.metadata.num_rows != part.rows:
            raise RefusedError(
                f"{self.uri}/{part.name} holds {file.metadata.num_rows:,} rows, its manifest says {part.rows:,}"
            )
        return file

    def _source(self, part: Part) -> str | IO[bytes] | VerifiedFile:
        path, digests = self.file_path(part.name), self._verified.get(part.name)
        if digests is not None and digests.sha256 == part.sha256:
            return VerifiedFile(self.fs.open(path, "rb"), digests, f"{self.uri}/{part.name}")
        return path if self.is_local else self.fs.open(path, "rb")

    def read_rows(
        self, parts: Sequence[Part], *, columns: Sequence[str] | None = None, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of some parts in order, only the named columns, at most `batch_rows` at a time."""
        for part in parts:
            with self.open_parquet(part) as file:
                yield from file.iter_batches(
                    batch_size=batch_rows,
                    columns=None if columns is None else list(columns),
                    # A caller in a hurry reads ahead in a thread; several threads for one batch only take more memory.
                    use_threads=False,
                )

    def schema(self, parts: Sequence[Part]) -> pa.Schema:
        """Return the Arrow schema, which all the parts have in common."""
        with self.open_parquet(parts[0]) as file:
            return file.schema_arrow

    def exists(self, name: str) -> bool:
        """Return whether the file exists."""
        return bool(self.fs.exists(self.file_path(name)))

    def names(self) -> list[str]:
        """Return the names of the files and folders in it; none where it does not exist."""
        # Some storages cache listings and would not show what other processes wrote.
        self.fs.invalidate_cache()
        try:
            paths = self.fs.ls(self.path, detail=False)
        except FileNotFoundError:
            return []
        return [str(path).rstrip("/").rsplit("/", 1)[-1] for path in paths]

    def holding(self, name: str) -> list[Folder]:
        """Return the folders below this one, at any depth, that have a file of this name."""
        self.fs.invalidate_cache()
        found = [str(path) for path in self.fs.find(self.path) if str(path).rpartition("/")[2] == name]
        # Some storages return paths without their first slash.
        inner = [path.partition(f"{self.path.strip('/')}/")[2].removesuffix(f"/{name}") for path in sorted(found)]
        return [self / one for one in inner]

    def copy_files(self, folder: Folder) -> None:
        """Copy the files in it to another folder, all but the manifest."""
        for name in sorted(set(self.names()) - {MANIFEST_NAME}):
            with self.fs.open(self.file_path(name), "rb") as file, folder.create(name) as copy:
                shutil.copyfileobj(file, copy, _CHUNK_BYTES)

    def link(self, name: str, source: Folder, source_name: str) -> None:
        """Have a file of another folder of the same storage here too: the same bytes where it has links, else a copy.

        Raises:
            FileNotFoundError: there is no such file.
            FileExistsError: there is a file of this name here.
        """
        path, source_path = self.file_path(name), source.file_path(source_name)
        self.make()
        if self.is_local:
            try:
                os.link(source_path, path)
            except (FileNotFoundError, FileExistsError):
                raise
            except OSError:
                # Some file systems have no links.
                with Path(source_path).open("rb") as file, self.create(name) as copy:
                    shutil.copyfileobj(file, copy, _CHUNK_BYTES)
            return
        if self.fs.exists(path):
            raise FileExistsError(f"{self.uri}/{name}")
        self.fs.cp_file(source_path, path)

    def remove_file(self, name: str) -> None:
        """Remove a file; a missing one is no error."""
        with suppress(FileNotFoundError):
            self.fs.rm_file(self.file_path(name))

    def remove(self) -> None:
        """Remove the folder with its content; a missing folder is no error."""
        if self.fs.exists(self.path):
            self.fs.rm(self.path, recursive=True)


def _make_private(folder: Path) -> None:
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True, mode=0o700)


def _fsync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
