"""Permitted rows as Parquet, CSV or JSON Lines files in any object storage, published as one version at a time.

Holds the destination and its operator. What a file looks like is in `_file_formats`, how a version becomes the
current one in `_file_versions`, how single people leave it in `_file_removal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators.load import LoadOperator

if TYPE_CHECKING:
    import pyarrow as pa
    from fsspec import AbstractFileSystem

    from airflow_consent_retl.contract.outcomes import Outcomes
    from airflow_consent_retl.destinations.files.formats import Compression, FileFormat
    from airflow_consent_retl.destinations.files.manifest import ExportedFile
    from airflow_consent_retl.destinations.files.part import Part
    from airflow_consent_retl.destinations.files.versions import Versions
    from airflow_consent_retl.values.json_rows import Nulls

Format = Literal["parquet", "csv", "jsonl"]

_FORMATS = ("parquet", "csv", "jsonl")
_NULLS = ("null", "omit")
_COMPRESSIONS = ("zstd", "snappy", "gzip", "lz4", "none")
_FORMULA_STARTS = ("=", "+", "-", "@")


class FilesDestination(Destination):
    """A folder that holds one complete version of a destination's permitted rows, and a pointer to it.

    Each load is a version of its own, `<path>/<version>/part-00000.<ext>` with `_manifest.json` written last. Its
    name follows from the load's key and the time of the decision, so another try makes the same version. Readers
    follow `<path>/_current.json`, which is replaced at once when the version is complete; until then they see the
    version before. A version decided earlier than the current one is refused.

    On a local disk a version is built in `<path>/.staging-<version>` and renamed, under a lock on the folder. Object
    stores rename nothing and have no locks: parts lie in the version's folder before its manifest does, so read the
    files that the manifest names, and let one task at a time load into a folder. Files are as readable as the
    process' umask says: exports are for others.

    Whoever is not among a load's rows is gone from the version that it publishes. A load that only removes publishes
    the current version once more, in the form it has, without the people who are named; the primary key has to be one
    of its fields. From then on, loads decided before the removal are refused. Older versions beside it still hold those
    people where `keep_versions` keeps any. Where CSV escapes formulas, keys that differ by the `'` in front alone are
    the same in the file: whoever has one of them goes.

    `accepted` means that the row is in a file that `commit` will publish, or the person in none.

    Args:
        path: the folder, as an `ObjectStoragePath`, with a connection id where the storage needs one
            (`s3://conn@bucket/folder`); absolute, and no storage's root.
        format: `"parquet"`, `"csv"` or `"jsonl"`.
        keep_versions: complete versions kept after publishing, the new one included; None keeps all. Older versions
            hold people who may have withdrawn since.
        part_rows: rows in one file at the most.
        batch_rows: rows in one `send` at the most; memory is bounded by it.
        compression: of Parquet.
        nulls: of JSON Lines: `"null"` writes JSON null, `"omit"` leaves the field out.
        null_text: what CSV writes for NULL, never in quotes, while text always is.
        escape_formulas: CSV puts `'` before text that a spreadsheet would take for a formula (`=`, `+`, `-`, `@`,
            tab, carriage return, line feed, and the full-width forms), in cells and names. Phone numbers with a
            `+` are such text: switch it off where no spreadsheet ever opens the file.
    """

    can_remove: ClassVar[bool] = True
    replaces: ClassVar[bool] = True

    def __init__(
        self,
        *,
        path: str,
        format: Format = "parquet",  # noqa: A002 - what everybody calls it
        keep_versions: int | None = 1,
        part_rows: int = 1_000_000,
        batch_rows: int = 65_536,
        compression: Compression = "zstd",
        nulls: Nulls = "null",
        null_text: str = "",
        escape_formulas: bool = True,
    ) -> None:
        if format not in _FORMATS:
            raise ConfigurationError(f"format is one of {', '.join(_FORMATS)}, not `{format}`")
        if nulls not in _NULLS or compression not in _COMPRESSIONS:
            raise ConfigurationError(
                f"nulls is one of {', '.join(_NULLS)}, compression one of {', '.join(_COMPRESSIONS)}, not "
                f"`{nulls}` and `{compression}`"
            )
        if part_rows < 1 or batch_rows < 1 or (keep_versions is not None and keep_versions < 1):
            raise ConfigurationError("part_rows, batch_rows and keep_versions are at least 1")
        if any(mark in null_text for mark in ',"\r\n') or (escape_formulas and null_text.startswith(_FORMULA_STARTS)):
            raise ConfigurationError("null_text holds no comma, quote or line break, and does not begin a formula")
        self._fs, self._path, self._uri = _folder_at(path)
        self._format: FileFormat = _file_format(
            format, compression=compression, nulls=nulls, null_text=null_text, escape_formulas=escape_formulas
        )
        self._limits = Limits(batch_rows=batch_rows)
        self._keep_versions = keep_versions
        self._part_rows = part_rows
        self._versions: Versions | None = None
        self._part: Part | None = None
        self._files: list[ExportedFile] = []
        # The keys of those to be taken out, until a row is sent.
        self._leaving: list[pa.Array] = []
        self._sends = False

    @property
    def limits(self) -> Limits:
        """One batch at a time: a file is written in order."""
        return self._limits

    @property
    def target(self) -> str:
        """The folder, without credentials."""
        return self._uri

    def open(self, load: Load) -> None:
        """Check the fields, take the folder, and clear away what a killed try left."""
        from airflow_consent_retl.destinations.files.storage import ExportFolder
        from airflow_consent_retl.destinations.files.versions import Versions

        self._format.check(load.schema)
        options: dict[str, str | int | bool] = {**self._format.options(), "part_rows": self._part_rows}
        self._versions = Versions(ExportFolder(self._fs, self._path, self._uri), load, options)
        self._versions.begin()

    def send(self, batch: Batch) -> Outcomes:
        """Append the rows to the version; JSON rejects what it cannot express, such as NaN (`not_a_number`)."""
        from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus

        # The version holds the rows that are sent and nobody else: nothing is left to take out.
        self._sends, self._leaving = True, []
        rejected: dict[int, Outcome] = {}
        start, rows = 0, batch.rows.num_rows
        while start < rows:
            part = self._open_part()
            piece = batch.rows.slice(start, self._part_rows - part.rows)
            self._opened.load.before_request()
            with self._opened.folder.storage("write to"):
                refused = part.write(piece)
            rejected.update({start + row: Outcome(RowStatus.REJECTED, code) for row, code in refused.items()})
            start += piece.num_rows
            if part.rows >= self._part_rows:
                self._close_part()
        return Outcomes(rows, exceptions=rejected)

    def removal_schema(self, load: Load) -> pa.Schema:
        """Return the primary key; nothing where it is not mapped, since loads that send need nothing to remove by."""
        import pyarrow as pa

        return pa.schema([]) if load.key_field is None else super().removal_schema(load)

    def remove(self, batch: Batch) -> Outcomes:
        """Remember who is to be taken out by `commit`, unless rows are sent.

        Raises:
            ConfigurationError: the primary key is not mapped.
        """
        from airflow_consent_retl.contract.outcomes import Outcomes

        key_field = self._key_field
        if not self._sends:
            self._leaving.append(batch.rows.column(key_field).drop_null())
        return Outcomes.accepted(batch.rows.num_rows)

    def commit(self) -> None:
        """Publish the version; one without a row has one empty file, which tells its fields."""
        if self._leaving:
            self._take_out()
        else:
            if not self._files:
                self._open_part()
            self._close_part()
            self._opened.publish(tuple(self._files), keep=self._keep_versions)
        self._opened.end()

    def abort(self) -> None:
        """Remove what was not published."""
        if self._part is not None:
            self._part.give_up()
            self._part = None
        if self._versions is not None:
            self._versions.end()

    @property
    def _opened(self) -> Versions:
        if self._versions is None:
            raise RuntimeError("open() comes first")
        return self._versions

    def _take_out(self) -> None:
        import pyarrow as pa

        from airflow_consent_retl.destinations.files.removal import take_out

        people = pa.chunked_array(self._leaving)
        take_out(self._opened, people, key_field=self._key_field, keep=self._keep_versions)

    @property
    def _key_field(self) -> str:
        load = self._opened.load
        if load.key_field is None:
            raise ConfigurationError(
                f"the primary key of model `{load.model}` is not mapped: single people are taken out by it, without it "
                "they are gone only by the next load"
            )
        return load.key_field

    def _open_part(self) -> Part:
        if self._part is None:
            from airflow_consent_retl.destinations.files.part import Part

            versions = self._opened
            if not self._files:
                versions.stage()
            name = f"part-{len(self._files):05}.{self._format.extension}"
            with versions.folder.storage("write to"):
                self._part = Part(name, versions.create(name), self._format, versions.load.schema)
        return self._part

    def _close_part(self) -> None:
        if self._part is not None:
            with self._opened.folder.storage("write to"):
                self._files.append(self._part.close())
            self._part = None


class LoadToFilesOperator(LoadOperator):
    """Write one destination's permitted rows as a version of files in any object storage, and take people out of it.

    Reads the permitted set's files, writes below `path`, contacts nothing but the two storages. See
    `FilesDestination` for how a version is published, and for the parameters beside the ones below.

    Args:
        path: the folder (templated), `file:///exports/lake` or `s3://conn@bucket/folder`.
        **kwargs: of `LoadOperator`.

    Raises:
        ConfigurationError: the path, an option or a field's type does not suit; not retried.
        DestinationError: no permission, another destination's folder, a newer version is there; not retried.
        DestinationUnavailableError: the storage did not answer, is full, or another load is under way; retried.
    """

    template_fields: Sequence[str] = (*LoadOperator.template_fields, "path")

    def __init__(
        self,
        *,
        path: str,
        format: Format = "parquet",  # noqa: A002
        keep_versions: int | None = 1,
        part_rows: int = 1_000_000,
        batch_rows: int = 65_536,
        compression: Compression = "zstd",
        nulls: Nulls = "null",
        null_text: str = "",
        escape_formulas: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.format = format
        self.keep_versions = keep_versions
        self.part_rows = part_rows
        self.batch_rows = batch_rows
        self.compression = compression
        self.nulls = nulls
        self.null_text = null_text
        self.escape_formulas = escape_formulas

    def build_destination(self) -> Destination:
        """Return the destination, not yet opened."""
        return FilesDestination(
            path=self.path,
            format=self.format,
            keep_versions=self.keep_versions,
            part_rows=self.part_rows,
            batch_rows=self.batch_rows,
            compression=self.compression,
            nulls=self.nulls,
            null_text=self.null_text,
            escape_formulas=self.escape_formulas,
        )


def _file_format(
    name: Format, *, compression: Compression, nulls: Nulls, null_text: str, escape_formulas: bool
) -> FileFormat:
    from airflow_consent_retl.destinations.files.formats import Csv, JsonLines, Parquet

    if name == "csv":
        return Csv(null_text=null_text, escape_formulas=escape_formulas)
    return JsonLines(nulls=nulls) if name == "jsonl" else Parquet(compression=compression)


def _folder_at(path: str) -> tuple[AbstractFileSystem, str, str]:
    """Return the storage, the folder as it spells it, and the folder without credentials, for messages."""
    from airflow.sdk import ObjectStoragePath

    parts = urlsplit(path)
    host = parts.netloc.rpartition("@")[2]
    shown = f"{parts.scheme or 'file'}://{host}{parts.path}".rstrip("/")
    local = parts.scheme in {"", "file", "local"}
    folder = f"{host}{parts.path}".strip("/")
    if local and (host or not parts.path.startswith("/")):
        raise ConfigurationError(f"path `{shown}` is not absolute: a local folder is written file:///exports/lake")
    if not folder or (not local and not parts.path.strip("/")):
        raise ConfigurationError(f"path `{shown}` is a storage's root: name a folder below it")
    if ".." in folder.split("/"):
        raise ConfigurationError(f"path `{shown}` holds `..`")
    try:
        storage = ObjectStoragePath(path)
        return storage.fs, storage.path.rstrip("/"), shown
    except (ValueError, ImportError):
        raise ConfigurationError(f"no installed provider serves `{parts.scheme}://`") from None
