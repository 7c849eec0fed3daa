"""Settings of the property tests: the same examples in every run, also on a busy machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from airflow_consent_retl.consent.policy import requirement_of

# The root conftest does the same; `make test` and mutation tests run without it, and without Airflow.
if (tests := str(Path(__file__).resolve().parents[1])) not in sys.path:
    sys.path.insert(0, tests)

from support import unmeasured

settings.register_profile("steady", deadline=None, derandomize=True, database=None)
# A mutant is killed by the first example that fails: no one reads the smallest one.
settings.register_profile("mutants", settings.get_profile("steady"), phases=(Phase.explicit, Phase.generate))
settings.load_profile("mutants" if "mutmut" in sys.modules else "steady")


def pytest_sessionstart() -> None:
    """Import tests and tables again, if what is mutated is a reader: they call readers as they are imported."""
    if ".readers." in os.environ.get("MUTANT_UNDER_TEST", ""):
        folders = (Path(tests) / "consent", Path(tests) / "support")
        for name, module in list(sys.modules.items()):
            is_ours = Path(getattr(module, "__file__", None) or "").parent in folders
            if is_ours and module is not unmeasured and "conftest" not in name:
                del sys.modules[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the quickest tests of a mutant first: one that fails is enough, and most mutants fail nearly all of them."""
    unmeasured.pytest_collection_modifyitems(items)
    if "mutmut" in sys.modules:
        from mutmut.state import state

        seconds = state().duration_by_test
        items.sort(key=lambda item: seconds.get(item.nodeid, 0.0))


@pytest.fixture(autouse=True, scope="session")
def _forget_answers() -> None:
    """Clear the cached answers of the session that this one was forked from: a mutant must give its own."""
    requirement_of.cache_clear()
