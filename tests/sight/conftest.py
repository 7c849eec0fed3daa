"""The server of Airflow that all tests of the page share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.served_page import World, served_page


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, airflow_db: Path) -> Iterator[World]:
    with served_page(tmp_path_factory.mktemp("page"), airflow_db) as found:
        yield found
