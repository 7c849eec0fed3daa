"""Parsing a DAG file stays cheap: importing the operators loads no engine and asks no backend."""

from __future__ import annotations

import os
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.forks import forks

from airflow_consent_retl import destinations
from airflow_consent_retl.operators.face import MODULES

HEAVY = (
    "cryptography",
    "duckdb",
    "duckdb_provider",
    "fsspec",
    "google",
    "httpcore",
    "ibis",
    "numpy",
    "pandas",
    "psycopg2",
    "pyarrow",
    "rapidfuzz",
    "requests",
    "snowflake",
    "sqlalchemy",
    "sqlglot",
    "statistics",
    "tabulate",
    "yaml",
)
FOR_AUTHORS = """
from airflow.sdk import DAG, task
from airflow_consent_retl.consent import ConsentObject, Literals
from airflow_consent_retl.operators import (
    ConsentFilterOperator, ExtractModelOperator, LoadToFilesOperator, LoadToSqlTableOperator, LoadToWebhookOperator,
    LoadToGoogleCustomerMatchOperator, PropagateWithdrawalsOperator, RetireSyncOperator, permitted_batches,
    permitted_dataframes,
)
from airflow_consent_retl.sync import consent_sync
from airflow_consent_retl.contract import Batch, Destination, DestinationSpec, Limits, Load, Outcomes
"""
# What every DAG file loads: the names of `airflow.sdk` are loaded as they are asked for.
PLAIN = """
from airflow.sdk import DAG, Asset, BaseHook, BaseOperator, TaskGroup, Variable, XComArg, task
"""
# What Airflow loads of this package in each process: the provider info and the cluster policy.
IN_EACH_PROCESS = """
from airflow_consent_retl import cluster_policy
from airflow_consent_retl.get_provider_info import get_provider_info
get_provider_info()
"""
# Every name, as no DAG file asks for it.
EVERY_NAME = """
from airflow.sdk import DAG, task
from airflow_consent_retl.consent import *
from airflow_consent_retl.operators import *
from airflow_consent_retl.sync import consent_sync
"""


LOADED = """
import sys
exec({before!r})
before = set(sys.modules)
exec({script!r})
print(*set(sys.modules) - before, sep="\\n")
"""
Run = Callable[..., str]


@pytest.fixture(scope="module")
def plain() -> Iterator[Run]:
    """Run scripts in new processes that have loaded what every DAG file loads."""
    with forks(PLAIN) as run:
        yield run


@pytest.fixture(scope="module")
def empty() -> Iterator[Run]:
    """Run scripts in new processes that have loaded nothing."""
    with forks("") as run:
        yield run


def loaded_by(run: Run, script: str, *, before: str = "") -> set[str]:
    """Return the modules that a script loads in a new process after another one has run there."""
    return set(run(LOADED.format(before=before, script=script)).splitlines())


def test_importing_the_operators_loads_no_engine_that_airflow_does_not_load(plain: Run) -> None:
    added = loaded_by(plain, FOR_AUTHORS)

    assert "airflow_consent_retl.operators.consent" in added
    assert {module for module in added if module.partition(".")[0] in HEAVY} == set()


def test_importing_every_name_loads_nothing_of_other_projects(plain: Run) -> None:
    added = loaded_by(plain, EVERY_NAME)

    assert "airflow_consent_retl.consent.planner" in added
    assert {module.partition(".")[0] for module in added} == {"airflow_consent_retl", "airflow"}


# What defines the operators, besides their own modules and the parameters of destinations. Each module that is added
# here is loaded each time that a DAG file is parsed: load it where it is used, if it can be.
BELOW_THE_OPERATORS = {
    "compat",
    "contract",
    "contract.checked_options",
    "contract.parameter_class",
    "contract.spec",
    "contract.tagged_parameters",
    "contract.withdrawal",
    "destinations.data_manager",
    "destinations.data_manager.consent_signals",
    "destinations.data_manager.signals_load",
    "destinations.google_customer_match.audience",
    "destinations.google_customer_match.customer_match_spec",
    "destinations.google_events.spec",
    "destinations.http.channel_options",
    "destinations.http.consent_records",
    "destinations.http.contact_options",
    "destinations.http.record_options",
    "destinations.meta.processing_options",
    "destinations.salesforce.consent_objects",
    "fields",
    "fields.dotted_names",
    "fields.field_values",
    "filtering",
    "filtering.summary",
    "hooks.central_policy",
    "near",
    "progress",
    "sight",
    "sight.addresses",
}
# Of the operators' folder: the modules that operators are made of.
PARTS_OF_OPERATORS = {
    "operators.base_operator",
    "operators.dated_operator",
    "operators.lineage_methods",
    "operators.links",
    "operators.one_load",
    "operators.parsed_tasks",
    "operators.spec_load",
    "operators.withdrawal_summary",
}
EVERY_OPERATOR = """
from airflow_consent_retl.operators import *
"""


