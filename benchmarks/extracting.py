"""Shared code of the extraction benchmarks: this package's extraction without Airflow's task, and the comparison."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measure import Measured, measure, show, write_figures

_CONN_ID = "bench"


def extract(hook: Any, folder: Path, *, sql: str, primary_key: str, batch_rows: int = 32_768) -> int:
    """Do the same as the operator, without Airflow's task, and return the number of rows."""
    from airflow_consent_retl.databases.source import ModelQuery, read_model
    from airflow_consent_retl.extraction.files import SnapshotWriter
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import ModelSource

    query = ModelQuery(conn_id=_CONN_ID, sql=sql, primary_key=primary_key, batch_rows=batch_rows)
    with (
        read_model(hook, query) as rows,
        SnapshotWriter(Folder.local(folder), rows.schema, primary_key=primary_key) as writer,
    ):
        for batch in rows.batches:
            writer.write(batch)
        writer.publish(model="people", source=ModelSource(conn_id=_CONN_ID, sql=sql), read_at=datetime.now(UTC))
    return writer.rows


def best_of(script: str, ways: Sequence[str], *, server: object, scratch: Path, repeat: int) -> dict[str, Measured]:
    """Run the ways in turns, each in a separate process, and return the fastest run of each.

    The first run of each way warms up and does not count.

    Args:
        script: the script. It gets `--one`, the way, the server and a folder to write to.
        ways: the names of the ways.
        server: the address of the server, in the form that the script reads.
        scratch: the parent of the folders.
        repeat: the number of runs of each way that count.
    """
    best: dict[str, Measured] = {}
    for number in range(repeat + 1):
        for way in ways:
            folder = scratch / way
            measured = measure(script, "--one", way, server, folder)
            shutil.rmtree(folder)
            if number:
                best[way] = min(best.get(way, measured), measured, key=lambda one: one.wall_s)
    return best


def tell(
    title: str, best: dict[str, Measured], *, rivals: Sequence[str], rows: int, name: str, json: Path | None
) -> None:
    """Show each way compared with the fastest rival, and write the figures."""
    rival = min(best[way].wall_s for way in rivals)
    show(
        f"{title}, {rows:,} rows",
        ["way", "s", "ratio", "peak MiB"],
        [[way, f"{one.wall_s:.2f}", f"{one.wall_s / rival:.2f}", one.peak_mib] for way, one in best.items()],
    )
    write_figures(
        json,
        {
            "benchmark": name,
            "rows": rows,
            "ways": {way: asdict(one) for way, one in best.items()},
            "ratio": best["ours"].wall_s / rival,
            "peak_mib": best["ours"].peak_mib,
        },
    )
