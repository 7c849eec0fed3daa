"""Sources and a workspace for the tests of extraction, with a separate PostgreSQL database."""

from __future__ import annotations

from support.extracting import postgres_driver, run_duckdb, run_sqlite, workspace
from support.postgres import postgres

__all__ = ["postgres", "postgres_driver", "run_duckdb", "run_sqlite", "workspace"]
