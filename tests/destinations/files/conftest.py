"""The folder that files are exported to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from airflow.sdk.io import attach


@pytest.fixture(params=["file", "memory"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield f"{tmp_path.as_uri()}/lake"
        return
    store = fsspec.filesystem("memory")
    attach("memory", fs=store)
    yield "memory://bucket/exports/lake"
    store.store.clear()
    store.pseudo_dirs[:] = [""]
