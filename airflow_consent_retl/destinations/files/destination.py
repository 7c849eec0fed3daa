"""The files destination: permitted rows as Parquet, CSV or JSON Lines in any object storage, one version at a time.

`formats` defines the form of a file, `versions` makes a version the current one, `removal` removes single people from
it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urlsplit

from airflow_consent_retl.contract.dataset_name import DatasetName, at_uri
from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.destinations.files.options import shown_folder, wrong_folder
from airflow_consent_retl.errors import ConfigurationError, PeopleMissingError
from airflow_consent_retl.masking import mask_storage

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from fsspec import AbstractFileSystem

    from airflow_consent_retl.contract.outcomes import Outcomes
    from airflow_consent_retl.destinations.files.export_manifest import ExportedFile
    from airflow_consent_retl.destinations.files.formats import FileFormat
    from airflow_consent_retl.destinations.files.options import FilesOptions
    from airflow_consent_retl.destinations.files.part import OpenPart
    from airflow_consent_retl.destinations.files.versions import Versions

# Options of file systems that name an address or an account.
_ADDRESSES = ("endpoint_url", "account_url", "account_host", "account_name", "host", "port")


class FilesDestination(Destination):
    """A folder with one complete version of a destination's permitted rows, and a pointer to it.

    Each load is a version of its own, `<path>/<version>/part-00000.<ext>` with `_manifest.json` written last. Its
    name follows from the load's key and the time of the decision, so another try makes the same version. Readers
    follow `<path>/_current.json`, which is replaced at once when the version is complete; until then they see the
    version before. A version decided earlier than the current one is refused.

    On a local disk a version is built in `<path>/.staging-<version>` and renamed, under a lock on the folder. Object
    stores cannot rename and have no locks: parts are in the version's folder before its manifest is, so read the
    files that the manifest names, and let one task at a time load into a folder. The process's umask decides who can
    read the files: exports are for others.

    A load of exactly the rows that the sync delivered, in the same form, leaves the current version as it is, if the
    folder has all its files and no older version is due.

    A person without a row in a load is gone from the version that it publishes. A load that only removes publishes
    the current version once more, in the form it has, without the named people; the primary key has to be one
    of its fields. From then on, loads decided before the removal are refused. A load that removes anyone deletes all
    older versions, whatever `keep_versions` says: they contain those people. A field that its person withdraws consent
    to is emptied in the same way between two loads. Where CSV escapes formulas, keys that
    differ only by the `'` in front are equal in the file: both are removed.

    `accepted` means that the row is in a file that `commit` will publish, or that the person is in none.

    Args:
        options: see `FilesOptions`.

    Raises:
        ConfigurationError: the path is not absolute, is a storage's root, or no provider serves its scheme.
    """

    can_remove: ClassVar[bool] = True
    can_clear: ClassVar[bool] = True
    replaces: ClassVar[bool] = True

    def __init__(self, options: FilesOptions) -> None:
        self._fs, self._path, self._uri = folder_at(options.path)
        self._format = _file_format(options)
        self._limits = Limits(batch_rows=options.batch_rows)
        self._keep_versions = options.keep_versions
        self._keep_versions_days = options.keep_versions_days
        self._removes = False
        self._part_rows = options.part_rows
        self._versions: Versions | None = None
        self._part: OpenPart | None = None
        self._files: list[ExportedFile] = []
        # The keys of the people to remove, until a row is sent.
        self._leaving: list[pa.Array] = []
        # Likewise of the people who lose fields, by these fields.
        self._cleared: dict[tuple[str, ...], list[pa.Array]] = {}
        self._sends = False

    @property
    def limits(self) -> Limits:
        """One batch at a time: a file is written in order."""
        return self._limits

    @property
    def target(self) -> str:
        """The folder, and the address of its storage, without credentials."""
        address = _address_of(self._fs)
        return f"{self._uri} at {address}" if address else self._uri

    @property
    def dataset_name(self) -> DatasetName:
        """The folder."""
        return at_uri(self._uri)

    @property
    def former_targets(self) -> Sequence[str]:
        """The folder alone."""
        return [self._uri]

    def open(self, load: Load) -> None:
        """Check the fields, lock the folder, and remove files that a killed try left."""
        from airflow_consent_retl.destinations.files.storage import ExportFolder
        from airflow_consent_retl.destinations.files.versions import Versions

        self._format.check(load.schema)
        self._format = self._format.for_load(load)
        options: dict[str, str | int | bool] = {**self._format.options(), "part_rows": self._part_rows}
        self._versions = Versions(ExportFolder(self._fs, self._path, self._uri), load, options)
        self._versions.begin()

    def check(self, load: Load) -> None:
        """Check the fields, and that the folder's versions are those of loads of this destination."""
        from airflow_consent_retl.destinations.files.storage import ExportFolder
        from airflow_consent_retl.destinations.files.versions import Versions

        self._format.check(load.schema)
        Versions(ExportFolder(self._fs, self._path, self._uri), load, {}).check()

    def try_writing(self) -> None:
        """Write a file into the folder, and remove it."""
        from airflow_consent_retl.destinations.files.storage import ExportFolder
        from airflow_consent_retl.storage.trial_file import write_trial_file

        with ExportFolder(self._fs, self._path, self._uri).storage("write to"):
            write_trial_file(self._fs, self._path)

    def look(self, load: Load) -> None:
        """Check that the current version and all its files are there."""
        from airflow_consent_retl.destinations.files.storage import ExportFolder
        from airflow_consent_retl.destinations.files.versions import Versions

        if not Versions(ExportFolder(self._fs, self._path, self._uri), load, {}).is_there():
            raise PeopleMissingError(
                f"{self._uri} has no complete current version, and {load.delivered:,} people were delivered to it: if "
                "the folder was renamed or moved, name the folder where they are now, and say so with moved_from. If "
                'it was deleted, run the load once with mode="full": it writes a new version'
            )

    def may_stay(self, load: Load) -> bool:
        """Return whether the current version is complete and in the form of this load, and no older one is due."""
        from airflow_consent_retl.destinations.files.storage import ExportFolder
        from airflow_consent_retl.destinations.files.versions import Versions

        options = {**self._format.for_load(load).options(), "part_rows": self._part_rows}
        versions = Versions(ExportFolder(self._fs, self._path, self._uri), load, options)
        return versions.may_stay(keep=self._keep_versions, keep_days=self._keep_versions_days)

    def send(self, batch: Batch) -> Outcomes:
        """Append the rows to the version; JSON rejects what it cannot express, such as NaN (`not_a_number`)."""
        from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus

        # The version contains only the rows that are sent: no one is left to remove.
        self._sends, self._leaving, self._cleared = True, [], {}
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
        """Return the primary key; no field where it is not mapped, since loads that send need no key for removals."""
        import pyarrow as pa

        return pa.schema([]) if load.key_field is None else super().removal_schema(load)

    def remove(self, batch: Batch) -> Outcomes:
        """Remember the people for `commit` to remove, unless rows are sent.

        Raises:
            ConfigurationError: the primary key is not mapped.
        """
        from airflow_consent_retl.contract.outcomes import Outcomes

        key_field = self._key_field
        self._removes = True
        if not self._sends:
            self._leaving.append(batch.rows.column(key_field).drop_null())
        return Outcomes.accepted(batch.rows.num_rows)

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        """Remember the people who lose fields for `commit`, unless rows are sent; raises as `remove`."""
        from airflow_consent_retl.contract.outcomes import Outcomes

        key_field = self._key_field
        self._removes = True
        if not self._sends:
            keys = batch.rows.column(key_field).drop_null()
            self._cleared.setdefault(tuple(sorted(fields)), []).append(keys)
        return Outcomes.accepted(batch.rows.num_rows)

    def commit(self) -> None:
        """Publish the version; one without rows has one empty file, which shows its fields."""
        if self._leaving or self._cleared:
            self._take_out()
        else:
            if not self._files:
                self._open_part()
            self._close_part()
            keep = 1 if self._removes else self._keep_versions
            self._opened.publish(tuple(self._files), keep=keep, keep_days=self._keep_versions_days)
        self._opened.end()

    def abort(self) -> None:
        """Remove everything that was not published."""
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

        from airflow_consent_retl.destinations.files.exported_removal import Leaving, take_out

        people = pa.chunked_array(self._leaving) if self._leaving else None
        cleared = {fields: pa.chunked_array(keys) for fields, keys in self._cleared.items()}
        take_out(self._opened, Leaving(people, cleared), key_field=self._key_field)

    @property
    def _key_field(self) -> str:
        load = self._opened.load
        if load.key_field is None:
            raise ConfigurationError(
                f"the primary key of model `{load.model}` is not mapped: removing single people needs it, without it "
                "they are gone only with the next load"
            )
        return load.key_field

    def _open_part(self) -> OpenPart:
        if self._part is None:
            from airflow_consent_retl.destinations.files.part import OpenPart

            versions = self._opened
            if not self._files:
                versions.stage()
            name = f"part-{len(self._files):05}.{self._format.extension}"
            with versions.folder.storage("write to"):
                self._part = OpenPart(name, versions.create(name), self._format, versions.load.schema)
        return self._part

    def _close_part(self) -> None:
        if self._part is not None:
            with self._opened.folder.storage("write to"):
                self._files.append(self._part.close())
            self._part = None


