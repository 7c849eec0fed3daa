"""The command that runs `dags/quickstart.py` through Airflow, on invented customers, and shows the outcome.

python dags/demo/run.py [--rows 100000] [--home .demo]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sqlite3
import sys
import time
from pathlib import Path

DEMO = Path(__file__).resolve().parent


def main() -> int:
    """Prepare, run and report. Return 0 if every task succeeded and all numbers add up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000, help="number of invented customers")
    parser.add_argument("--home", type=Path, default=Path(".demo"), help="folder for everything the demo writes")
    arguments = parser.parse_args()
    home = arguments.home.absolute()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    sys.path.insert(0, str(DEMO))
    from ads_server import ads_server
    from airflow_process import airflow_process
    from customers import make_warehouse, next_day

    print(f"making a warehouse of {arguments.rows:,} invented customers: {home / 'warehouse.duckdb'}")
    make_warehouse(home / "warehouse.duckdb", rows=arguments.rows)
    with ads_server() as (port, received), airflow_process(demo_environment(home, port)) as airflow:
        airflow.run("db", "migrate", log=home / "airflow-db.log")
        print("running the DAG consent_quickstart (dags/quickstart.py) in Airflow\n")
        for day in ("first", "second"):
            log = home / f"{day}-run.log"
            started = time.monotonic()
            code = airflow.run("dags", "test", "consent_quickstart", log=log, echo=day == "first")
            if code:
                print(f"\nthe DAG run failed; Airflow's whole log is in {log}")
                return code
            code = report(home, day, received_rows=len(received.accepted), duration_s=time.monotonic() - started)
            if code or day == "second":
                return code
            print(f"\nthe next day: {next_day(home / 'warehouse.duckdb')}; running the DAG again")
    return 1


def demo_environment(home: Path, port: int) -> dict[str, str]:
    """Return the environment variables that set Airflow's home, its connections and the policy."""
    ads = {"conn_type": "http", "host": "127.0.0.1", "port": port, "extra": {"allow_private": True}}
    # No settings of another Airflow in this shell.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return {
        **inherited,
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DEMO.parent),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__CONSENT_RETL__WORKSPACE": (home / "workspace").as_uri(),
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "duckdb", "host": str(home / "warehouse.duckdb")}),
        "AIRFLOW_CONN_CRM": json.dumps({"conn_type": "sqlite", "host": str(home / "crm.sqlite")}),
        "AIRFLOW_CONN_ADS_HTTP": json.dumps(ads),
        "AIRFLOW_VAR_CONSENT_POLICY": (DEMO / "policy.json").read_text(),
        "QUICKSTART_EXPORTS": (home / "exports").as_uri(),
        "QUICKSTART_REPORT": str(home / "report.html"),
    }


# The counts that are shown for each load, by day.
SHOWN = {
    "first": ("read", "permitted", "denied", "accepted", "rejected"),
    "second": ("permitted", "added", "updated", "unchanged", "removed", "rejected"),
}


def report(home: Path, day: str, *, received_rows: int, duration_s: float) -> int:
    """Show the rows that each destination really contains, and compare them with the counts of the tasks."""
    from tabulate import tabulate

    loads = load_counts(home / "airflow" / "airflow.db")
    arrived = {"ads_webhook": received_rows, "crm_table": crm_rows(home), "lake": lake_rows(home)}
    rows, consistent = [], True
    for name, counts in sorted(loads.items()):
        causes = counts["denied_by_reason"] if day == "first" else counts["removals_by_cause"]
        assert isinstance(causes, dict)
        why = ", ".join(
            f"{cause} {rows:,}" for cause, rows in sorted(causes.items(), key=lambda item: -item[1]) if rows
        )
        rows.append([name, *(f"{counts[key]:,}" for key in SHOWN[day]), f"{arrived[name]:,}", why])
        # Rejected rows are not at the destination; each run tries them again.
        consistent = consistent and int(str(counts["permitted"])) - int(str(counts["rejected"])) == arrived[name]
    headers = ["destination", *SHOWN[day], "found there", "denied because" if day == "first" else "removed because"]
    print(f"\n{'=' * 40} who got what, the {day} day {'=' * 40}\n")
    align = ("left", *["right"] * (len(headers) - 2), "left")
    print(tabulate(rows, headers=headers, colalign=align, disable_numparse=True))
    print(f"\nThe run took {duration_s:.0f} s.")
    if day == "first" and consistent and loads:
        return 0
    print("Where to look:")
    print(f"  CRM table      {home / 'crm.sqlite'}  (table people)")
    print(f"  analytics      {home / 'exports' / 'lake'}  (Parquet; _current.json names the version)")
    print(f"  decision log   {home / 'workspace' / 'permitted'}  (keyed digests, with the reasons)")
    print(f"  deliveries     {home / 'workspace' / 'ledger.db'}  (leases, batches, outcomes; no personal data)")
    print(f"  Airflow's log  {home / 'first-run.log'}, {home / 'second-run.log'}")
    print("  policy         dags/demo/policy.json: change it and run `make demo` again")
    print(f"\nThe report about both days, for a browser or a printer: {(home / 'report.html').as_uri()}")
    if not consistent:
        print("\nthe numbers do not add up: the counts of the tasks differ from the rows at the destinations")
    return 0 if consistent and loads else 1


def load_counts(database: Path) -> dict[str, dict[str, object]]:
    """Return the return values of the latest run's loads from Airflow's database, by destination."""
    with sqlite3.connect(database) as metadata:
        found = metadata.execute(
            "SELECT value FROM xcom WHERE key = 'return_value' AND task_id LIKE '%load_%' "
            "AND dag_run_id = (SELECT max(dag_run_id) FROM xcom)"
        )
        counts = [json.loads(value) for (value,) in found]
    decoded = [json.loads(value) if isinstance(value, str) else value for value in counts]
    return {value["destination"]: value for value in decoded}


def crm_rows(home: Path) -> int:
    """Count the rows in the CRM's table."""
    with sqlite3.connect(home / "crm.sqlite") as crm:
        return int(crm.execute("SELECT count(*) FROM people").fetchone()[0])


def lake_rows(home: Path) -> int:
    """Count the rows in the exported files."""
    import duckdb

    found = duckdb.execute("SELECT count(*) FROM read_parquet(?)", [f"{home / 'exports' / 'lake'}/*/*.parquet"])
    return int(found.fetchall()[0][0])


if __name__ == "__main__":
    sys.exit(main())
