"""The notifier of this package, and the conditions under which it sends a notice. For callbacks of tasks and DAGs."""

from __future__ import annotations

from airflow_consent_retl.notifications.conditions import (
    AudienceDown,
    Condition,
    DataAgeOver,
    LagOver,
    NothingSent,
    PartialSuccess,
    PolicyChanged,
    RejectedRate,
    TaskFailed,
)
from airflow_consent_retl.notifications.notice import Notice
from airflow_consent_retl.notifications.notifier import ConsentNotifier

__all__ = [
    "AudienceDown",
    "Condition",
    "ConsentNotifier",
    "DataAgeOver",
    "LagOver",
    "NothingSent",
    "Notice",
    "PartialSuccess",
    "PolicyChanged",
    "RejectedRate",
    "TaskFailed",
]
