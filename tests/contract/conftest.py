"""What the contracts of this package's destinations share."""

from __future__ import annotations

from databases import duck, pg, pg_database, sqlite
from postgres import postgres

__all__ = ["duck", "pg", "pg_database", "postgres", "sqlite"]
