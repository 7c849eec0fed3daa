"""The benchmark of the page in Airflow: the time of a request, by a real API server, and its share of processor time.

    python benchmarks/page.py [--syncs 100] [--days 50] [--requests 20] [--json f.json]

Sums of runs are kept until the ledger has another one, so a page is also asked for after one. Each sync has a load and
a run of the fast lane a day. On a busy machine the processor time is the figure that says what a request costs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from measure import parser, show, write_figures

if TYPE_CHECKING:
    from support.airflow_server import AirflowServer

_TESTS = Path(__file__).resolve().parent.parent / "tests"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--syncs", type=int, default=100)
    arguments.add_argument("--days", type=int, default=50)
    arguments.add_argument("--requests", type=int, default=20)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        figures = measured(Path(name), syncs=given.syncs, days=given.days, requests=given.requests)
    show(
        f"The page in Airflow, {given.syncs:,} syncs with {2 * given.syncs * given.days:,} runs",
        ["page", "median ms", "slowest ms", "processor ms"],
        [[name, *(f"{one:.0f}" for one in times.values())] for name, times in figures.items()],
    )
    write_figures(given.json, figures)


def measured(folder: Path, *, syncs: int, days: int, requests: int) -> dict[str, dict[str, float]]:
    """Return the times of each page in milliseconds."""
    workspace = folder / "workspace"
    workspace.mkdir()
    sys.path.insert(0, str(_TESTS))
    # Airflow reads its settings when it is first imported.
    os.environ.update(
        {
            "AIRFLOW_HOME": str(folder / "first"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
            "AIRFLOW__CONSENT_RETL__WORKSPACE": workspace.as_uri(),
        }
    )
    from airflow.utils.db import initdb
    from support.airflow_server import airflow_server
    from support.sync_figures import MODELS, PLACE, Sized, write_policies, write_runs

    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.sight.addresses import policy_page, sync_page
    from airflow_consent_retl.storage.location import policy_archive

    initdb()
    now = datetime.now(UTC)
    write_runs(workspace / "ledger.db", Sized(syncs, days), at=now)
    write_policies(policy_archive(), at=now)

    def another_run() -> None:
        with Ledger.sqlite(workspace / "ledger.db") as ledger:
            with ledger.history() as history:
                last = history.runs(limit=1)[0]
            ledger.note_run(replace(last, ended_at=datetime.now(UTC), delivery=None, id=0))

    pages = {
        "all syncs, 30 days": "/consent-retl/?days=30",
        "all syncs, 30 days, after another run": "/consent-retl/?days=30",
        "all syncs, 365 days": "/consent-retl/?days=365",
        "one sync, 365 days": f"{sync_page('leads/webhook')}&days=365",
        "policy": policy_page(PLACE),
    }
    with airflow_server(folder / "home", database=folder / "airflow.db", dags=list(MODELS)) as server:
        return {
            name: _times(server, address, requests, before=another_run if "another run" in name else None)
            for name, address in pages.items()
        }


def _times(
    server: AirflowServer, address: str, requests: int, *, before: Callable[[], None] | None
) -> dict[str, float]:
    def ask() -> None:
        answer = server.get(address, user="admin")
        assert answer.status == 200, answer.text

    # The first one imports the page.
    ask()
    begun, taken = server.processor_s, []
    for _ in range(requests):
        if before is not None:
            before()
        taken.append(_taken(ask))
    used = server.processor_s - begun
    return {
        "median_ms": 1000 * median(taken),
        "slowest_ms": 1000 * max(taken),
        "processor_ms": 1000 * used / requests,
    }


def _taken(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
