"""What the contracts of this package's destinations share."""

from __future__ import annotations

from support.databases import duck, pg, pg_database, sqlite
from support.postgres import postgres

__all__ = ["duck", "pg", "pg_database", "postgres", "sqlite"]
