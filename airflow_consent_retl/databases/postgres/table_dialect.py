"""PostgreSQL's declaration for the table writer."""

from __future__ import annotations

from sqlalchemy.dialects import postgresql

from airflow_consent_retl.databases.tables.dialects import TableDialect

DIALECT = TableDialect(insert=postgresql.insert, column_types={"nested": postgresql.JSONB()}, floats="all")
