"""Tests that share a slow server run in one process: all others would start a server of their own.

The root conftest loads this module as a plugin. Without xdist there is one process in any case.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.scheduler import LoadScopeScheduling

_REPO = Path(__file__).resolve().parents[2]
# Airflow's API server takes some ten seconds of processor time to start.
_SERVER = "from support.served_page import"


@cache
def _has_server(file: str) -> bool:
    """Tell whether a test file uses the page that Airflow's server shows."""
    return _SERVER in (_REPO / file).read_text()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that run one after the other: at the end, other processes would wait for them."""
    items.sort(key=lambda item: not _has_server(item.nodeid.partition("::")[0]))


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling | None:
    """Return the scheduler of `--dist loadfile` in which all files with the server are one."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByServer(LoadFileScheduling):  # type: ignore[misc] # xdist has no types here
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return _SERVER if _has_server(file) else file

    return ByServer(config, log)
