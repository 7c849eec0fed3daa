"""The benchmark of imports: the seconds that the operators add to `airflow.sdk`.

Airflow parses a DAG file every few seconds.

python benchmarks/imports.py [--json figures.json]
"""

from __future__ import annotations

import statistics
import subprocess
import sys

from measure import parser, show, write_figures

_RUNS = 5
_SCRIPT = """
import time, warnings
warnings.simplefilter("ignore")
start = time.perf_counter()
import airflow.sdk
from airflow.sdk import DAG, Asset, BaseHook, BaseOperator, ObjectStoragePath, TaskGroup, Variable, XComArg
middle = time.perf_counter()
from airflow_consent_retl.operators import *
from airflow_consent_retl.consent import *
from airflow_consent_retl.sync import consent_sync
print(middle - start, time.perf_counter() - middle)
"""


def main() -> None:
    given = parser(__doc__).parse_args()
    runs = []
    for _ in range(_RUNS + 1):
        printed = subprocess.run([sys.executable, "-c", _SCRIPT], check=True, capture_output=True, text=True).stdout
        runs.append([float(word) for word in printed.split()[-2:]])
    # The first run may still compile to byte code.
    airflow_s, added_s = (statistics.median(run[position] for run in runs[1:]) for position in (0, 1))
    show("Import", ["import", "seconds"], [["airflow.sdk", f"{airflow_s:.2f}"], ["operators, added", f"{added_s:.2f}"]])
    write_figures(given.json, {"airflow_sdk_s": airflow_s, "added_s": added_s})


if __name__ == "__main__":
    main()
