"""The command that runs every benchmark for the figures of `docs/how-fast.md`.

It takes some hours, and a few minutes with `--quick`.

python benchmarks/all.py [--quick]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FULL = [
    ["imports.py"],
    ["task_start.py"],
    ["filter.py", "--pandas", "--flat", "50000000"],
    ["readers.py"],
    ["extract.py"],
    ["webhook.py"],
    ["vendors.py"],
    ["extract_postgres.py", "--rows", "5000000"],
    ["extract_snowflake.py", "--rows", "5000000"],
    ["extract_bigquery.py", "--rows", "5000000"],
    ["pushdown.py"],
    ["load_sql.py"],
    ["changes.py"],
    ["consent_source.py"],
    ["delivery.py"],
    ["day.py", "--pairs", "5"],
    ["day.py", "--rows", "10000000", "--pairs", "5"],
    ["person_records.py"],
    ["page.py"],
]
QUICK = [
    ["imports.py"],
    ["task_start.py"],
    ["filter.py", "--rows", "1000000", "--pandas"],
    ["readers.py", "--rows", "200000", "--rounds", "1"],
    ["extract.py", "--rows", "1000000", "--cursor-rows", "200000", "--repeat", "1"],
    ["webhook.py", "--rows", "50000", "--drt-rows", "10000"],
    ["vendors.py", "--rows", "4000"],
    ["extract_postgres.py", "--repeat", "1"],
    ["extract_snowflake.py", "--repeat", "1"],
    ["extract_bigquery.py", "--repeat", "1"],
    ["pushdown.py", "--rows", "100000"],
    ["load_sql.py", "--rows", "50000", "--slow-rows", "2000", "--repeat", "1"],
    ["changes.py", "--rows", "1000000"],
    ["consent_source.py", "--rows", "500000"],
    ["delivery.py", "--rows", "100000"],
    ["day.py", "--rows", "100000"],
    ["person_records.py", "--rows", "200000", "--runs", "50"],
    ["page.py", "--requests", "5"],
]


def main() -> None:
    for script, *arguments in QUICK if "--quick" in sys.argv[1:] else FULL:
        subprocess.run([sys.executable, str(HERE / script), *arguments], check=True)


if __name__ == "__main__":
    main()
