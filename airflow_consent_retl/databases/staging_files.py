"""Temporary Parquet files for a warehouse's bulk load, split by size and deleted one by one."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_consent_retl.values.temporary import temporary_folder

# Snowflake loads files of 100 to 250 MB, compressed, best; BigQuery takes any size:
# https://docs.snowflake.com/en/user-guide/data-load-considerations-prepare (read 2026-11-24). This is about half,
# because the file is on the worker's disk.
_FILE_BYTES = 64 << 20
_ROW_GROUP_ROWS = 131_072


@dataclass(frozen=True, slots=True)
class StagingFile:
    """A Parquet file and the number of its rows. It exists until the next file is requested."""

    path: Path
    rows: int


@contextmanager
def staging_files(
    schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, names: Sequence[str] | None = None
) -> Iterator[Iterator[StagingFile]]:
    """Write batches to files, one at a time. No file is left at the end.

    Args:
        schema: of every batch.
        batches: are streamed. Without rows there is no file.
        names: of the columns in the files; those of the schema by default.
    """
    if names is not None:
        schema = pa.schema(field.with_name(name) for field, name in zip(schema, names, strict=True))
    with (
        temporary_folder() as folder,
        closing(_written(Path(folder), schema, batches)) as files,
    ):
        yield files


def _written(folder: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Generator[StagingFile, None, None]:
    filled = (batch for batch in batches if batch.num_rows)
    number, batch = 0, next(filled, None)
    while batch is not None:
        path, rows = folder / f"{number}.parquet", 0
        with pq.ParquetWriter(path, schema) as writer:
            while batch is not None:
                writer.write_batch(batch.rename_columns(schema.names), row_group_size=_ROW_GROUP_ROWS)
                rows += batch.num_rows
                batch = next(filled, None)
                if path.stat().st_size >= _FILE_BYTES:
                    break
        yield StagingFile(path, rows)
        path.unlink()
        number += 1
