"""The name of a place of data in lineage: OpenLineage's pair of a namespace and a name."""

from __future__ import annotations

from typing import NamedTuple


class DatasetName(NamedTuple):
    """A place of data, by OpenLineage's naming rules where they have one for it.

    https://openlineage.io/docs/spec/naming (read 2026-11-29)

    Args:
        namespace: the system that has it, such as `postgres://db.example.com:5432`, `s3://bucket` or `file`.
        name: its name there, such as `crm.public.people`, or a path.
    """

    namespace: str
    name: str


def at_uri(uri: str) -> DatasetName:
    """Return the name of a folder, a file or an endpoint: `s3://bucket/a/b` is `a/b` of `s3://bucket`."""
    scheme, _, rest = uri.partition("://")
    authority, _, path = rest.partition("/")
    if scheme == "file":
        return DatasetName("file", f"/{path}")
    # Airflow writes the connection of a storage in front of the bucket.
    return DatasetName(f"{scheme}://{authority.rpartition('@')[2]}", path or "/")
