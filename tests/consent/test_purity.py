"""Tests of the purity of `consent`: it imports no Airflow and no engine."""

from __future__ import annotations

import subprocess
import sys

# Every module, since the package itself imports what is asked of it only.
_SCRIPT = """
import importlib, pkgutil, sys
import airflow_consent_retl.consent as law
for module in pkgutil.walk_packages(law.__path__, law.__name__ + "."):
    importlib.import_module(module.name)
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_importing_the_law_loads_no_airflow_and_no_engine() -> None:
    loaded = subprocess.run([sys.executable, "-c", _SCRIPT], check=True, capture_output=True, text=True).stdout.split()

    assert "airflow_consent_retl" in loaded
    assert not {"airflow", "duckdb", "ibis", "numpy", "pandas", "pyarrow", "sqlalchemy"}.intersection(loaded)
