"""Airflow for the tests: a home of their own, made before Airflow is first imported."""

from __future__ import annotations

import atexit
import gc
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# As plugins their fixtures exist once: a fixture that conftests import exists, and starts a server, in each of them.
pytest_plugins = [
    "support.early_imports",
    "support.unmeasured",
    "support.postgres",
    "support.databases",
    "support.snowflake_server",
    "support.bigquery_server",
    "support.browser",
    "support.long_tests",
    "support.shared_servers",
    "support.process_groups",
]

_HOME = Path(tempfile.mkdtemp(prefix="consent-retl-tests-"))
_REPO = Path(__file__).resolve().parent.parent

os.environ.update(
    {
        "AIRFLOW_HOME": str(_HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(_REPO / "tests" / "e2e" / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{_HOME}/airflow.db",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(_HOME / "logs"),
        "AIRFLOW__CORE__FERNET_KEY": "",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
)
sys.path.insert(0, str(_REPO / "tests"))
# Before anything imports it.
pytest.register_assert_rewrite("parity.comparing")


def pytest_configure(config: pytest.Config) -> None:
    """Import Airflow, but not in a process of xdist that only hands out tests: it takes five seconds."""
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        return
    with warnings.catch_warnings():
        # Warnings of Airflow's own imports are not ours to mend; our own are errors.
        warnings.simplefilter("ignore")
        import airflow.sdk
        import airflow.serialization.serialized_objects  # noqa: F401
        from sqlalchemy.orm import configure_mappers

        # Airflow 3.1's mappers warn when they are first used, which an error in the wrong place would hide.
        configure_mappers()
    # What Airflow and its libraries keep for ever is half a million objects, which each collection would go through
    # again. Some libraries count at the very end what they have not taken back.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    atexit.register(gc.unfreeze)


# A property does not fail because the machine is busy, and has the same examples in every run: a change is what fails.
settings.register_profile(
    "patient", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def airflow_home() -> Path:
    return _HOME


@pytest.fixture(scope="session")
def repo() -> Path:
    return _REPO


@pytest.fixture(scope="session")
def airflow_db(airflow_home: Path) -> Path:
    """Make the metadata database and return its file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from airflow.utils.db import initdb

        initdb()
    return airflow_home / "airflow.db"


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests() -> None:
    """Forget the passwords of earlier tests: Airflow compiles one pattern of all of them for each connection."""
    from airflow.sdk._shared.secrets_masker import reset_secrets_masker

    reset_secrets_masker()


@pytest.fixture(autouse=True, scope="session")
def _remove_home() -> Iterator[None]:
    yield
    shutil.rmtree(_HOME, ignore_errors=True)
