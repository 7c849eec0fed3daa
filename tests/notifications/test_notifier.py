"""The notifier: what it sends, to whom, and what it does if a notifier fails."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import BaseNotifier
from support.airflow_run import Airflow

from airflow_consent_retl.errors import ConfigurationError, NoticeError
from airflow_consent_retl.notifications import ConsentNotifier, NothingSent, PartialSuccess, PolicyChanged, RejectedRate
from airflow_consent_retl.notifications.notice import Notice, NoticeReason
from airflow_consent_retl.notifications.run_outcomes import outcomes_of
from airflow_consent_retl.signals.outcome import SyncOutcome

NUMBERS = {"read": 100, "permitted": 50, "denied": 50, "accepted": 40, "unchanged": 0, "rejected": 10}
PARTIAL = SyncOutcome(
    stage="load",
    model="people",
    destination="webhook",
    numbers=NUMBERS,
    denied_by_reason={"C0004:denied": 50},
    not_accepted_by_code={"rejected:invalid_email": 10},
)


class Kept(BaseNotifier):
    """A notifier of a provider: it renders its text, and keeps what it would send."""

    template_fields = ("text",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.sent: list[str] = []

    def notify(self, context: Any) -> None:
        self.sent.append(self.text)


class Broken(Kept):
    def notify(self, context: Any) -> None:
        raise OSError("https://hooks.example.com/secret is not there")


def context_of(*outcomes: SyncOutcome) -> Any:
    ti = SimpleNamespace(dag_id="d", run_id="r", task_id="load", task=SimpleNamespace(outcomes=outcomes))
    return {"ti": ti, "dag": None}


def test_a_notifier_gets_the_notice_in_its_templates() -> None:
    kept = Kept("{{ notice.subject }}\n{{ notice.text }}")

    ConsentNotifier(notify=[kept], when=[PartialSuccess(), RejectedRate(over=0.1)])(context_of(PARTIAL))

    (sent,) = kept.sent
    assert sent.splitlines()[:2] == [
        "people/webhook: only a part was done: 40 rows were, and 10 rejected (rejected:invalid_email 10) (and 1 more)",
        "DAG d, run r, task load",
    ]
    assert "- 10 rows were rejected, 20.0% of the permitted, and the limit is 10.0%" in sent
    assert "denied because C0004:denied 50" in sent


def test_nothing_is_sent_if_no_condition_holds_or_the_task_is_of_another_kind() -> None:
    kept = Kept("{{ notice.text }}")
    notifier = ConsentNotifier(notify=[kept], when=[PartialSuccess()])

    notifier(context_of(replace(PARTIAL, numbers=NUMBERS | {"rejected": 0})))
    notifier(context_of())

    assert kept.sent == []


def test_a_notifier_can_be_used_again_with_another_notice() -> None:
    kept = Kept("{{ notice.findings[0].outcome.sync }}")
    notifier = ConsentNotifier(notify=[kept], when=[PartialSuccess()])

    notifier(context_of(PARTIAL))
    notifier(context_of(replace(PARTIAL, destination="lake")))

    assert kept.sent == ["people/webhook", "people/lake"]


def test_the_others_are_tried_if_a_notifier_fails_and_its_words_are_not_repeated() -> None:
    kept = Kept("{{ notice.subject }}")

    with pytest.raises(NoticeError) as error:
        ConsentNotifier(notify=[Broken("x"), kept], when=[PartialSuccess()])(context_of(PARTIAL))

    assert len(kept.sent) == 1
    assert str(error.value) == "1 of 2 notifiers did not send the notice: Broken (OSError)"
    assert error.value.__cause__ is None


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"notify": [], "when": [PartialSuccess()]}, "notify"),
        ({"notify": ["#ops"], "when": [PartialSuccess()]}, "notify"),
        ({"notify": [Kept("x")], "when": []}, "when"),
        ({"notify": [Kept("x")], "when": [PartialSuccess]}, "when"),
    ],
)
def test_a_notifier_without_notifiers_or_conditions_is_refused(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"ConsentNotifier.{name}: expected"):
        ConsentNotifier(**wrong)


def test_a_notice_about_very_many_syncs_fits_a_screen() -> None:
    long = replace(PARTIAL, model="m" * 300, denied_by_reason={f"C{n:04d}:" + "x" * 60: n for n in range(50)})
    findings = [NoticeReason(long, ["a sentence " * 30] * 7, page="https://a.example.com/" + "p" * 500)] * 100

    lines = Notice("d", "r", "", findings).text.splitlines()

    assert len(lines) <= 24
    assert max(map(len, lines)) <= 110
    assert lines[-1] == "… and 99 more syncs"


def test_markup_in_a_name_is_no_markup_in_an_email() -> None:
    named = replace(PARTIAL, model="<b>people</b>")

    assert "&lt;b&gt;people&lt;/b&gt;/webhook" in Notice("d", "r", "", [NoticeReason(named, ["x"])]).html


@pytest.mark.usefixtures("warehouse", "policy", "crm")
def test_a_notice_about_a_run_reads_what_its_tasks_returned(airflow: Airflow) -> None:
    run = airflow.run("table")

    class Instance:
        """Airflow's instance in the callback of a DAG: it pulls what tasks of the run returned."""

        dag_id, run_id, task_id = "table", run.run_id, "load"

        def get_task_states(self, dag_id: str, run_ids: list[str]) -> dict[str, dict[str, str]]:
            return {run.run_id: run.tasks}

        def xcom_pull(self, task_ids: list[str]) -> list[Any]:
            return [airflow.xcom(run, task_id) for task_id in task_ids]

    context = {"ti": Instance(), "dag": airflow.dag("table"), "reason": "success"}
    notifier = ConsentNotifier(notify=[Kept("x")], when=[NothingSent(although_unchanged=True), PolicyChanged()])

    found = {(one.stage, one.destination): one for one in outcomes_of(context, notifier.log)}

    filtered, loaded = found["filter", "crm_table"], found["load", "crm_table"]
    assert (filtered.numbers["permitted"], loaded.numbers["accepted"], loaded.delivered) == (15, 15, 15)
    assert filtered.policy_digest == loaded.policy_digest != ""
    assert notifier.notice_of(context) is None  # type: ignore[arg-type]
