"""Notices about runs of which nothing is known: no result and no record is no proof that all is well."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG, BaseNotifier, BaseOperator

from airflow_consent_retl.notifications import ConsentNotifier, NothingSent, RejectedRate, TaskFailed
from airflow_consent_retl.notifications.notice import Notice
from airflow_consent_retl.notifications.run_outcomes import outcomes_of
from airflow_consent_retl.operators import ConsentFilterOperator, LoadToWebhookOperator, PruneOperator

LOAD: dict[str, Any] = {"destination": "webhook", "conn_id": "crm", "endpoint": "/people", "fields": {"id": "id"}}
PLAN = {"would_add": 3}


class Silent(BaseNotifier):
    """A notifier that sends nothing: the notice itself is looked at."""

    def notify(self, context: Any) -> None:
        raise AssertionError


class Instance:
    """Airflow's instance in the callback of a DAG."""

    dag_id, run_id, task_id = "people", "r", "load"

    def __init__(self, states: Mapping[str, str], returned: Mapping[str, Any] | None) -> None:
        self._states, self._returned = states, returned

    def get_task_states(self, dag_id: str, run_ids: list[str]) -> dict[str, Mapping[str, str]]:
        return {"r": self._states}

    def xcom_pull(self, task_ids: list[str]) -> list[Any]:
        if self._returned is None:
            raise RuntimeError("there are no XComs here")
        return [self._returned[one] for one in task_ids if one in self._returned]


@pytest.fixture(autouse=True)
def _no_ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", tmp_path.as_uri())


@pytest.fixture
def dag() -> DAG:
    with DAG("people") as made:
        permitted = ConsentFilterOperator(
            task_id="consent", snapshot={}, policy="variable:p", consent={"C1": "a"}, destinations=["webhook"]
        )
        LoadToWebhookOperator(task_id="load", permitted=permitted.output, **LOAD)
    return made


def notice_about(
    dag: DAG, states: Mapping[str, str], returned: Mapping[str, Any] | None = None, *, reason: str = "success"
) -> list[str] | None:
    """Return the sentences of the notice about a run; None: there is none."""
    notifier = ConsentNotifier(notify=[Silent()], when=[TaskFailed(), RejectedRate(over=0.1)])
    return sentences(notifier.notice_of(context_of(dag, states, returned, reason=reason)))


def context_of(dag: DAG, states: Mapping[str, str], returned: Mapping[str, Any] | None, *, reason: str) -> Any:
    return {"ti": Instance(states, returned), "dag": dag, "reason": reason}


def sentences(notice: Notice | None) -> list[str] | None:
    return None if notice is None else [sentence for one in notice.findings for sentence in one.sentences]


def test_a_run_that_failed_before_any_task_of_this_package_is_seen_whatever_the_conditions_are(
    dag: DAG, caplog: pytest.LogCaptureFixture
) -> None:
    states = {"before": "failed", "consent": "upstream_failed", "load": "upstream_failed"}
    notifier = ConsentNotifier(notify=[Silent()], when=[RejectedRate(over=0.1)])

    context = context_of(dag, states, {}, reason="task_failure")

    notice = notifier.notice_of(context)
    outcomes_of(context, logging.getLogger("notifier"))

    named = "no result and no record of `consent` (upstream_failed), `load` (upstream_failed)"
    assert sentences(notice) == [f"nothing is known of this run: {named}"]
    assert notice is not None
    assert notice.subject.startswith("people: nothing is known of this run: ")
    assert [(one.levelname, one.message) for one in caplog.records] == [
        ("WARNING", f"nothing is known of this run: {named}")
    ]


@pytest.mark.parametrize("returned", [None, {}], ids=["unreadable", "none"])
def test_a_run_that_ended_well_without_a_result_is_seen(dag: DAG, returned: dict[str, Any] | None) -> None:
    found = notice_about(dag, {"consent": "success", "load": "success"}, returned)

    assert found == ["nothing is known of this run: no result and no record of `consent` (success), `load` (success)"]


def test_a_task_that_did_not_run_after_others_did_is_seen(dag: DAG) -> None:
    states = {"consent": "success", "between": "failed", "load": "upstream_failed"}

    found = notice_about(dag, states, {"consent": PLAN}, reason="task_failure")

    assert found == ["nothing is known of a part of this run: no result and no record of `load` (upstream_failed)"]


def test_a_run_whose_every_task_was_skipped_sent_nothing(dag: DAG, caplog: pytest.LogCaptureFixture) -> None:
    states = {"consent": "skipped", "load": "skipped"}
    notifier = ConsentNotifier(notify=[Silent()], when=[NothingSent(), TaskFailed()])

    context = context_of(dag, states, {}, reason="success")

    found = sentences(notifier.notice_of(context))
    with caplog.at_level(logging.INFO):
        outcomes_of(context, logging.getLogger("notifier"))

    assert found == ["nothing was sent: every task of this package was skipped"]
    assert [one.message for one in caplog.records] == ["every task of this package was skipped in this run"]
    # Who asks about other things hears nothing of it.
    assert notice_about(dag, states, {}) is None


@pytest.mark.parametrize(
    ("states", "returned"),
    [
        pytest.param({"consent": "success", "load": "success"}, {"consent": PLAN, "load": PLAN}, id="plans"),
        pytest.param({"consent": "success", "load": "success"}, {"consent": PLAN}, id="one pushes nothing"),
        pytest.param({"consent": "success", "load": "skipped"}, {"consent": PLAN}, id="one is skipped"),
    ],
)
def test_a_run_of_which_something_is_known_and_nothing_failed_causes_no_notice(
    dag: DAG, states: dict[str, str], returned: dict[str, Any]
) -> None:
    assert notice_about(dag, states, returned) is None


def test_the_tasks_after_one_that_failed_are_not_named_again(dag: DAG) -> None:
    states = {"consent": "failed", "load": "upstream_failed"}

    found = notice_about(dag, states, {}, reason="task_failure")

    assert found == ["task `consent` failed before it counted anything: it left no result"]


def test_a_run_without_tasks_of_this_package_causes_no_notice() -> None:
    with DAG("others") as dag:
        BaseOperator(task_id="load")

    assert notice_about(dag, {"load": "failed"}, {}, reason="task_failure") is None


def test_very_many_tasks_are_counted() -> None:
    with DAG("many") as dag:
        for number in range(9):
            PruneOperator(task_id=f"prune_{number}")

    (found,) = notice_about(dag, {}, {}, reason="task_failure") or []

    assert found.endswith("`prune_4` (state unknown) and 4 more tasks")


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("failed", "task `load` failed before it counted anything: it left no result"),
        ("upstream_failed", "nothing is known of this run: no result and no record of `load` (upstream_failed)"),
    ],
)
def test_mapped_tasks_are_tasks_of_this_package_too(state: str, sentence: str) -> None:
    with DAG("mapped") as dag:
        LoadToWebhookOperator.partial(task_id="load", **LOAD).expand(permitted=[{}, {}])

    assert notice_about(dag, {"load_0": state, "load_1": state}, {}, reason="task_failure") == [sentence]