def test_every_operator_loads_no_more_than_what_defines_the_operators(plain: Run) -> None:
    added = loaded_by(plain, EVERY_OPERATOR, before=IN_EACH_PROCESS)

    ours = {name.removeprefix("airflow_consent_retl.") for name in added if name.startswith("airflow_consent_retl.")}
    defining = {module.removeprefix("airflow_consent_retl.") for module in MODULES.values()}
    options = {name for name in ours if name.startswith("destinations.") and name.endswith(".options")}
    assert defining <= ours
    assert ours - defining - options == BELOW_THE_OPERATORS | PARTS_OF_OPERATORS


COMPILED = """
from types import FunctionType
classes = {
    one
    for name, module in list(sys.modules.items()) if name.startswith("airflow_consent_retl.") and name not in before
    for one in vars(module).values() if isinstance(one, type) and one.__module__ == name
}
methods = [method for one in classes for method in vars(one).values() if isinstance(method, FunctionType)]
print(sum(method.__code__.co_filename == "<string>" for method in methods))
"""


def test_every_operator_compiles_few_methods_while_it_is_imported(plain: Run) -> None:
    """A standard dataclass compiles six: the classes of parameters are made with `parameter_class`."""
    compiled = plain(f"{IN_EACH_PROCESS}\nimport sys\nbefore = set(sys.modules)\n{EVERY_OPERATOR}{COMPILED}")

    assert 0 < int(compiled) < 100


def test_the_provider_info_which_every_process_reads_loads_no_destination(empty: Run) -> None:
    added = loaded_by(empty, "from airflow_consent_retl.get_provider_info import get_provider_info as read; read()")

    ours = {name.removeprefix("airflow_consent_retl.") for name in added if name.startswith("airflow_consent_retl.")}
    packages = {f"destinations.{module.name}" for module in pkgutil.iter_modules(destinations.__path__)}
    assert "destinations.klaviyo" in ours
    assert ours - packages == {
        "destinations",
        "destinations.http.auth",
        "destinations.http.vendor",
        "destinations.http.vendor_auth",
        "destinations.http.vendors",
        "destinations.http.webhook_form",
        "errors",
        "get_provider_info",
        "hooks",
        "hooks.connection_forms",
        "late_names",
        "operators",
        "operators.face",
    }


def test_importing_the_package_loads_nothing_at_all(empty: Run) -> None:
    added = loaded_by(empty, "import airflow_consent_retl")

    # The package's own entry, and what an editable installation brings.
    assert {name for name in added if name.partition(".")[0] in {*HEAVY, "airflow"}} == set()


BACKEND = """
from airflow.secrets import BaseSecretsBackend

class Recording(BaseSecretsBackend):
    def get_variable(self, key, team_name=None):
        open({path!r}, "a").write(f"variable {{key}}\\n")
        return None

    def get_conn_value(self, conn_id, team_name=None):
        open({path!r}, "a").write(f"connection {{conn_id}}\\n")
        return None
"""
EVERY_MODULE = """
import importlib, pkgutil, airflow_consent_retl
for module in pkgutil.walk_packages(airflow_consent_retl.__path__, "airflow_consent_retl."):
    importlib.import_module(module.name)
"""
ASK = """
from airflow.sdk import Variable
try:
    Variable.get("asked_at_last")
except Exception:
    pass
"""


@pytest.mark.long
def test_importing_every_module_asks_no_backend_for_a_variable_or_a_connection(tmp_path: Path) -> None:
    asked = tmp_path / "asked.txt"
    asked.touch()
    (tmp_path / "recording_backend.py").write_text(BACKEND.format(path=str(asked)))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
        "AIRFLOW__SECRETS__BACKEND": "recording_backend.Recording",
        "AIRFLOW__WORKERS__SECRETS_BACKEND": "recording_backend.Recording",
    }

    command = [sys.executable, "-W", "ignore", "-c", EVERY_MODULE + FOR_AUTHORS + ASK]
    subprocess.run(command, check=True, capture_output=True, env=environment)

    assert set(asked.read_text().split("\n")) == {"variable asked_at_last", ""}


def test_importing_the_registry_of_databases_loads_no_client(empty: Run) -> None:
    added = loaded_by(empty, "import airflow_consent_retl.databases.registry")

    assert "airflow_consent_retl.databases.snowflake" in added
    # Not even Airflow: only the parts that the registry names need it.
    assert {name for name in added if name.partition(".")[0] in {*HEAVY, "airflow"}} == set()


# What a process does that parses DAG files: it loads the plugins, and then a file.
PARSING = """
from airflow.plugins_manager import ensure_plugins_loaded
ensure_plugins_loaded()
"""


def test_a_process_that_parses_dags_loads_the_plugin_and_nothing_of_the_page(plain: Run) -> None:
    added = loaded_by(plain, PARSING, before=FOR_AUTHORS)

    # The addresses of the page are loaded by the operators, for their links.
    assert {name for name in added if name.partition(".")[0] == "airflow_consent_retl"} == {
        "airflow_consent_retl.sight.plugin"
    }


def test_the_plugin_itself_imports_nothing_but_airflows_class_for_plugins(plain: Run) -> None:
    before = "from airflow.plugins_manager import AirflowPlugin"
    added = loaded_by(plain, "import airflow_consent_retl.sight.plugin", before=before)

    assert {name for name in added if not name.startswith("airflow_consent_retl")} == set()
