"""The catalogue's entry of files."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry

CATALOGUE = CatalogueEntry(
    vendor="Files in any object storage",
    destination="airflow_consent_retl.destinations.files.destination.FilesDestination",
    operator="LoadToFilesOperator",
    api_version="unversioned",
    removal={"always": "The current version is published once more without the person; older versions are deleted."},
    modes=("replace", "remove", "clear"),
    limits={"concurrency": 1},
    notes=("Object stores have no locks: let one task at a time load into a folder.",),
    checked=(
        "the contract suite, on a local disk; loads into a file system in memory",
        "a sync over several days in real Airflow, on a local disk",
    ),
    unchecked=("S3, Google Cloud Storage and Azure Blob Storage as the place of the files",),
    sources=(),
)
