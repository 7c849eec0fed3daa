"""The notifier that decides by conditions and sends by other notifiers: to Slack, by e-mail, to any of Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier

from airflow_consent_retl.compat import conf
from airflow_consent_retl.errors import ConfigurationError, NoticeError
from airflow_consent_retl.notifications.conditions import Condition
from airflow_consent_retl.notifications.notice import Notice, NoticeReason
from airflow_consent_retl.notifications.run_outcomes import is_about_a_run, outcomes_of, run_of
from airflow_consent_retl.progress import FittedLog, fitted
from airflow_consent_retl.sight.addresses import sync_page

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.signals.outcome import SyncOutcome


class ConsentNotifier(BaseNotifier):
    """Send a notice if one of some conditions holds for what a filter, a load or the fast lane did.

    Give it to tasks as `on_success_callback`, `on_failure_callback` or `on_retry_callback`, for instance by the
    `default_args` of a DAG: it then sees what the task did, also if it failed. Given to a DAG, it sees what the tasks
    returned, and what the ledger has of those that failed; of a filter that failed, that it did. If nothing is known of
    what its tasks of this package did, and they were not all skipped, the notice says so, whatever the conditions are.
    Tasks of other kinds cause no notice.

    The wrapped notifiers render their own templates, in which `notice` has a `subject` of one line, a `text` that
    fits a screen, and the same text as `html`. A notice contains names, counts, digests and addresses, and no
    value of a row.

    Args:
        notify: Airflow's notifiers, each with `notice` in its templates:
            `SlackWebhookNotifier(text="{{ notice.text }}")`,
            `SmtpNotifier(to="…", subject="{{ notice.subject }}", html_content="{{ notice.html }}")`.
        when: the conditions; a notice names all of them that hold.

    Raises:
        ConfigurationError: when the DAG is parsed: there is no notifier or no condition, or something else is given.
        NoticeError: a notifier failed, after all of them were tried. Airflow logs it; the task's state stays.
    """

    def __init__(self, *, notify: Sequence[BaseNotifier], when: Sequence[Condition], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.notifiers = _checked("notify", notify, BaseNotifier, "notifiers of Airflow")
        self.conditions = _checked("when", when, Condition, "conditions, such as RejectedRate(over=0.01)")

    def notify(self, context: Context) -> None:
        """Send the notice by every notifier, if a condition holds."""
        notice = self.notice_of(context)
        if notice is None:
            return
        FittedLog(self.log).info("notice: %s", notice.subject)
        failed = []
        for notifier in self.notifiers:
            try:
                # Rendering changes a notifier, and it may be used again.
                copy(notifier)({**context, "notice": notice})
            except Exception as error:  # noqa: BLE001 - the others are still to be tried, and it is reported below
                # Its message may name a secret, such as the address of a webhook.
                failed.append(f"{type(notifier).__name__} ({type(error).__name__})")
        if failed:
            of = f"{len(failed)} of {len(self.notifiers)} notifiers did not send the notice"
            raise NoticeError(fitted(f"{of}: {', '.join(failed)}"))

    def notice_of(self, context: Context) -> Notice | None:
        """Return the notice about a task or a run; None: no condition holds."""
        base = (conf.get("api", "base_url", fallback=None) or "").rstrip("/")
        findings = []
        for outcome in outcomes_of(context, FittedLog(self.log)):
            sentences = self._sentences(outcome)
            if sentences:
                page = sync_page(outcome.sync, base=base) if base and outcome.sync else ""
                findings.append(NoticeReason(outcome, sentences, page))
        if not findings:
            return None
        if is_about_a_run(context):
            return Notice(str(context["dag"].dag_id), run_of(context), "", findings)
        ti = context["ti"]
        return Notice(str(ti.dag_id), str(ti.run_id), str(ti.task_id), findings)

    def _sentences(self, outcome: SyncOutcome) -> list[str]:
        if outcome.stage == "run":
            # No condition can be answered, and none holding would look as if all were well.
            return [outcome.failure]
        asked = [one for one in self.conditions if outcome.numbers or one.without_counts]
        return [found for condition in asked if (found := condition.found(outcome)) is not None]


def _checked(name: str, given: object, kind: type, expected: str) -> tuple[Any, ...]:
    if not isinstance(given, Sequence) or not given or not all(isinstance(one, kind) for one in given):
        raise ConfigurationError(f"ConsentNotifier.{name}: expected a list of {expected}, with at least one")
    return tuple(given)
