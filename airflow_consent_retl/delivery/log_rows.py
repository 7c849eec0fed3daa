"""The rows of sync logs: each run in counts, its reasons, causes and codes, and its lags; no person and no id of one.

Columns are only ever added: tables of an earlier release get what they lack, and dashboards stay as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from airflow_consent_retl.delivery.lags import GROWTH
from airflow_consent_retl.delivery.ledger.records import model_and_destination
from airflow_consent_retl.delivery.ledger.run_records import COUNTS

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.run_records import RunRecord

_TEXT, _COUNT, _SECONDS = pa.string(), pa.int64(), pa.float64()
_TIME, _DAY, _FLAG = pa.timestamp("us", tz="UTC"), pa.date32(), pa.bool_()
_KEY_CHARACTERS: Final = 32


@dataclass(frozen=True, slots=True)
class LogColumn:
    """A column of a log table.

    Args:
        name: of the column.
        kind: its Arrow type.
        meaning: for people, with the unit.
    """

    name: str
    kind: pa.DataType
    meaning: str


@dataclass(frozen=True, slots=True)
class LogTable:
    """One of the log tables.

    Args:
        key: its first column, by which rows are upserted.
        columns: all of them, in order.
    """

    key: str
    columns: tuple[LogColumn, ...]

    @property
    def schema(self) -> pa.Schema:
        """The schema of its rows."""
        return pa.schema([(column.name, column.kind) for column in self.columns])


_OF_A_RUN = (
    LogColumn("sync", _TEXT, "the sync's name: model and destination, as in `customers/webhook`"),
    LogColumn("model", _TEXT, "the model's name"),
    LogColumn("destination", _TEXT, "the policy's name of the destination"),
    LogColumn("ended_at", _TIME, "when the try ended, UTC"),
    LogColumn("ended_on", _DAY, "the day of `ended_at` in UTC"),
    LogColumn("is_resumed", _FLAG, "true: a later try resumed this one and counts its people, so leave it out of sums"),
)
_MEANINGS: Mapping[str, str] = {
    "read": "people in the model",
    "permitted": "people who are permitted",
    "denied": "people who are denied; `read = permitted + denied`",
    "added": "permitted people who are new at the destination",
    "updated": "permitted people whose fields changed",
    "unchanged": "permitted people without a change",
    "skipped": "permitted people that the load's mode leaves out",
    "accepted": "people that the destination accepted",
    "rejected": "people that it rejected",
    "uncertain": "people whose result is unknown",
    "pending": "people that it has not processed yet",
    "withheld": "people whose permission ended while the load ran",
    "unsent": "people who were not sent",
    "removed": "people who were removed",
    "not_removed": "people who were to be removed and were not",
    "cleared": "people who lost fields",
    "not_cleared": "people who were to lose fields and did not",
    "found": "delivered people in the answer to a question about withdrawals",
    "absent": "delivered people who are not in that answer",
}

RUNS = LogTable(
    "run_key",
    (
        LogColumn("run_key", _TEXT, "the key: a digest of the ledger's id and the number of the record"),
        *_OF_A_RUN,
        LogColumn("kind", _TEXT, "`load`, `withdrawals`, `forget` or `retire`"),
        LogColumn("state", _TEXT, "`done`, `waiting` (the destination still processes requests) or `failed`"),
        LogColumn("failure", _TEXT, "the name of the error's class; empty: none"),
        LogColumn("dag_id", _TEXT, "Airflow's id of the DAG; empty outside of a DAG"),
        LogColumn("run_id", _TEXT, "Airflow's id of the run of the DAG"),
        LogColumn("task_id", _TEXT, "Airflow's id of the task"),
        LogColumn("map_index", _COUNT, "the index among mapped tasks; NULL: it is not mapped"),
        LogColumn("attempt", _COUNT, "the number of the try, from 1"),
        LogColumn("began_at", _TIME, "when the try began, UTC"),
        LogColumn("duration_s", _SECONDS, "seconds from `began_at` to `ended_at`"),
        LogColumn("policy_digest", _TEXT, "the digest of the policy in force; empty: the run only removed"),
        LogColumn("decided_at", _TIME, "when consent was decided, UTC; NULL: the run only removed"),
        LogColumn("data_time", _TIME, "the time that the model's rows stand for, UTC"),
        LogColumn("data_age_s", _SECONDS, "seconds from `data_time` to `ended_at`"),
        LogColumn("people", _COUNT, "people who are, or may be, at the destination after the run"),
        *(LogColumn(name, _COUNT, _MEANINGS[name]) for name in COUNTS),
        LogColumn("lag_people", _COUNT, "people who were removed and whose time of withdrawal is known"),
        LogColumn("lag_median_s", _SECONDS, "seconds from withdrawal to confirmation, median"),
        LogColumn("lag_p95_s", _SECONDS, "likewise, 95th percentile"),
        LogColumn("lag_oldest_s", _SECONDS, "likewise, the longest"),
    ),
)
COUNTS_BY_CODE = LogTable(
    "count_key",
    (
        LogColumn("count_key", _TEXT, "the key: a digest of `run_key`, `what` and `code`"),
        LogColumn("run_key", _TEXT, "the run, as in the table of runs"),
        *_OF_A_RUN,
        LogColumn("what", _TEXT, "`denied`, `removal` or `not_accepted`"),
        LogColumn("code", _TEXT, "the reason of the denial, the cause of the removal, or the destination's code"),
        LogColumn("people", _COUNT, "people; one who was denied for two reasons counts under both"),
    ),
)
LAGS = LogTable(
    "lag_key",
    (
        LogColumn("lag_key", _TEXT, "the key: a digest of `run_key` and `up_to_s`"),
        LogColumn("run_key", _TEXT, "the run, as in the table of runs"),
        *_OF_A_RUN,
        LogColumn("up_to_s", _SECONDS, "seconds from withdrawal to confirmation: the upper end of the range"),
        LogColumn("people", _COUNT, "people with a lag in the range, which is 5 % wide"),
    ),
)


def rows_of_runs(runs: Iterable[RunRecord], ledger: str) -> pa.Table:
    """Return the rows of the table of runs; the second argument is the ledger's id."""
    rows = []
    for run in runs:
        lags = run.lags
        rows.append(
            {
                "run_key": _key(ledger, run.id),
                **_of_a_run(run),
                "kind": str(run.kind),
                "state": str(run.state),
                "failure": run.failure,
                "dag_id": run.task.dag,
                "run_id": run.task.run,
                "task_id": run.task.task,
                "map_index": run.task.map_index,
                "attempt": run.task.attempt,
                "began_at": run.began_at,
                "duration_s": (run.ended_at - run.began_at).total_seconds(),
                "policy_digest": run.policy_digest,
                "decided_at": run.decided_at,
                "data_time": run.data_time,
                "data_age_s": None if run.data_time is None else (run.ended_at - run.data_time).total_seconds(),
                "people": run.people,
                **asdict(run.counts),
                "lag_people": 0 if lags is None else lags.people,
                "lag_median_s": None if lags is None else lags.median_s,
                "lag_p95_s": None if lags is None else lags.p95_s,
                "lag_oldest_s": None if lags is None else lags.oldest_s,
            }
        )
    return _table(rows, RUNS)


