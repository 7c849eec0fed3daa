"""A connection with each of PostgreSQL's drivers, a workspace to extract into, and a database of the folder's own."""

from __future__ import annotations

from support.extracting import postgres_driver, workspace
from support.postgres import postgres

__all__ = ["postgres", "postgres_driver", "workspace"]
