"""A worker in its own process: it reads steps as lines of JSON, and answers each step with a line."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.ledgers import SYNC, advanced, begun, ended, intended, opened

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.errors import ConsentRetlError

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.delivery.ledger.records import Delivery


class Steps:
    """The steps of a worker, on the ledger at one URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: Ledger | None = None
        self._held: Lease | None = None
        self._begun: Delivery | None = None

    @property
    def _ledger(self) -> Ledger:
        self._opened = self._opened or opened(self._url)
        return self._opened

    @property
    def _lease(self) -> Lease:
        assert self._held is not None
        return self._held

    @property
    def _delivery(self) -> Delivery:
        self._begun = self._begun or self._lease.open_delivery()
        assert self._begun is not None
        return self._begun

    def first_use(self, *, url: str) -> list[str]:
        with opened(url) as ledger:
            with ledger.acquire(SYNC, holder="first", wait_s=30) as lease:
                lease.target("here")
            return [overview.target for overview in ledger.syncs()]

    def acquire(self, *, ttl_s: float = 30, wait_s: float = 0) -> int:
        self._held = self._ledger.acquire(SYNC, holder=f"worker {os.getpid()}", ttl_s=ttl_s, wait_s=wait_s)
        self._held.__enter__()
        return self._held.epoch

    def check(self) -> None:
        self._lease.check()

    def begin(self) -> None:
        self._begun = begun(self._lease)

    def intend(self, *, number: int) -> None:
        self._lease.record(self._delivery, intended=[intended(number)])

    def end(self, *, number: int) -> None:
        self._lease.record(self._delivery, ended=[ended(number)])

    def end_and_intend(self, *, number: int) -> None:
        outcomes = Outcomes.rejected(10, "late")
        self._lease.record(self._delivery, ended=[ended(number, outcomes)], intended=[intended(number + 1)])

    def advance(self) -> None:
        advanced(self._lease, self._delivery)

    def release(self) -> None:
        self._lease.release()

    def record_on_and_on(self) -> None:
        """Record batch after batch, each with the end of the previous one, until something stops it."""
        self._lease.record(self._delivery, intended=[intended(0)])
        _say("recording")
        number = 0
        while True:
            self._lease.record(self._delivery, ended=[ended(number)], intended=[intended(number + 1)])
            number += 1

    def contend(self, *, rounds: int, file: str) -> list[int]:
        """Take the lease repeatedly; two holders at the same time would collide at the file."""
        epochs = []
        for _ in range(rounds):
            with self._ledger.acquire(SYNC, holder=f"worker {os.getpid()}", wait_s=60) as lease:
                os.close(os.open(file, os.O_CREAT | os.O_EXCL))
                time.sleep(0.002)
                lease.check()
                epochs.append(lease.epoch)
                Path(file).unlink()
            # Long enough for the other worker to take the lease.
            time.sleep(0.03)
        return epochs


def _say(answer: object) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _main() -> None:
    steps = Steps(sys.argv[1])
    _say("ready")
    for line in sys.stdin:
        name, arguments = json.loads(line)
        step: Callable[..., Any] = getattr(steps, name)
        try:
            answer = step(**arguments)
        except ConsentRetlError as error:
            answer = type(error).__name__
        _say(answer)


if __name__ == "__main__":
    _main()
