"""The decision log: proof of what was decided, and why, for each row that some destination may not receive.

A subject is logged as a keyed digest: with the key and an id the decision can be looked up, and without the key no one
can find out whose entry it is. A separate table of signatures holds each combination of reasons once.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.manifest import DecisionLog
from airflow_consent_retl.storage.part_writer import PartWriter
from airflow_consent_retl.storage.secret import Secret
from airflow_consent_retl.storage.subject_mac import SubjectMac

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.databases.staging import Warehouse
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import DigestMethod, Part, PermittedManifest, WarehouseDecision

DIGEST_BYTES = 16
DIGEST_METHOD: Final = "aes_cbc_mac"
_PART_ROWS = 8_388_608
_ROW_GROUP_ROWS = 131_072
_ENTRIES = pa.schema([("subject", pa.binary(DIGEST_BYTES)), ("signature", pa.int32())])


class SubjectKey:
    """The secret that pseudonymises subjects, with `SubjectMac` or with BLAKE2s in its keyed mode (RFC 7693).

    Args:
        secret: at least 32 characters.
        earlier: the secrets that it replaced, the newest first.

    Raises:
        ConfigurationError: a secret is shorter than 32 characters.
    """

    def __init__(self, secret: str, *, earlier: Sequence[str] = ()) -> None:
        own = Secret(secret)
        self._keyed = hashlib.blake2s(key=own.key, digest_size=DIGEST_BYTES)
        # With a byte after it, the key's block is hashed once, here, and not again for each id.
        self._keyed.update(b"subject:")
        # So that a look-up under another key is noticed.
        self.key_id = own.key_id
        self._mac = SubjectMac(hashlib.sha256(f"decisions:{self.salt('decisions')}".encode()).digest())
        self.earlier = tuple(map(SubjectKey, earlier))

    def of(self, key_id: str) -> SubjectKey:
        """Return this key or the earlier one under which something was written.

        Raises:
            ConfigurationError: there is none with this id.
        """
        for key in (self, *self.earlier):
            if key.key_id == key_id:
                return key
        raise ConfigurationError(
            f"the decision log was written under another digest key, {key_id}; the present one is {self.key_id}: add "
            "the old secret to `[consent_retl] digest_key_previous`, or run the filter again"
        )

    def salt(self, run: str) -> str:
        """Return, in hex, the salt for the digests of one filter run where the key itself may not be used."""
        keyed = self._keyed.copy()
        keyed.update(f"salt of a run:{run}".encode())
        return keyed.hexdigest()

    def digest_of_text(self, text: str) -> str:
        """Return, in hex, the digest of a text that is no subject, such as a part of a target."""
        keyed = self._keyed.copy()
        keyed.update(f"text:{text}".encode())
        return keyed.hexdigest()[:16]

    def digests(self, ids: pa.Array, method: DigestMethod) -> pa.Array:
        """Return a digest for each id, NULL for NULL.

        Args:
            ids: of one type.
            method: `aes_cbc_mac`, or `blake2s` for a log of an earlier release: there, an integer is digested as 8
                bytes, two's complement, little end first, and every other id as its text in UTF-8.
        """
        content: object = self._mac.digests(ids) if method == "aes_cbc_mac" else self._blake2s(ids)
        joined = pa.Array.from_buffers(_ENTRIES.field("subject").type, len(ids), [None, pa.py_buffer(content)])
        return pc.if_else(ids.is_null(), None, joined) if ids.null_count else joined

    def _blake2s(self, ids: pa.Array) -> bytes:
        digests = []
        for content in _contents(ids):
            keyed = self._keyed.copy()
            keyed.update(content or b"")
            digests.append(keyed.digest())
        return b"".join(digests)


def _contents(ids: pa.Array) -> list[bytes | None]:
    if pa.types.is_integer(ids.type) and not pa.types.is_uint64(ids.type):
        wide = ids.cast(pa.int64())
        numbers = np.from_dlpack(wide.fill_null(0) if wide.null_count else wide)
        return [content for (content,) in struct.iter_unpack("8s", numbers.astype("<i8", copy=False).tobytes())]
    texts: list[bytes | None] = (
        ids if pa.types.is_binary(ids.type) else ids.cast(pa.string()).cast(pa.binary())
    ).to_pylist()
    return texts


@dataclass(frozen=True, slots=True)
class SignatureRow:
    """One line of the table of signatures: the values of its rows, who receives them, who does not, and why."""

    subject: str
    statuses: Mapping[str, str]
    recipients: Sequence[str]
    denied: Mapping[str, Sequence[str]]
    rows: int


class DecisionLogWriter:
    """Writes the log of one filter run."""

    def __init__(self, folder: Folder, key: SubjectKey) -> None:
        self._folder = folder
        self._key = key
        self._writer: PartWriter | None = None
        self._part_rows = 0
        self._parts: list[Part] = []

    def write(self, ids: pa.Array, signatures: NDArray[np.int32]) -> None:
        """Add one entry per id."""
        if not len(ids):
            return
        if self._writer is None:
            name = f"decisions-{len(self._parts):05d}.parquet"
            self._writer = PartWriter(
                self._folder,
                name,
                _ENTRIES,
                row_group_rows=_ROW_GROUP_ROWS,
                dictionary_columns=["signature"],
                plain_columns=["subject"],
            )
        digests = self._key.digests(ids, DIGEST_METHOD)
        self._writer.write(pa.table([digests, pa.array(signatures)], schema=_ENTRIES))
        self._part_rows += len(ids)
        if self._part_rows >= _PART_ROWS:
            self._finish_part()

    def close(self, signatures: Sequence[SignatureRow]) -> DecisionLog:
        """Write the table of signatures and describe the log."""
        self._finish_part()
        table = pa.Table.from_pylist(
            [
                {
                    "signature": number,
                    "subject": row.subject,
                    "statuses": sorted(row.statuses.items()),
                    "recipients": list(row.recipients),
                    "denied": sorted(row.denied.items()),
                    "rows": row.rows,
                }
                for number, row in enumerate(signatures)
            ],
            schema=_SIGNATURES,
        )
        writer = PartWriter(self._folder, "signatures.parquet", _SIGNATURES, row_group_rows=_ROW_GROUP_ROWS)
        writer.write(table)
        return DecisionLog(
            key_id=self._key.key_id,
            digest=DIGEST_METHOD,
            parts=tuple(self._parts),
            signatures=writer.close(),
            rows=sum(part.rows for part in self._parts),
        )

    def abort(self) -> None:
        """Close an unfinished part."""
        if self._writer is not None:
            self._writer.abort()

    def _finish_part(self) -> None:
        if self._writer is not None:
            self._parts.append(self._writer.close())
            self._writer, self._part_rows = None, 0


_SIGNATURES = pa.schema(
    [
        ("signature", pa.int32()),
        ("subject", pa.string()),
        ("statuses", pa.map_(pa.string(), pa.string())),
        ("recipients", pa.list_(pa.string())),
        ("denied", pa.map_(pa.string(), pa.list_(pa.string()))),
        ("rows", pa.int64()),
    ]
)


def find_decisions(
    folder: Folder,
    manifest: PermittedManifest,
    key: SubjectKey,
    subject: str | int,
    *,
    warehouse: Warehouse | None = None,
) -> Iterator[SignatureRow]:
    """Yield what one filter run decided about a subject; nothing if every asked destination received its row.

    Args:
        folder: of the permitted set.
        manifest: its manifest.
        key: the key of the log.
        subject: an id.
        warehouse: an entered one, where the log is in a table.

    Raises:
        ConfigurationError: the log was written under an unknown key, or is in a warehouse that was not given.
    """
    log = manifest.decision_log
    key = key.of(log.key_id)
    numbers = (
        _logged(folder, manifest, key, subject)
        if manifest.staged is None
        else _staged(manifest, manifest.staged, key, subject, warehouse)
    )
    for rows in folder.read_rows([log.signatures], batch_rows=_ROW_GROUP_ROWS):
        for row in rows.to_pylist():
            if row["signature"] in numbers:
                yield SignatureRow(
                    subject=row["subject"],
                    statuses=dict(row["statuses"]),
                    recipients=row["recipients"],
                    denied=dict(row["denied"]),
                    rows=row["rows"],
                )


def run_name(snapshot_sha256: str, decided_at: datetime) -> str:
    """Return the name of a filter run, for the salt of its digests; its manifest holds both parts."""
    return f"{snapshot_sha256}:{decided_at.isoformat()}"


def _logged(folder: Folder, manifest: PermittedManifest, key: SubjectKey, subject: str | int) -> set[int]:
    types = {column.name: column.type for column in manifest.columns}
    is_number = "int" in types[manifest.primary_key] and types[manifest.primary_key] != "uint64"
    ids = pa.array([int(subject)] if is_number else [str(subject)])
    wanted = key.digests(ids, manifest.decision_log.digest)[0]
    numbers: set[int] = set()
    for entries in folder.read_rows(manifest.decision_log.parts, batch_rows=_ROW_GROUP_ROWS):
        found = entries.filter(pc.equal(entries.column("subject"), wanted))
        numbers.update(found.column("signature").to_pylist())
    return numbers


def _staged(
    manifest: PermittedManifest,
    staged: WarehouseDecision,
    key: SubjectKey,
    subject: str | int,
    warehouse: Warehouse | None,
) -> set[int]:
    if warehouse is None:
        raise ConfigurationError("the decision log is in a warehouse: pass the warehouse")
    salt = key.salt(run_name(manifest.snapshot_sha256, manifest.decided_at))
    text = str(subject)
    types = {column.name: column.type for column in manifest.columns}
    if types[manifest.primary_key].startswith("decimal") and "." in text:
        # The form in which warehouses write digests: `Dialect.person`.
        text = text.rstrip("0").rstrip(".")
    digest = hashlib.sha256(f"{salt}:{text}".encode()).hexdigest()
    table = warehouse.name_of(staged.decisions.staging_table)
    # Safe to insert: a digest consists of hex digits only.
    sql = f"SELECT signature FROM {table} WHERE subject = '{digest}'"  # noqa: S608
    with warehouse.read(sql) as rows:
        return {int(number) for batch in rows.batches for number in batch.column(0).to_pylist()}
