"""What the benchmarks of extraction share: the product's own way without Airflow's task, and the comparison of ways."""

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
    """Do what the operator does, without Airflow's task, and return how many rows there were."""
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
    """Run each way in turns, in a process of its own, and return its fastest run; the first, which warms up, is left
    out.

    Args:
        script: is run with `--one`, the way, the server and a folder to write to.
        ways: by name.
        server: where the server is, as the script reads it.
        scratch: for the folders.
        repeat: how often.
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
    """Show each way against the fastest rival, and write the figures."""
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
