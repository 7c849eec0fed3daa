"""A PostgreSQL database for the tests of the contracts."""

from __future__ import annotations

import pytest
from support.postgres import postgres

__all__ = ["postgres"]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let `make test` send a row more than a full batch, up to 100,001, and `make test-long` fewer too."""
    if getattr(getattr(item, "callspec", None), "params", {}).get("beyond", 1) != 1:
        item.add_marker(pytest.mark.long)
