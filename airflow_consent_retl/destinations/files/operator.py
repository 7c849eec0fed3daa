"""The operator that writes permitted rows as files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.destinations.files.options import Compression, FilesOptions, Format, Nulls
from airflow_consent_retl.operators.load import LoadOperator

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Destination


class LoadToFilesOperator(LoadOperator):
    """Write one destination's permitted rows as a version of files in any object storage, and remove people from it.

    Reads the permitted set's files, writes below `path`, contacts only the two storages. See `FilesDestination` for
    the publishing of a version, and `FilesOptions` for the other parameters.

    Args:
        path: the folder (templated), `file:///exports/lake` or `s3://conn@bucket/folder`.
        **kwargs: of `LoadOperator`.

    Raises:
        ConfigurationError: the path, an option or a field's type does not suit; not retried.
        DestinationError: no permission, another destination's folder, a newer version is there; not retried.
        DestinationUnavailableError: the storage did not answer, is full, or another load is running; retried.
    """

    nests_fields = False
    template_fields: Sequence[str] = (*LoadOperator.template_fields, *FilesOptions.templated)
    spec_class = FilesOptions

    def __init__(
        self,
        *,
        path: str,
        format: Format = "parquet",  # noqa: A002
        keep_versions: int | None = 1,
        keep_versions_days: float | None = None,
        part_rows: int = 1_000_000,
        batch_rows: int = 65_536,
        compression: Compression = "zstd",
        nulls: Nulls = "null",
        null_text: str = "",
        escape_formulas: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Airflow requires a templated parameter as an attribute.
        self.path = path
        self._spec = partial(
            FilesOptions,
            format=format,
            keep_versions=keep_versions,
            keep_versions_days=keep_versions_days,
            part_rows=part_rows,
            batch_rows=batch_rows,
            compression=compression,
            nulls=nulls,
            null_text=null_text,
            escape_formulas=escape_formulas,
        )

    @property
    def versions_place(self) -> str:
        """The folder, whose older versions `prune` deletes also when no load runs any more."""
        return self.path

    def build_destination(self) -> Destination:
        """Return the destination, not yet opened; it keeps no more versions than the deployment's policy declares."""
        from airflow_consent_retl.hooks.retention_limits import declared

        kept, now = declared("file_versions"), datetime.now(UTC)
        days = None if kept.max_age is None else (now - kept.max_age.before(now)) / timedelta(days=1)
        return self._spec(path=self.path).keeping_at_most(kept.number, days).build()
