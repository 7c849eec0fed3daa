"""One worker: it runs the real operators in its own process, and dies or stops at a given step.

It is forked from a parent that has imported everything, so a scenario has hundreds of workers in a minute. Each step of
the protocol is written to the journal with its time when it is reached.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_consent_retl.operators import LoadOperator

CONCURRENCY = 3
BATCH_ROWS = 20
REMOVAL_ROWS = 8
TIMEOUT_S = 1.0
MAX_RETRY_S = 1.0
LEASE_TTL_S = 1.0
RECHECK_INTERVAL_S = 0.2
# A request that was never answered may still take effect: the longest stop, and the longest effect after that.
SETTLE_S = 5.0

_STEPS = "airflow_consent_retl.delivery.steps"
_POLICY = {
    "categories": [
        {"id": "C0004", "name": "Advertising", "destinations": ["ads"]},
        {"id": "C0005", "name": "E-mail", "fields": {"ads": ["email"]}},
    ]
}
_CONSENT = {"C0004": "ads_ok", "C0005": "mail_ok"}
_MODEL: dict[str, Any] = {
    "model": "customers",
    "conn_id": "source",
    "sql": "SELECT id, email, version, ads_ok, mail_ok FROM customers",
    "primary_key": "id",
    "column_types": {"ads_ok": "bool", "mail_ok": "bool", "version": "int64"},
}


@dataclass(frozen=True, slots=True)
class Fall:
    """Where a worker falls: at the n-th time that it reaches a step, counted from 1.

    Args:
        step: of the protocol.
        time: which time.
        stops: whether it is only stopped, and its parent continues it; otherwise it kills itself.
    """

    step: str
    time: int
    stops: bool = False


class Journal:
    """Lines of JSON that several processes append to one file."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def write(self, worker: str, event: str, **details: object) -> None:
        """Write one line, in one call: it is there when this returns, or not at all."""
        line = json.dumps({"worker": worker, "event": event, "at": time.time_ns(), **details})
        os.write(self._descriptor, line.encode() + b"\n")


@dataclass(frozen=True)
class Place:
    """Where workers work. Their workspace and ledger are in the environment.

    Args:
        folder: of the scenario.
        vendor_port: of the vendor, on this machine.
        journal: of all workers.
        table: a connection, as Airflow writes it, with a table `people` to load into; None: the vendor is the target.
        ledger: a connection for the ledger; None: the workspace's own.
    """

    folder: Path
    vendor_port: int
    journal: Journal
    table: str | None = None
    ledger: str | None = None

    def permitted(self, run: int) -> Path:
        """Return the file with the reference to a permitted set."""
        return self.folder / f"permitted-{run}.json"


class _Faller(logging.Handler):
    """Writes each step to the journal, and falls."""

    def __init__(self, journal: Journal, name: str, fall: Fall | None) -> None:
        super().__init__(logging.DEBUG)
        self._journal = journal
        self._name = name
        self._fall = fall
        self._times = 0

    def emit(self, record: logging.LogRecord) -> None:
        step = str(record.msg)
        self._journal.write(self._name, "step", step=step)
        if self._fall is None or step != self._fall.step:
            return
        self._times += 1
        if self._times == self._fall.time:
            if self._fall.stops:
                os.kill(os.getpid(), signal.SIGSTOP)
            else:
                self._journal.write(self._name, "dies", step=step)
                os.kill(os.getpid(), signal.SIGKILL)


