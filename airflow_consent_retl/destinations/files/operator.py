"""The operator that writes permitted rows as files."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

from airflow_consent_retl.destinations.files.options import FilesOptions
from airflow_consent_retl.operators.spec_load import SpecLoadOperator


class LoadToFilesOperator(SpecLoadOperator):
    """Write one destination's permitted rows as a version of files in any object storage, and remove people from it.

    Reads the permitted set's files, writes below `path`, contacts only the two storages. See `FilesDestination` for
    the publishing of a version, and `FilesOptions` for the other parameters.

    Args:
        path: the folder (templated), `file:///exports/lake` or `s3://conn@bucket/folder`.
        format: see `FilesOptions`, for this parameter and those that are not listed here.
        **kwargs: of `LoadOperator`.

    Raises:
        ConfigurationError: the path, an option or a field's type does not suit; not retried.
        DestinationError: no permission, another destination's folder, a newer version is there; not retried.
        DestinationUnavailableError: the storage did not answer, is full, or another load is running; retried.
    """

    nests_fields = False
    spec_class = FilesOptions
    path: str

    @property
    def versions_place(self) -> str:
        """The folder, whose older versions `prune` deletes also when no load runs any more."""
        return self.path

    def destination_spec(self) -> FilesOptions:
        """Return the options; it keeps no more versions than the deployment's policy declares."""
        from airflow_consent_retl.hooks.retention_limits import declared

        kept, now = declared("file_versions"), datetime.now(UTC)
        days = None if kept.max_age is None else (now - kept.max_age.before(now)) / timedelta(days=1)
        options = cast("FilesOptions", super().destination_spec())
        return options.keeping_at_most(kept.number, days)
