"""DAGs with consent formats of their own: from a module in the DAGs folder, and from the DAG file itself."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import duckdb
from airflow.sdk import DAG, task
from our_formats import ContactFlags  # type: ignore[import-not-found]  # Airflow puts the DAGs folder on the path

from airflow_consent_retl.consent import ColumnKind, ConsentStatus, DocumentSignal, WholeConsent
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadOperator,
    LoadToWebhookOperator,
    PropagateWithdrawalsOperator,
)
from airflow_consent_retl.sync import consent_sync


@dataclass(frozen=True, slots=True)
class Stamp(DocumentSignal):
    """The stamp of a paper form: `C0002` for a yes, crossed out (`~C0002`) for a no."""

    column: str
    category: str

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """Text."""
        return frozenset({ColumnKind.TEXT})

    def read(self, text: str) -> ConsentStatus:
        """Return what the stamp says."""
        return {self.category: ConsentStatus.GRANTED, f"~{self.category}": ConsentStatus.DENIED}.get(
            text, ConsentStatus.INVALID
        )


@dataclass(frozen=True, slots=True)
class Stamped(WholeConsent):
    """One column of stamps for all categories."""

    column: str

    def for_category(self, category_id: str, name: str) -> Stamp:
        """Return the stamp of one category."""
        return Stamp(self.column, category_id)


SQL = "SELECT user_id, email, contact, stamp FROM members"
FLAGS = {"C0004": ContactFlags("contact", channel="E"), "C0002": Stamp("stamp", "C0002")}
to_webhook = partial(
    LoadToWebhookOperator,
    conn_id="crm_http",
    endpoint="/v1/people",
    fields={"id": "user_id", "email": "email"},
    max_attempts=1,
    max_removed_ratio=None,
)
LOADS: dict[str, Callable[..., LoadOperator]] = {"webhook": to_webhook}
dag = partial(DAG, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), default_args={"retries": 0})
sync = partial(
    consent_sync, "members", conn_id="warehouse", sql=SQL, primary_key="user_id", policy="variable:own", loads=LOADS
)

with dag("own_formats") as own_formats_dag:
    sync(consent=FLAGS)

with dag("own_whole") as own_whole_dag:
    sync(consent=Stamped("stamp"))

with dag("own_formats_withdrawals") as own_formats_withdrawals_dag:
    PropagateWithdrawalsOperator(
        task_id="withdraw",
        model="members",
        conn_id="warehouse",
        sql=SQL,
        primary_key="user_id",
        policy="variable:own",
        consent=FLAGS,
        loads=LOADS,
        max_removed_ratio=None,
    )

with dag("own_asked_again") as own_asked_again_dag:

    @task
    def withdraw() -> None:
        """Let a person withdraw between the filter and the load."""
        with duckdb.connect(json.loads(os.environ["AIRFLOW_CONN_WAREHOUSE"])["host"]) as connection:
            connection.execute("UPDATE members SET contact = 'E-' WHERE user_id LIKE '%-yes'")

    snapshot = ExtractModelOperator(
        task_id="extract", model="members", conn_id="warehouse", sql=SQL, primary_key="user_id"
    )
    permitted = ConsentFilterOperator(
        task_id="consent", snapshot=snapshot.output, policy="variable:own", consent=FLAGS, destinations=["webhook"]
    )
    permitted >> withdraw() >> to_webhook(task_id="load", permitted=permitted.output, destination="webhook")
