"""The rows of a snapshot that an extraction returned, with every digest verified."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from airflow_consent_retl.storage import OpenedSnapshot, open_snapshot


def rows_of(snapshot: OpenedSnapshot) -> pa.Table:
    """Read the rows; a snapshot without parts is a table without columns."""
    parts = snapshot.manifest.parts
    for part in parts:
        snapshot.folder.verify(part)
    batches = list(snapshot.folder.read_rows(parts, batch_rows=65_536))
    return pa.Table.from_batches(batches) if batches else pa.table({})


def extracted(output: Any) -> tuple[OpenedSnapshot, pa.Table]:
    """Open the output of an extraction, and read its rows."""
    opened = open_snapshot(output)
    return opened, rows_of(opened)
