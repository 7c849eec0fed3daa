"""What the destinations' tests share."""

from __future__ import annotations

from support.databases import database, duck, pg, pg_database, sqlite
from support.postgres import postgres

__all__ = ["database", "duck", "pg", "pg_database", "postgres", "sqlite"]
