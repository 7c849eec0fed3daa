"""A PostgreSQL database for the tests of the contracts."""

from __future__ import annotations

import pytest
from support.postgres import postgres

__all__ = ["postgres"]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let `make test` fill one batch of each table of SQL, whose limit is 100,000 rows, and `make test-long` all."""
    if item.path.stem == "test_sql_table" and "beyond" in getattr(getattr(item, "callspec", None), "params", ()):
        item.add_marker(pytest.mark.diagonal("beyond"))
