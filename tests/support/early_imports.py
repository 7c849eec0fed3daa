"""Each process of xdist imports its own share of the test modules before it collects all of them.

In a fresh checkout pytest rewrites the assertions of each module once and keeps the result. Processes that collect the
same modules in the same order would all do that work at the same time. The root conftest loads this module as a plugin.
"""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Import the share of this process, if whole folders are collected."""
    worker: dict[str, object] | None = getattr(session.config, "workerinput", None)
    if worker is None:
        return
    number, processes = int(str(worker["workerid"]).removeprefix("gw")), int(str(worker["workercount"]))
    ignored = [session.config.rootpath / path for path in session.config.getoption("ignore") or ()]
    files = [
        file
        for folder in map(Path, session.config.args)
        if folder.is_dir()
        for file in sorted(folder.absolute().rglob("test_*.py"))
        if not any(file.is_relative_to(one) for one in ignored)
    ]
    for file in files[number::processes]:
        try:
            _ = pytest.Module.from_parent(session, path=file).obj
        except session.CollectError:
            # The collection meets the same error, and shows it.
            continue
