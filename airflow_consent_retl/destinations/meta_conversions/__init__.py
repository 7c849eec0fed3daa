"""Events for Meta's Conversions API."""

from __future__ import annotations

from airflow_consent_retl.destinations.meta import META as VENDOR

__all__ = ["VENDOR"]