def rows_by_code(runs: Iterable[RunRecord], ledger: str) -> pa.Table:
    """Return the rows of the table of counts by reason, cause and code."""
    rows = []
    for run in runs:
        run_key = _key(ledger, run.id)
        listed: Sequence[tuple[str, Mapping[str, int]]] = (
            ("denied", run.denied_by_reason),
            ("removal", run.removals_by_cause),
            ("not_accepted", run.codes),
        )
        for what, counts in listed:
            for code, people in sorted(counts.items()):
                key = _key(run_key, what, code)
                rows.append(
                    {
                        "count_key": key,
                        "run_key": run_key,
                        **_of_a_run(run),
                        "what": what,
                        "code": code,
                        "people": people,
                    }
                )
    return _table(rows, COUNTS_BY_CODE)


def rows_of_lags(runs: Iterable[RunRecord], ledger: str) -> pa.Table:
    """Return the rows of the table of lags."""
    rows = []
    for run in runs:
        run_key = _key(ledger, run.id)
        for number, people in sorted(({} if run.lags is None else run.lags.ranges).items()):
            rows.append(
                {
                    "lag_key": _key(run_key, number),
                    "run_key": run_key,
                    **_of_a_run(run),
                    "up_to_s": GROWTH**number,
                    "people": people,
                }
            )
    return _table(rows, LAGS)


def _of_a_run(run: RunRecord) -> dict[str, Any]:
    model, destination = model_and_destination(run.sync)
    return {
        "sync": run.sync,
        "model": model,
        "destination": destination,
        "ended_at": run.ended_at,
        "ended_on": run.ended_at.date(),
        "is_resumed": run.is_resumed,
    }


def _key(*parts: object) -> str:
    # A digest is the same in every collation, and names no one.
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:_KEY_CHARACTERS]


def _table(rows: list[dict[str, Any]], table: LogTable) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=table.schema)
