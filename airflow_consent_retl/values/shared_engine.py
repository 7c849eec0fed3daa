"""One DuckDB in memory for each process, for small computations on Arrow values.

To start a DuckDB takes about 20 ms, to connect to one that runs takes none. A load computes hashes, fingerprints and
signatures many times.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

# By process: a process that was forked must not use the engine of its parent.
_engines: dict[int, duckdb.DuckDBPyConnection] = {}


def shared_engine() -> duckdb.DuckDBPyConnection:
    """Return a new connection to the engine of this process. The caller closes it.

    The calling thread does the work, so two threads with a connection each use two cores. Nothing is installed, and
    rows stay in order. Suits queries that hold no more than the batch they are given: there is no limit of memory and
    no place to spill. A query that may end in an `InternalError` needs an engine of its own, since this error ends
    the engine for all its connections.
    """
    # Late: a filter of plain columns needs no engine.
    import duckdb

    process = os.getpid()
    if process not in _engines:
        # Two threads may both start one; both then use the first.
        _engines.setdefault(
            process,
            duckdb.connect(
                config={
                    "threads": 1,
                    "autoinstall_known_extensions": False,
                    "preserve_insertion_order": True,
                    # The default is a folder below the working directory.
                    "temp_directory": "",
                }
            ),
        )
    return _engines[process].cursor()
