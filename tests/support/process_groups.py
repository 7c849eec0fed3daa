"""Gives each test process whole files of tests, and keeps together what starts the same slow thing.

With `--dist loadgroup --no-loadscope-reorder`, a file of tests runs in one process. Tests for which Airflow runs a DAG,
or which need the stand-in of a warehouse, or processes that are forked, are put together into a few groups: the
first DAG run of a process takes seven seconds of a processor, each of the others five.
"""

from __future__ import annotations

import zlib
from collections import Counter

import pytest
from xdist.scheduler import LoadScopeScheduling

# By the fixture that starts it. Two groups run DAGs, because all of them would keep one process busy for too long.
_STARTED_BY = {
    "airflow_db": ("airflow-0", "airflow-1"),
    "snowflake_server": ("warehouses",),
    "bigquery_server": ("warehouses",),
}
_WAREHOUSES = ("snowflake", "bigquery")
_FORKING = ("run_program", "StartedProgram")


class _WholeFiles(LoadScopeScheduling):  # type: ignore[misc]
    """Hands out groups as they are marked, and files."""

    def _split_scope(self, nodeid: str) -> str:
        group = nodeid.rpartition("@")[2] if nodeid.rfind("@") > nodeid.rfind("]") else ""
        return group or nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> _WholeFiles | None:
    """Make the scheduler of `--dist loadgroup`."""
    return _WholeFiles(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the groups, and begin with them, then with the files that have the most tests: they end last."""
    if not hasattr(config, "workerinput"):
        return
    groups = {item: _group_of(item) for item in items}
    for item, group in groups.items():
        if group:
            item.add_marker(pytest.mark.xdist_group(group))
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (not groups[item], -sizes[item.path], str(item.path)))


def _group_of(item: pytest.Item) -> str:
    for fixture in getattr(item, "fixturenames", ()):
        if fixture in _STARTED_BY:
            among = _STARTED_BY[fixture]
            return among[zlib.crc32(str(item.path).encode()) % len(among)]
    params = item.callspec.params.values() if isinstance(item, pytest.Function) and hasattr(item, "callspec") else ()
    if any(str(value).startswith(_WAREHOUSES) for value in params):
        return "warehouses"
    module = getattr(item, "module", None)
    return "processes" if any(hasattr(module, name) for name in _FORKING) else ""
