"""A DAG whose lineage, metrics and notices the tests receive: a sync, a person who withdraws, and the fast lane."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from functools import partial

import duckdb
from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier
from airflow.providers.smtp.notifications.smtp import SmtpNotifier
from airflow.sdk import DAG, task

from airflow_consent_retl.notifications import (
    AudienceDown,
    ConsentNotifier,
    DataAgeOver,
    LagOver,
    NothingSent,
    PartialSuccess,
    PolicyChanged,
    RejectedRate,
)
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToWebhookOperator,
    PropagateWithdrawalsOperator,
)

# The literal has no canary: Airflow keeps the code of DAGs, which other tests sweep.
SQL = "SELECT user_id, email, analytics_ok, changed_at FROM people WHERE email <> 'literal-51d0@example.com'"
CONSENT = {"C0002": "analytics_ok"}
load = partial(
    LoadToWebhookOperator,
    conn_id="crm_http",
    endpoint="/v1/people",
    fields={"id": "user_id", "email": "email"},
    max_rejected_ratio=float(os.environ.get("E2E_MAX_REJECTED_RATIO", "0.5")),
)

notifier = ConsentNotifier(
    notify=[
        SlackWebhookNotifier(slack_webhook_conn_id="ops_slack", text="{{ notice.text }}"),
        SmtpNotifier(
            smtp_conn_id="ops_mail",
            from_email="airflow@example.com",
            to="ops@example.com",
            subject="{{ notice.subject }}",
            html_content="{{ notice.html }}",
        ),
    ],
    when=[
        PartialSuccess(),
        RejectedRate(over=0.1),
        LagOver(300),
        DataAgeOver(86_400),
        PolicyChanged(),
        NothingSent(),
        AudienceDown(by=0.1),
    ],
)

with DAG(
    "signals",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args={"retries": 0, "on_success_callback": notifier, "on_failure_callback": notifier},
) as signals_dag:
    snapshot = ExtractModelOperator(
        task_id="extract", model="people", conn_id="warehouse", sql=SQL, primary_key="user_id"
    )
    permitted = ConsentFilterOperator(
        task_id="consent",
        snapshot=snapshot.output,
        policy="variable:e2e_policy",
        consent=CONSENT,
        destinations=["webhook"],
        max_released_ratio=None,
    )
    loading = load(task_id="load", permitted=permitted.output, destination="webhook")

    @task
    def one_withdraws() -> None:
        """Take the consent of one person back, ten minutes ago."""
        with duckdb.connect(os.environ["E2E_WAREHOUSE"]) as connection:
            connection.execute(
                "UPDATE people SET analytics_ok = FALSE, changed_at = ? WHERE user_id = "
                "(SELECT max(user_id) FROM people WHERE analytics_ok)",
                [datetime.now(UTC) - timedelta(minutes=10)],
            )

    withdrawals = PropagateWithdrawalsOperator(
        task_id="withdraw",
        model="people",
        conn_id="warehouse",
        sql=SQL,
        primary_key="user_id",
        policy="variable:e2e_policy",
        consent=CONSENT,
        loads={"webhook": load},
        withdrawn_at="changed_at",
    )
    loading >> one_withdraws() >> withdrawals
