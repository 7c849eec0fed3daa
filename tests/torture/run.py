"""Runs scenarios and prints what happened and what was violated.

    PYTHONPATH=tests python -m torture.run --seeds 10 --seconds 60

Exits with 1 where a promise was broken; the evidence of that seed stays in the folder that is named then.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

from torture.checker import Verdict, check
from torture.evidence import Evidence, Worker, read_evidence
from torture.worker import CONCURRENCY, LEASE_TTL_S, MAX_RETRY_S, RECHECK_INTERVAL_S, SETTLE_S, TIMEOUT_S

# The batches that one answer of the source is good for are sent in two rounds, each as long as a batch may take; then
# the machine may be busy.
BOUND_S = RECHECK_INTERVAL_S + 2 * (MAX_RETRY_S + TIMEOUT_S) + 1.0
# It counts from when the lease of a worker that died ran out.
_SETTLE_S = SETTLE_S + LEASE_TTL_S + 1.0


@contextmanager
def _files(folder: Path) -> Iterator[dict[str, str]]:
    """A workspace in files with a ledger beside it."""
    yield {"AIRFLOW__CONSENT_RETL__WORKSPACE": f"file://{folder}/workspace"}


@contextmanager
def _objects(kind: str, folder: Path) -> Iterator[dict[str, str]]:
    """A workspace in object storage with a ledger in PostgreSQL, both new."""
    from support.object_storage import running_storage
    from support.postgres import running_postgres

    with running_storage(kind) as storage, running_postgres() as ledger:
        yield {
            **storage.environment,
            "AIRFLOW__CONSENT_RETL__WORKSPACE": f"{storage.uri}/{folder.name}",
            "AIRFLOW__CONSENT_RETL__LEDGER_CONN_ID": "ledger",
            "AIRFLOW__CONSENT_RETL__DIGEST_KEY": secrets.token_hex(32),
            "AIRFLOW_CONN_LEDGER": ledger.airflow_connection(),
        }


STORES: dict[str, Callable[[Path], AbstractContextManager[dict[str, str]]]] = {
    "files": _files,
    "gs": partial(_objects, "gs"),
    "s3": partial(_objects, "s3"),
}


def main(arguments: list[str]) -> int:
    """Run all seeds, one after the other, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60, help="of misbehaviour, for each seed")
    parser.add_argument("--workspace", choices=sorted(STORES), default="files", help="where rows are kept")
    parser.add_argument(
        "--target", choices=["vendor", "table"], default="vendor", help="a table's server is killed too"
    )
    parser.add_argument("--kill-at", nargs="*", default=[], help="only kill one load at each of these steps")
    parser.add_argument("--keep", action="store_true", help="leave the evidence, also where nothing is wrong")
    parser.add_argument("--json", action="store_true", help="print one line of JSON for each seed instead")
    options = parser.parse_args(arguments)
    home = Path(tempfile.mkdtemp(prefix="consent-retl-torture-"))
    _import_all(home)
    figures, violations = [], 0
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        folder = home / f"seed-{seed}"
        folder.mkdir()
        with STORES[options.workspace](folder) as environment:
            os.environ.update(environment)
            if options.target == "table":
                found = run_table_seed(seed, folder, seconds=options.seconds)
            else:
                found = run_seed(seed, folder, seconds=options.seconds, kill_at=options.kill_at)
        figures.append(found)
        violations += len(found["violations"])
        if options.json:
            _say(json.dumps(found))
        else:
            _say(f"seed {seed}: {len(found['violations'])} violations in {found['seconds']:.0f} s")
            for violation in found["violations"]:
                _say(f"  {violation}")
        if found["violations"] or options.keep:
            _say(f"  evidence: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)
    if not options.json:
        _say(tables(figures))
    if not violations and not options.keep:
        shutil.rmtree(home)
    return 1 if violations else 0


def run_seed(seed: int, folder: Path, *, seconds: float, kill_at: Sequence[str] = ()) -> dict[str, Any]:
    """Run one scenario, check it, and return its figures.

    Args:
        seed: decides what happens.
        folder: an empty one.
        seconds: of misbehaviour.
        kill_at: steps; with some, nothing else happens than that a load is killed at each.
    """
    from torture.scenario import Scenario

    began = time.monotonic()
    scenario = Scenario(seed, folder)
    if kill_at:
        scenario.run_calmly(kill_at)
    else:
        scenario.run(until=began + seconds)
    took = time.monotonic() - began
    evidence = read_evidence(folder, bound_s=BOUND_S, concurrency=CONCURRENCY, settle_s=_SETTLE_S)
    return _figures(seed, evidence, check(evidence), took)


def run_table_seed(seed: int, folder: Path, *, seconds: float) -> dict[str, Any]:
    """Run one scenario with a table as the target, check it, and return its figures."""
    from torture.table import TableScenario, check_table

    began = time.monotonic()
    scenario = TableScenario(seed, folder)
    scenario.run(until=began + seconds)
    took = time.monotonic() - began
    evidence = read_evidence(folder, bound_s=BOUND_S, concurrency=CONCURRENCY, settle_s=_SETTLE_S)
    return _figures(seed, evidence, check_table(evidence), took) | {"server_kills": scenario.server_kills}


def _figures(seed: int, evidence: Evidence, verdict: Verdict, took: float) -> dict[str, Any]:
    return {
        "seed": seed,
        **_counted(evidence),
        "server_kills": 0,
        "duplicates": {str(reason): count for reason, count in sorted(verdict.duplicates.items())},
        "longest_after_withdrawal_s": round(verdict.longest_after_withdrawal_s, 3),
        "violations": [f"{violation.rule}: {violation.what}" for violation in verdict.violations],
        "seconds": round(took, 1),
    }


def tables(figures: list[dict[str, Any]]) -> str:
    """Return the table of all seeds, and what is counted over all of them."""
    from tabulate import tabulate

    columns: dict[str, Callable[[dict[str, Any]], Any]] = {
        "seed": lambda f: f["seed"],
        "attempts": lambda f: f["attempts"],
        "kills": lambda f: sum(f["kills"].values()),
        "stops": lambda f: f["stops"],
        "server kills": lambda f: f["server_kills"],
        "requests": lambda f: f["requests"],
        "faults": lambda f: sum(f["faults"].values()),
        "additions": lambda f: f["additions"],
        "removals": lambda f: f["removals"],
        "clears": lambda f: f["clears"],
        "withheld": lambda f: f["withheld"],
        "sent again": lambda f: sum(f["duplicates"].values()),
        "after withdrawal, s": lambda f: f["longest_after_withdrawal_s"],
        "violations": lambda f: len(f["violations"]),
        "seconds": lambda f: f["seconds"],
    }
    rows = [[value(found) for value in columns.values()] for found in figures]
    highest = {"after withdrawal, s"}
    total: list[object] = ["all"]
    total += [
        (max if name in highest else sum)(row[number] for row in rows)
        for number, name in enumerate(columns)
        if name != "seed"
    ]
    parts = [tabulate([*rows, total], headers=list(columns), tablefmt="github", floatfmt=",.1f", intfmt=",")]
    for name in ("kills", "faults", "outcomes", "duplicates"):
        summed: Counter[str] = Counter()
        for found in figures:
            summed.update(found[name])
        parts.append(f"{name}: " + ", ".join(f"{what} {count:,}" for what, count in summed.most_common()))
    return "\n\n".join(parts)


def _counted(evidence: Evidence) -> dict[str, Any]:
    loads = [worker for worker in evidence.workers if worker.kind != "filter"]
    kills = Counter(worker.killed_at_step or "anywhere" for worker in loads if worker.killed_at_step is not None)
    faults = Counter(request.fault for request in evidence.requests if request.fault != "none")
    added = [len(request.rows) - len(request.rejected) for request in evidence.applied if request.adds]
    removed = [len(request.rows) for request in evidence.applied if request.removes]
    return {
        "attempts": len(loads),
        "kills": dict(kills),
        "stops": sum(worker.stopped_ns > 0 for worker in loads),
        "outcomes": dict(Counter(worker.outcome or "killed" for worker in loads)),
        "requests": len(evidence.requests),
        "faults": dict(faults),
        "additions": sum(added),
        "removals": sum(removed),
        "clears": sum(len(request.rows) for request in evidence.applied if request.clears),
        "withheld": sum(_withheld(worker) for worker in loads),
    }


def _withheld(worker: Worker) -> int:
    return int(worker.counts.get("withheld", 0))


def _import_all(home: Path) -> None:
    """Import once what every worker uses, under an Airflow of its own."""
    os.environ.update(
        {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            # A library that starts threads of its own could not be taken into a forked process.
            "OPENBLAS_NUM_THREADS": "1",
        }
    )
    with warnings.catch_warnings():
        # Airflow's own import warnings are Airflow's.
        warnings.simplefilter("ignore")
        package = import_module("airflow_consent_retl")
        for module in walk_packages(package.__path__, f"{package.__name__}."):
            # gRPC and pytest have no place in these workers.
            if "google" not in module.name and not module.name.startswith(f"{package.__name__}.testing"):
                import_module(module.name)
        import_module("tabulate")
        _warm_up(home)


def _warm_up(home: Path) -> None:
    """Have Airflow and Ibis discover what they would discover in each worker anew: a second for each of them."""
    import ibis
    from airflow.sdk import BaseHook

    from airflow_consent_retl.operators import LoadToWebhookOperator
    from airflow_consent_retl.storage.location import open_folder

    os.environ["AIRFLOW_CONN_SOURCE"] = json.dumps({"conn_type": "sqlite", "host": str(home / "source.db")})
    BaseHook.get_connection("source").get_hook()  # type: ignore[no-untyped-call]
    open_folder(f"file://{home}")
    LoadToWebhookOperator(task_id="none", permitted={}, destination="ads", fields={}, conn_id="", endpoint="")
    ibis.to_sql(ibis.table({"id": "int64"}, name="customers"), dialect="duckdb")


def _say(text: str, *, file: Any = None) -> None:
    print(text, file=file or sys.stdout, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
