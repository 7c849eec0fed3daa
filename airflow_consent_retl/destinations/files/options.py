"""The options of the files destination, checked: the folder, the versions and the form of files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from airflow_consent_retl.contract.parameter_class import parameter_class
from airflow_consent_retl.contract.spec import DestinationSpec
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.pruned import Pruned
    from airflow_consent_retl.destinations.files.destination import FilesDestination

Format = Literal["parquet", "csv", "jsonl"]
Compression = Literal["zstd", "snappy", "gzip", "lz4", "none"]
Nulls = Literal["null", "omit"]

_FORMATS = ("parquet", "csv", "jsonl")
_NULLS = ("null", "omit")
_COMPRESSIONS = ("zstd", "snappy", "gzip", "lz4", "none")
_FORMULA_STARTS = ("=", "+", "-", "@")


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
        ConfigurationError: an option has a wrong value.
    """

    templated: ClassVar[tuple[str, ...]] = ("path",)

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

    def __post_init__(self) -> None:
        if self.format not in _FORMATS:
            raise ConfigurationError(f"format must be one of {', '.join(_FORMATS)}, not `{self.format}`")
        if self.nulls not in _NULLS or self.compression not in _COMPRESSIONS:
            raise ConfigurationError(
                f"nulls is one of {', '.join(_NULLS)}, compression one of {', '.join(_COMPRESSIONS)}, not "
                f"`{self.nulls}` and `{self.compression}`"
            )
        if self.part_rows < 1 or self.batch_rows < 1 or (self.keep_versions is not None and self.keep_versions < 1):
            raise ConfigurationError("part_rows, batch_rows and keep_versions must be at least 1")
        if self.keep_versions_days is not None and not self.keep_versions_days > 0:
            raise ConfigurationError("keep_versions_days must be above 0")
        formula = self.escape_formulas and self.null_text.startswith(_FORMULA_STARTS)
        if formula or any(mark in self.null_text for mark in ',"\r\n'):
            raise ConfigurationError("null_text must not contain a comma, quote or line break, or begin a formula")

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
