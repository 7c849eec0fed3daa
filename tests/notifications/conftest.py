"""The fixtures of the end-to-end tests: Airflow, a warehouse, a policy and a database."""

from e2e.conftest import airflow, crm, policy, vendor, warehouse

__all__ = ["airflow", "crm", "policy", "vendor", "warehouse"]
