"""Runs `dags/quickstart.py` through Airflow, on invented customers, and shows who got what and why the rest did not.

python dags/demo/run.py [--rows 100000] [--home .demo]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

DEMO = Path(__file__).resolve().parent


def main() -> int:
    """Prepare, run, report; returns 0 if every task succeeded and every number adds up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000, help="number of invented customers")
    parser.add_argument("--home", type=Path, default=Path(".demo"), help="folder for everything the demo writes")
    arguments = parser.parse_args()
    home = arguments.home.absolute()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    sys.path.insert(0, str(DEMO))
    from ads_server import ads_server
    from customers import make_warehouse

    print(f"making a warehouse of {arguments.rows:,} invented customers: {home / 'warehouse.duckdb'}")
    make_warehouse(home / "warehouse.duckdb", rows=arguments.rows)
    with ads_server() as (port, received):
        environment = demo_environment(home, port)
        airflow(["db", "migrate"], environment, log=home / "airflow-db.log")
        print("running the DAG consent_quickstart (dags/quickstart.py) in Airflow\n")
        started = time.monotonic()
        code = airflow(["dags", "test", "consent_quickstart"], environment, log=home / "run.log", echo=True)
        duration_s = time.monotonic() - started
    if code:
        print(f"\nthe DAG run failed; Airflow's whole log is in {home / 'run.log'}")
        return code
    return report(home, received_rows=len(received.accepted), duration_s=duration_s)


def demo_environment(home: Path, port: int) -> dict[str, str]:
    """Return the environment that gives Airflow its home, its connections and the policy."""
    ads = {"conn_type": "http", "host": "127.0.0.1", "port": port, "extra": {"allow_private": True}}
    # Nothing of an Airflow that this shell may know of.
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
    }


_LINE = re.compile(r"\d{4}-\d\d-\d\dT(?P<time>\d\d:\d\d:\d\d)\S* \[(?P<level>\w+) *\] (?P<message>.*)")
_TASK = re.compile(r"\[DAG TEST\] starting task_id=(?P<task>\w+)")
_LOGGER = re.compile(r" *\[(airflow\.task\.operators\.)?airflow_consent_retl\.[^]]*\] loc=\S+$")


def airflow(arguments: list[str], environment: dict[str, str], *, log: Path, echo: bool = False) -> int:
    """Run Airflow's command line, keep all that it prints in a file, and show what this package's tasks log."""
    command = [str(Path(sys.executable).with_name("airflow")), *arguments]
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        entry: list[str] = []
        for line in process.stdout or ():
            file.write(line)
            if _LINE.match(line) and echo:
                show(entry)
                entry = []
            entry.append(line.rstrip())
        if echo:
            show(entry)
    return process.wait()


def show(entry: list[str]) -> None:
    """Print one entry of Airflow's log, of several lines perhaps, if it is about the work and not about Airflow."""
    head = _LINE.match(entry[0]) if entry else None
    if head is None:
        return
    if task := _TASK.match(head["message"]):
        print(f"\n--- task {task['task']}")
    elif _LOGGER.search(entry[-1]):
        level = "" if head["level"] == "info" else f"{head['level'].upper()}: "
        text = "\n".join([head["message"], *entry[1:]])
        print(f"{head['time']} {level}{_LOGGER.sub('', text)}")


def report(home: Path, *, received_rows: int, duration_s: float) -> int:
    """Show the outcome from what each side really holds, and compare it with what the tasks said."""
    from tabulate import tabulate

    loads = load_counts(home / "airflow" / "airflow.db")
    arrived = {"ads_webhook": received_rows, "crm_table": crm_rows(home), "lake": lake_rows(home)}
    rows, consistent = [], True
    for name, counts in sorted(loads.items()):
        reasons = counts["denied_by_reason"]
        assert isinstance(reasons, dict)
        why = ", ".join(f"{reason} {rows:,}" for reason, rows in sorted(reasons.items(), key=lambda item: -item[1]))
        numbers = [counts[key] for key in ("read", "permitted", "denied", "accepted", "rejected")]
        rows.append([name, *(f"{n:,}" for n in numbers), f"{arrived[name]:,}", why])
        consistent = consistent and counts["accepted"] == arrived[name]
    headers = ["destination", "read", "permitted", "denied", "accepted", "rejected", "found there", "denied because"]
    print(f"\n{'=' * 40} who got what {'=' * 40}\n")
    print(tabulate(rows, headers=headers, colalign=("left", *["right"] * 6, "left"), disable_numparse=True))
    print(f"\nA customer may be denied for several reasons. The run took {duration_s:.0f} s. Where to look:")
    print(f"  CRM table      {home / 'crm.sqlite'}  (table people)")
    print(f"  analytics      {home / 'exports' / 'lake'}  (Parquet; _current.json names the version)")
    print(f"  decision log   {home / 'workspace' / 'permitted'}  (keyed digests, with the reasons)")
    print(f"  Airflow's log  {home / 'run.log'}")
    print("  policy         dags/demo/policy.json: change it, and run `make demo` again")
    if not consistent:
        print("\nthe numbers do not add up: what the tasks said is not what arrived")
    return 0 if consistent and loads else 1


def load_counts(database: Path) -> dict[str, dict[str, object]]:
    """Return what each load returned, by destination, as Airflow keeps it."""
    with sqlite3.connect(database) as metadata:
        found = metadata.execute("SELECT value FROM xcom WHERE key = 'return_value' AND task_id LIKE 'load_%'")
        counts = [json.loads(value) for (value,) in found]
    decoded = [json.loads(value) if isinstance(value, str) else value for value in counts]
    return {value["destination"]: value for value in decoded}


def crm_rows(home: Path) -> int:
    """Count the rows that the CRM's table really holds."""
    with sqlite3.connect(home / "crm.sqlite") as crm:
        return int(crm.execute("SELECT count(*) FROM people").fetchone()[0])


def lake_rows(home: Path) -> int:
    """Count the rows that the exported files really hold."""
    import duckdb

    found = duckdb.execute("SELECT count(*) FROM read_parquet(?)", [f"{home / 'exports' / 'lake'}/*/*.parquet"])
    return int(found.fetchall()[0][0])


if __name__ == "__main__":
    sys.exit(main())
