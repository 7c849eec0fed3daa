"""Tests of the purity of `consent`: it imports no Airflow and no engine."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_law_loads_no_airflow_and_no_engine() -> None:
    script = "import airflow_consent_retl.consent, sys; print(*{name.partition('.')[0] for name in sys.modules})"

    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()

    assert "rapidfuzz" in loaded
    assert not {"airflow", "duckdb", "ibis", "numpy", "pandas", "pyarrow", "sqlalchemy"}.intersection(loaded)