def _file_format(options: FilesOptions) -> FileFormat:
    from airflow_consent_retl.destinations.files.formats import Csv, JsonLines, Parquet

    match options.format:
        case "csv":
            return Csv(null_text=options.null_text, escape_formulas=options.escape_formulas)
        case "jsonl":
            return JsonLines(nulls=options.nulls)
        case "parquet":
            return Parquet(compression=options.compression)


def folder_at(path: str) -> tuple[AbstractFileSystem, str, str]:
    """Return the storage, the folder as it spells it, and the folder without credentials, for messages."""
    from fsspec.implementations.local import LocalFileSystem

    from airflow_consent_retl.compat import storage_conn_id
    from airflow_consent_retl.storage.local_path import local_path

    if wrong := wrong_folder(path):
        raise ConfigurationError(wrong)
    parts, shown = urlsplit(path), shown_folder(path)
    found = local_path(f"file://{parts.path}") if parts.scheme == "file" else None
    if found is not None and not parts.netloc:
        # Airflow would load the file systems of all providers.
        return LocalFileSystem(), found.rstrip("/"), shown
    from airflow.sdk import ObjectStoragePath

    try:
        storage = ObjectStoragePath(path)
        fs = storage.fs
        if conn_id := storage_conn_id(storage):
            mask_storage(conn_id)
        return fs, (found or storage.path).rstrip("/"), shown
    except (ValueError, ImportError):
        raise ConfigurationError(f"no installed provider serves `{parts.scheme}://`") from None


def _address_of(fs: AbstractFileSystem) -> str:
    """Return what an object storage's options say about where its buckets are; empty for the scheme's own address."""
    options = {**fs.storage_options, **(fs.storage_options.get("client_kwargs") or {})}
    return ", ".join(str(options[name]) for name in _ADDRESSES if options.get(name))
