"""Gives each test process whole files of tests, and keeps together the files that start the same slow thing.

With `--dist loadfile --no-loadscope-reorder`, a file of tests runs in one process. The first DAG run of a process takes
seven seconds of a processor, the first query to the stand-in of a warehouse and the first forked process five each.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

_TESTS = Path(__file__).resolve().parents[1]
# By what a file mentions.
_GROUPS = {
    r"\b(airflow_run|airflow_db)\b": "airflow",
    r"\b(snowflake|bigquery)_(server|engine)\b|\bwarehouse: Engine\b": "warehouses",
    r"\bsupport\.processes\b": "processes",
}


class _Groups(LoadFileScheduling):  # type: ignore[misc]
    """Hands out groups of files, and files."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return _group_of(_TESTS.parent / file) or file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _Groups | None:
    """Make the scheduler of `--dist loadfile`."""
    return _Groups(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the groups, then with the files that have the most tests: they end last."""
    if hasattr(config, "workerinput"):
        sizes = Counter(item.path for item in items)
        items.sort(key=lambda item: (not _group_of(item.path), -sizes[item.path], str(item.path)))


@cache
def _group_of(file: Path) -> str:
    """Return the group of a file, or an empty text."""
    text = file.read_text()
    return next((group for pattern, group in _GROUPS.items() if re.search(pattern, text)), "")