def work(place: Place, *, name: str, kind: str, run: int, fall: Fall | None) -> bool:
    """Do one worker's work in this process, journal how it ended, and return whether it ended well.

    Args:
        place: where.
        name: of the worker.
        kind: `filter`, `load`, `quiet`, which is a load too, or `withdraw`, the fast lane.
        run: the number of the permitted set that is made or loaded.
        fall: where it falls, if it does.
    """
    output = os.open(place.folder / "output.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(output, 1)
    os.dup2(output, 2)
    steps = logging.getLogger(_STEPS)
    steps.setLevel(logging.DEBUG)
    steps.propagate = False
    steps.addHandler(_Faller(place.journal, name, fall))
    _set_connections(place, name)
    place.journal.write(name, "began", kind=kind, run=run)
    outcome, counts = "ok", {}
    try:
        if kind == "filter":
            _extract_and_filter(place, run)
        elif kind == "withdraw":
            _withdraw(place)
        else:
            counts = _load(place, run)
    except Exception as error:  # noqa: BLE001 - the journal records any error, and the checker judges it
        outcome = type(error).__name__
        sys.stderr.write(f"{name}: {traceback.format_exc()}\n")
    place.journal.write(name, "ended", outcome=outcome, counts=counts)
    return outcome == "ok"


def _set_connections(place: Place, name: str) -> None:
    vendor = {
        "conn_type": "http",
        "host": "127.0.0.1",
        "port": place.vendor_port,
        # The token names the worker: other headers would be part of the target.
        "extra": {"allow_private": True, "token": name},
    }
    os.environ["AIRFLOW_CONN_VENDOR"] = json.dumps(vendor)
    if place.table is not None:
        os.environ["AIRFLOW_CONN_TABLE"] = place.table
    if place.ledger is not None:
        os.environ["AIRFLOW_CONN_LEDGER"] = place.ledger
        os.environ["AIRFLOW__CONSENT_RETL__LEDGER_CONN_ID"] = "ledger"
    os.environ["AIRFLOW_CONN_SOURCE"] = json.dumps({"conn_type": "sqlite", "host": str(place.folder / "source.db")})


def _extract_and_filter(place: Place, run: int) -> None:
    from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator

    snapshot = ExtractModelOperator(task_id="extract", **_MODEL).execute({})
    permitted = ConsentFilterOperator(
        task_id="consent",
        snapshot=snapshot,
        policy=_POLICY,
        consent=_CONSENT,
        destinations=["ads"],
    ).execute({})
    place.permitted(run).write_text(json.dumps(permitted))


def _load(place: Place, run: int) -> dict[str, Any]:
    permitted = json.loads(place.permitted(run).read_text())
    load = _load_operator(place)(
        task_id="load",
        permitted=permitted,
        destination="ads",
        policy=_POLICY,
        recheck_interval_s=RECHECK_INTERVAL_S,
        max_removed_ratio=None,
        max_rejected_ratio=1.0,
        settle_s=SETTLE_S,
        lease_ttl_s=LEASE_TTL_S,
        lease_wait_s=2 * LEASE_TTL_S,
    )
    counts: dict[str, Any] = load.execute({})
    return counts


def _withdraw(place: Place) -> None:
    from airflow_consent_retl.operators import PropagateWithdrawalsOperator

    PropagateWithdrawalsOperator(
        task_id="withdrawals",
        **_MODEL,
        policy=_POLICY,
        consent=_CONSENT,
        loads={"ads": _load_operator(place)},
        max_removed_ratio=None,
        settle_s=SETTLE_S,
        lease_ttl_s=LEASE_TTL_S,
        lease_wait_s=2 * LEASE_TTL_S,
    ).execute({})


def _load_operator(place: Place) -> Callable[..., LoadOperator]:
    from airflow_consent_retl.operators import LoadToSqlTableOperator, LoadToWebhookOperator

    common: dict[str, Any] = {
        "fields": {"id": "id", "email": "email", "version": "version"},
        "batch_rows": BATCH_ROWS,
    }
    if place.table is not None:
        return partial(LoadToSqlTableOperator, **common, conn_id="table", table="people")
    return partial(
        LoadToWebhookOperator,
        **common,
        conn_id="vendor",
        endpoint="/people",
        removal_batch_rows=REMOVAL_ROWS,
        concurrency=CONCURRENCY,
        timeout_s=TIMEOUT_S,
        max_attempts=3,
        max_retry_s=MAX_RETRY_S,
    )
