"""The options of the files destination, checked: the folder, the versions and the form of files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, get_args
from urllib.parse import urlsplit

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.errors import Problem

if TYPE_CHECKING:
    from airflow_consent_retl.contract.checked_options import OptionCheck
    from airflow_consent_retl.contract.pruned import Pruned
    from airflow_consent_retl.destinations.files.destination import FilesDestination

Format = Literal["parquet", "csv", "jsonl"]
Compression = Literal["zstd", "snappy", "gzip", "lz4", "none"]
Nulls = Literal["null", "omit"]

_FORMULA_STARTS = ("=", "+", "-", "@")


def shown_folder(path: str) -> str:
    """Return a folder without credentials, for messages."""
    parts = urlsplit(path)
    return f"{parts.scheme or 'file'}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")


def wrong_folder(path: str) -> str:
    """Return what is wrong with the form of a folder; empty if nothing is."""
    parts, shown = urlsplit(path), shown_folder(path)
    host, local = parts.netloc.rpartition("@")[2], parts.scheme in {"", "file", "local"}
    folder = f"{host}{parts.path}".strip("/")
    if local and (host or not parts.path.startswith("/")):
        return f"path `{shown}` is not absolute: write a local folder as file:///exports/lake"
    if not folder or (not local and not parts.path.strip("/")):
        return f"path `{shown}` is a storage's root: name a folder below it"
    return f"path `{shown}` contains `..`" if ".." in folder.split("/") else ""


def _path(options: FilesOptions) -> Iterator[Problem]:
    if wrong := wrong_folder(options.path):
        yield Problem("path", wrong)


def _null_text(options: FilesOptions) -> Iterator[Problem]:
    formula = options.escape_formulas and options.null_text.startswith(_FORMULA_STARTS)
    if formula or any(mark in options.null_text for mark in ',"\r\n'):
        yield Problem("null_text", "null_text must not contain a comma, quote or line break, or begin a formula")


@parameter_class
class FilesOptions(DestinationSpec):
    """The folder, the versions and the form of exported files.

    Args:
        path: the folder, as an `ObjectStoragePath`, with a connection id where the storage needs one
            (`s3://conn@bucket/folder`). It must be absolute and below the storage's root.
        format: `"parquet"`, `"csv"` or `"jsonl"`.
        keep_versions: complete versions kept after publishing, the new one included; None keeps all. A load
            that removes anyone deletes all older versions.
        keep_versions_days: days after which a load deletes an older version, by when its rows were decided; None: age
            does not matter.
        part_rows: maximum number of rows in one file.
        batch_rows: maximum number of rows in one `send`; it bounds the memory.
        compression: of Parquet.
        nulls: of JSON Lines: `"null"` writes JSON null, `"omit"` leaves the field out.
        null_text: the text that CSV writes for NULL, never in quotes; text is always in quotes.
        escape_formulas: CSV puts `'` before text that a spreadsheet would read as a formula (`=`, `+`, `-`, `@`,
            tab, carriage return, line feed, and the full-width forms), in cells and names. Phone numbers with a
            `+` are such text: set it to False where no spreadsheet ever opens the file.

    Raises:
        OptionsError: options have wrong values; the message names all of them.
    """

    templated: ClassVar[tuple[str, ...]] = ("path",)
    texts: ClassVar[tuple[str, ...]] = ("path",)
    counts: ClassVar[tuple[str, ...]] = ("part_rows", "batch_rows", "keep_versions")
    positive: ClassVar[tuple[str, ...]] = ("keep_versions_days",)
    choices: ClassVar[Mapping[str, tuple[str | None, ...]]] = {
        "format": get_args(Format),
        "nulls": get_args(Nulls),
        "compression": get_args(Compression),
    }
    checks: ClassVar[tuple[OptionCheck, ...]] = (_path, _null_text)

    path: str
    format: Format = "parquet"
    keep_versions: int | None = 1
    keep_versions_days: float | None = None
    part_rows: int = 1_000_000
    batch_rows: int = 65_536
    compression: Compression = "zstd"
    nulls: Nulls = "null"
    null_text: str = ""
    escape_formulas: bool = True

    def keeping_at_most(self, number: int | None, days: float | None) -> FilesOptions:
        """Return the options with these limits where they are stricter; None: no limit."""
        numbers = [one for one in (self.keep_versions, number) if one is not None]
        ages = [one for one in (self.keep_versions_days, days) if one is not None]
        return replace(self, keep_versions=min(numbers, default=None), keep_versions_days=min(ages, default=None))

    def build(self) -> FilesDestination:
        """Return the destination, not yet opened.

        Raises:
            ConfigurationError: the path is not absolute, is a storage's root, or no provider serves its scheme.
        """
        from airflow_consent_retl.destinations.files.destination import FilesDestination

        return FilesDestination(self)

    @classmethod
    def prune_place(cls, place: str, *, dry_run: bool) -> list[Pruned]:
        """Delete the older versions in a folder that `retention.file_versions` does not keep, and return them."""
        from airflow_consent_retl.destinations.files.export_retention import prune_versions

        return prune_versions(place, dry_run=dry_run)
