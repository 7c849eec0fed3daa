"""A load out of a warehouse that is killed at any step is gone on with by the next, and nothing is left behind."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.postgres import Postgres
from support.warehouse_sync import Sync, in_staging

from airflow_consent_retl.delivery.steps import Step
from airflow_consent_retl.delivery.steps import log as steps_log

# Eight whole histories; the state machine of the protocol, which `make test` runs, kills at the same steps.
pytestmark = pytest.mark.long


class _Kill(logging.Handler):
    """Kills this process at a step."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


def killed_at(step: Step, work: Callable[[], object]) -> None:
    """Do the work in another process, and see it killed."""
    child = os.fork()
    if child == 0:
        try:
            steps_log.setLevel(logging.DEBUG)
            steps_log.addHandler(_Kill(step))
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it was not killed"


@pytest.mark.parametrize(
    "step",
    [
        Step.CHANGES_PUBLISHED,
        Step.BEGUN,
        Step.INTENDED,
        Step.ANSWERED,
        Step.NOTED,
        Step.COMMITTED,
        Step.FOLDED,
        Step.ADVANCED,
    ],
)
def test_the_next_try_brings_the_destination_to_where_files_would_have_brought_it(
    step: Step, syncs: list[Sync], change: Callable[[str], None], customers: Postgres, tmp_path: Path
) -> None:
    lake, staged = syncs
    for sync in syncs:
        sync.run()
    change(
        "UPDATE customers SET email = 'new-' || email WHERE id IN ('c1', 'c2'); DELETE FROM customers WHERE id = 'c6'"
    )
    change("UPDATE customers SET ok = false WHERE id = 'c7'; UPDATE customers SET ok = true WHERE id = 'c3'")
    lake.run()
    permitted = staged.permit()
    patience: dict[str, Any] = {"lease_ttl_s": 1, "lease_wait_s": 30}

    killed_at(step, lambda: staged.load(permitted, **patience))
    counts = staged.load(permitted, **patience)
    again = staged.load(permitted, **patience)

    assert staged.people() == lake.people()
    assert counts["uncertain"] == again["uncertain"] == 0
    assert (again["accepted"], again["removed"]) == (0, 0)
    assert in_staging(customers).count("delivered") == 1
