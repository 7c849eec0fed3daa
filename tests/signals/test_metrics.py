"""Metrics of outcomes: which there are, and their names where the backend has no tags."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.signal_servers import Packets
from support.sync_figures import Sized, write_runs

from airflow_consent_retl.signals.metrics import metrics_of
from airflow_consent_retl.signals.outcome import SyncOutcome

LOAD = SyncOutcome(
    stage="load",
    model="people",
    destination="google_ads:emea",
    numbers={"read": 10, "permitted": 8, "denied": 2, "accepted": 6, "rejected": 2, "removed": 1, "batches": 3},
    removals_by_cause={"consent_withdrawn": 1},
    data_time=datetime.now(UTC) - timedelta(hours=2),
    delivered=7,
)
# As Airflow's task runner does before a task; before Airflow 3.2, the first metric does it.
PROGRAM = """
try:
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils
except ImportError:
    pass
else:
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
from airflow_consent_retl.signals.metrics import emit_outcomes
from airflow_consent_retl.signals.outcome import SyncOutcome

numbers = {"read": 10, "permitted": 8, "denied": 2}
reasons = {"C0004:denied": 2}
emit_outcomes(
    [SyncOutcome(stage="filter", model="crm.people", destination="google_ads:emea", numbers=numbers,
                 denied_by_reason=reasons)],
    {},
)
"""


def run(program: str, *arguments: str, to: Packets) -> str:
    """Run a program whose metrics go to a server, without tags, and return what it printed last.

    Airflow 3.1 sets metrics up when it is imported.
    """
    switched = {"STATSD_ON": "True", "STATSD_HOST": "127.0.0.1", "STATSD_PORT": str(to.port)}
    environment = {**os.environ, **{f"AIRFLOW__METRICS__{key}": on for key, on in switched.items()}}
    command = [sys.executable, "-W", "ignore", "-c", program, *arguments]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return printed.strip().rpartition("\n")[2]


def ours(packets: Packets) -> list[str]:
    """Return the metrics of this package: Airflow sends its own too."""
    return [line for line in packets.lines if line.startswith("airflow.consent_retl.")]


def test_a_load_counts_what_it_sent_and_not_what_the_filter_decided() -> None:
    found = {metric.name: metric.value for metric in metrics_of(LOAD)}

    assert {"sent": 6, "rejected": 2, "removed": 1, "rejected_ratio": 0.25, "people": 7}.items() <= found.items()
    assert 7_200 <= found["data_age_s"] < 86_400
    assert found.keys().isdisjoint({"read", "permitted", "denied", "batches"})


def test_what_is_not_known_has_no_metric() -> None:
    found = {metric.name for metric in metrics_of(replace(LOAD, data_time=None, delivered=None, numbers={}))}

    assert found == {"removals_because"}


def test_a_time_of_data_in_the_future_has_no_negative_age() -> None:
    ahead = replace(LOAD, data_time=datetime.now(UTC) + timedelta(minutes=1))

    assert ahead.data_age_s() == 0


def test_statsd_without_tags_gets_the_sync_in_the_name() -> None:
    packets = Packets()
    with packets.running():
        run(PROGRAM, to=packets)

    assert sorted(ours(packets)) == [
        "airflow.consent_retl.crm__people.google_ads__emea.C0004__denied.denied_because:2|c",
        "airflow.consent_retl.crm__people.google_ads__emea.denied:2|c",
        "airflow.consent_retl.crm__people.google_ads__emea.permitted:8|c",
        "airflow.consent_retl.crm__people.google_ads__emea.read:10|c",
    ]


# A ledger with two syncs with people that no run served for days, and a third that one has just served.
UNSERVED = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
try:
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils
except ImportError:
    pass
else:
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
from dataclasses import replace
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.signals.metrics import emit_unserved

with Ledger.sqlite(Path(sys.argv[1])) as ledger:
    first, second, third = ledger.syncs()
    before = datetime.now(UTC) - timedelta(days=9)
    emit_unserved([replace(first, served_at=before), replace(second, served_at=before), third], days=7)
    print(first.people + second.people)
"""


def test_people_in_syncs_that_no_run_serves_are_counted(tmp_path: Path) -> None:
    write_runs(tmp_path / "ledger.db", Sized(3, 1), at=datetime.now(UTC))
    packets = Packets()
    with packets.running():
        people = run(UNSERVED, str(tmp_path / "ledger.db"), to=packets)

    assert sorted(ours(packets)) == [
        f"airflow.consent_retl.unserved_people:{int(people)}|g",
        "airflow.consent_retl.unserved_syncs:2|g",
    ]


# A task whose outcome is known, and that fails: for good, or so that Airflow tries it again.
FAILING = """
import sys
try:
    from airflow.sdk.observability import stats
    from airflow.sdk.observability.metrics import stats_utils
except ImportError:
    pass
else:
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
from airflow_consent_retl import errors
from airflow_consent_retl.compat import AirflowFailException
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator
from airflow_consent_retl.signals.outcome import SyncOutcome

class Failing(ConsentRetlOperator):
    def run(self, context):
        self.outcomes = tuple(
            SyncOutcome(stage=stage, model="people", destination="webhook", numbers={"removed": 4})
            for stage in ("load", "withdrawals")
        )
        raise getattr(errors, sys.argv[1])("no")

try:
    Failing(task_id="t").execute({})
except (AirflowFailException, errors.TransientError):
    pass
"""


@pytest.mark.samples(1)
@pytest.mark.parametrize(("error", "counted"), [("DestinationUnavailableError", 1), ("GuardError", 2)])
def test_a_load_that_is_tried_again_is_not_counted_before_its_last_try(error: str, counted: int) -> None:
    packets = Packets()
    with packets.running():
        run(FAILING, error, to=packets)

    assert ours(packets) == ["airflow.consent_retl.people.webhook.removed:4|c"] * counted
