"""A PostgreSQL database for the tests of the contracts."""

from __future__ import annotations

from support.postgres import postgres

__all__ = ["postgres"]
