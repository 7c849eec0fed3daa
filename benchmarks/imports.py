"""The benchmark of imports: the seconds that this package adds to `airflow.sdk`.

Airflow parses a DAG file every few seconds, and each of its processes reads the provider info. The byte code is
compiled beforehand, as it is where the package is installed.

python benchmarks/imports.py [--json figures.json]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

from measure import parser, show, write_figures

_RUNS = 9
_AIRFLOW = """
import sys, time, warnings
warnings.simplefilter("ignore")
started = time.perf_counter(), time.process_time()
from airflow.sdk import DAG, Asset, BaseHook, BaseOperator, ObjectStoragePath, TaskGroup, Variable, XComArg
"""
_PROVIDER_INFO = """
for name in [name for name in sys.modules if name.startswith("airflow_consent_retl")]:
    del sys.modules[name]
started = time.perf_counter(), time.process_time()
from airflow_consent_retl.get_provider_info import get_provider_info
get_provider_info()
"""
_BEGIN = """
started = time.perf_counter(), time.process_time()
"""
_OF_A_DAG = """
from airflow_consent_retl.consent import Literals
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadToWebhookOperator
from airflow_consent_retl.sync import consent_sync
"""
_EVERY_OPERATOR = """
from airflow_consent_retl.operators import *
from airflow_consent_retl.sync import consent_sync
"""
_EVERY_NAME = _EVERY_OPERATOR + "from airflow_consent_retl.consent import *\n"
_PRINT = """
print(time.perf_counter() - started[0], time.process_time() - started[1])
"""
_SCRIPTS = {
    "airflow.sdk": ("airflow_sdk_s", _AIRFLOW),
    "the provider info, in each process of Airflow": ("provider_info_s", _AIRFLOW + _PROVIDER_INFO),
    "a DAG of `consent_sync`, added": ("dag_s", _AIRFLOW + _BEGIN + _OF_A_DAG),
    "every operator, added": ("added_s", _AIRFLOW + _BEGIN + _EVERY_OPERATOR),
    "every operator and every name of `consent`, added": ("every_name_s", _AIRFLOW + _BEGIN + _EVERY_NAME),
}


def main() -> None:
    given = parser(__doc__).parse_args()
    rows, figures = [], {}
    with tempfile.TemporaryDirectory() as byte_code:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": byte_code}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in _SCRIPTS}
        # The first round compiles to byte code. The rounds take turns, so that a busy minute meets all of them.
        for _ in range(_RUNS + 1):
            for name, (_, script) in _SCRIPTS.items():
                command = [sys.executable, "-c", script + _PRINT]
                printed = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
                wall_s, cpu_s = map(float, printed.split()[-2:])
                runs[name].append((wall_s, cpu_s))
        for name, (key, _) in _SCRIPTS.items():
            wall_s, cpu_s = (statistics.median(run[position] for run in runs[name][1:]) for position in (0, 1))
            rows.append([name, f"{wall_s:.3f}", f"{cpu_s:.3f}"])
            figures[key] = cpu_s
    show("Import", ["import", "seconds", "processor seconds"], rows)
    write_figures(given.json, figures)


if __name__ == "__main__":
    main()
