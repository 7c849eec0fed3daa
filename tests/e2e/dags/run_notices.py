"""A DAG whose own callback sends notices: its load fails for one destination, or its filter fails.

With `E2E_BEFORE`, a task of another kind comes first, which is skipped (`skip`) or fails (`fail`).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseNotifier, task

from airflow_consent_retl.compat import AirflowFailException, AirflowSkipException
from airflow_consent_retl.notifications import ConsentNotifier, NothingSent, RejectedRate, TaskFailed
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadToWebhookOperator


class Written(BaseNotifier):
    """A notifier that appends its text to a file."""

    template_fields = ("text",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def notify(self, context: Any) -> None:
        """Append the text."""
        with Path(os.environ["E2E_NOTICES"]).open("a") as file:
            file.write(self.text + "\n")


notifier = ConsentNotifier(
    notify=[Written("{{ notice.subject }}\n{{ notice.text }}")],
    when=[TaskFailed(), RejectedRate(over=0.1), NothingSent()],
)


@task
def before(how: str) -> None:
    """Skip what follows, or fail."""
    raise AirflowSkipException if how == "skip" else AirflowFailException


with DAG(
    "run_notices",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    on_failure_callback=notifier,
    on_success_callback=notifier,
    default_args={"retries": 0},
) as run_notices_dag:
    snapshot = ExtractModelOperator(
        task_id="extract",
        model="people",
        conn_id="warehouse",
        sql="SELECT user_id, email, analytics_ok FROM people",
        primary_key="user_id",
    )
    permitted = ConsentFilterOperator(
        task_id="consent",
        snapshot=snapshot.output,
        policy="variable:e2e_policy",
        consent={"C0002": "analytics_ok"},
        destinations=["webhook"],
        max_denied_ratio=float(os.environ.get("E2E_MAX_DENIED_RATIO", "1")),
    )
    LoadToWebhookOperator(
        task_id="load",
        permitted=permitted.output,
        destination="webhook",
        conn_id="crm_http",
        endpoint="/v1/people",
        fields={"id": "user_id", "email": "email"},
        max_rejected_ratio=float(os.environ.get("E2E_MAX_REJECTED_RATIO", "0.1")),
    )
    if "E2E_BEFORE" in os.environ:
        before(os.environ["E2E_BEFORE"]) >> snapshot
