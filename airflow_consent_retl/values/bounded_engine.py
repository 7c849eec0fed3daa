"""A DuckDB for questions that may be larger than memory, with a limit, and a private place for what exceeds it.

To start one takes about 20 ms, to use one again takes one. So an engine that ended its question well waits for the next
one of its process. It has no data, and no file, while it waits.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb

from airflow_consent_retl.values.temporary import private_folder, reserved_folder

_DATABASE: Final = "question"


@dataclass(frozen=True, slots=True)
class _StartedEngine:
    # Connections to its questions are cursors of this one.
    connection: duckdb.DuckDBPyConnection
    # DuckDB makes this folder when it first exceeds the limit.
    spill: Path

    @classmethod
    def start(cls, memory_limit: str, folder: Path) -> _StartedEngine:
        spill = folder / uuid.uuid4().hex
        config: dict[str, Any] = {
            "memory_limit": memory_limit,
            "temp_directory": str(spill),
            "threads": "1",
            "autoinstall_known_extensions": "false",
        }
        return cls(duckdb.connect(config=config), spill)


# By process, memory limit and private folder: a process that was forked can neither use nor close the engine of its
# parent. To take one out is a single step, so two threads never have the same.
_waiting: dict[tuple[int, str, Path], _StartedEngine] = {}


@contextmanager
def bounded_engine(memory_limit: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to an empty database of its own; nothing of it is left when the block ends.

    The calling thread does the work: the cursors of SQLite work in no other thread. Nothing is installed.

    Args:
        memory_limit: for all data, in DuckDB's form, such as `256MiB`. What exceeds it is in private files.

    Raises:
        ConfigurationError: there is no private folder for temporary files.
    """
    folder = private_folder()
    key = os.getpid(), memory_limit, folder
    engine = _waiting.pop(key, None) or _StartedEngine.start(memory_limit, folder)
    has_ended_well = False
    try:
        with reserved_folder(engine.spill):
            connection = engine.connection.cursor()
            try:
                # The limit too: the question before may have needed more.
                connection.execute(
                    f"SET memory_limit = '{memory_limit}'; ATTACH ':memory:' AS {_DATABASE}; USE {_DATABASE}"
                )
                yield connection
            finally:
                connection.close()
            engine.connection.execute(f"DETACH {_DATABASE}")
            # Its files are removed with the folder, and it would look for them.
            has_ended_well = not engine.spill.exists()
    finally:
        if not has_ended_well or _waiting.setdefault(key, engine) is not engine:
            engine.connection.close()
