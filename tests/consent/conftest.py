"""Settings of the property tests: the same examples in every run, also on a busy machine."""

from __future__ import annotations

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure no coverage where it would take too long."""
    unmeasured.pytest_collection_modifyitems(items)


@pytest.fixture(autouse=True, scope="session")
def _forget_answers() -> None:
    """Clear the cached answers of the session that this one was forked from: a mutant must give its own."""
    requirement_of.cache_clear()
