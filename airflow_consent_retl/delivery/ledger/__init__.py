"""The ledger: a small SQL database of leases, batches and outcomes."""

from __future__ import annotations

from airflow_consent_retl.delivery.ledger.handle import Ledger

__all__ = ["Ledger"]
