"""What the destinations' tests share."""

from __future__ import annotations

from databases import database, duck, pg, pg_database, sqlite
from postgres import postgres

__all__ = ["database", "duck", "pg", "pg_database", "postgres", "sqlite"]
