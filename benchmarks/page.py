"""The benchmark of the page in Airflow: the time of a request, by a real API server, and its share of processor time.

    python benchmarks/page.py [--syncs 100] [--days 50] [--requests 20] [--ledger sqlite|postgresql] [--json f.json]

Each page is also the first one that a new server is asked for, once the server has been up for some seconds. Sums of
runs are kept until the ledger has another one, so a page is also asked for after one. Each sync has a load and a run of
the fast lane a day. On a busy machine the processor time is the figure that says what a request costs.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from measure import parser, show, write_figures

if TYPE_CHECKING:
    from support.airflow_server import AirflowServer

_TESTS = Path(__file__).resolve().parent.parent / "tests"
_AT_REST_S = 1.0


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--syncs", type=int, default=100)
    arguments.add_argument("--days", type=int, default=50)
    arguments.add_argument("--requests", type=int, default=20)
    arguments.add_argument("--ledger", choices=("sqlite", "postgresql"), default="sqlite")
    given = arguments.parse_args()
    sys.path.insert(0, str(_TESTS))
    with tempfile.TemporaryDirectory() as name, _ledger(given.ledger, Path(name)) as ledger:
        figures = measured(Path(name), ledger, syncs=given.syncs, days=given.days, requests=given.requests)
    show(
        f"The page in Airflow, {given.syncs:,} syncs with {2 * given.syncs * given.days:,} runs, {given.ledger}",
        ["page", "first ms", "its processor ms", "median ms", "slowest ms", "processor ms"],
        [[name, *(f"{one:.0f}" for one in times.values())] for name, times in figures.items()],
    )
    write_figures(given.json, figures)


def measured(folder: Path, ledger: str, *, syncs: int, days: int, requests: int) -> dict[str, dict[str, float]]:
    """Return the times of each page in milliseconds."""
    workspace = folder / "workspace"
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
    from support.ledgers import opened
    from support.sync_figures import MODELS, PLACE, Sized, write_policies, write_runs

    from airflow_consent_retl.sight.addresses import policy_page, sync_page
    from airflow_consent_retl.storage.location import policy_archive

    initdb()
    now = datetime.now(UTC)
    write_runs(ledger, Sized(syncs, days), at=now)
    write_policies(policy_archive(), at=now)

    def another_run() -> None:
        with opened(ledger) as open_ledger:
            with open_ledger.history() as history:
                last = history.runs(limit=1)[0]
            open_ledger.note_run(replace(last, ended_at=datetime.now(UTC), delivery=None, id=0))

    pages = {
        "all syncs, 30 days": "/consent-retl/?days=30",
        "all syncs, 30 days, after another run": "/consent-retl/?days=30",
        "all syncs, 365 days": "/consent-retl/?days=365",
        "one sync, 365 days": f"{sync_page('leads/webhook')}&days=365",
        "policy": policy_page(PLACE),
    }
    found = {}
    for number, (name, address) in enumerate(pages.items()):
        home = folder / f"home{number}"
        with airflow_server(home, database=folder / "airflow.db", dags=list(MODELS)) as server:
            before = another_run if "another run" in name else None
            found[name] = _times(server, address, requests, before=before)
    return found


@contextmanager
def _ledger(kind: str, folder: Path) -> Iterator[str]:
    """Yield the URL of an empty ledger, which the server's settings name."""
    (folder / "workspace").mkdir()
    if kind == "sqlite":
        yield f"sqlite:///{folder}/workspace/ledger.db"
        return
    from support.postgres import running_postgres

    with running_postgres() as server:
        os.environ["AIRFLOW_CONN_LEDGER"] = server.airflow_connection()
        os.environ["AIRFLOW__CONSENT_RETL__LEDGER_CONN_ID"] = "ledger"
        yield f"postgresql+psycopg://{server.user}@/{server.database}?host={server.socket_folder}"


def _times(
    server: AirflowServer, address: str, requests: int, *, before: Callable[[], None] | None
) -> dict[str, float]:
    def ask() -> None:
        answer = server.get(address, user="admin")
        assert answer.status == 200, answer.text

    server.token("admin")
    _await_rest(server)
    begun = server.processor_s
    first, first_used = _taken(ask), server.processor_s - begun
    begun, taken = server.processor_s, []
    for _ in range(requests):
        if before is not None:
            before()
        taken.append(_taken(ask))
    used = server.processor_s - begun
    return {
        "first_ms": 1000 * first,
        "first_processor_ms": 1000 * first_used,
        "median_ms": 1000 * median(taken),
        "slowest_ms": 1000 * max(taken),
        "processor_ms": 1000 * used / requests,
    }


def _await_rest(server: AirflowServer) -> None:
    """Wait until the server does nothing more of its start."""
    used = -1.0
    while server.processor_s - used > 0.02 * _AT_REST_S:
        used = server.processor_s
        time.sleep(_AT_REST_S)


def _taken(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
