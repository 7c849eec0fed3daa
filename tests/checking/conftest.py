"""The fixture of a real PostgreSQL."""

from __future__ import annotations

from support.postgres import postgres

__all__ = ["postgres"]
