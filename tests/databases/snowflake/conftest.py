"""A fixture that reads models from the local Snowflake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from support.snowflake_server import Snowflake

from airflow_consent_retl.databases.source import ModelQuery, read_model
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.values.columns import declared_types


@pytest.fixture
def extracted(snowflake: Snowflake) -> Callable[..., pa.Table]:
    """Read a model from connection `snow`, with the types of the last rows."""

    def read(sql: str, *, primary_key: str = "ID", column_types: Any = None, **options: Any) -> pa.Table:
        query = ModelQuery(
            conn_id="snow",
            sql=sql,
            primary_key=primary_key,
            column_types=declared_types(column_types),
            **options,
        )
        with read_model(sql_hook("snow"), query) as rows:
            batches = list(rows.batches)
        return pa.Table.from_batches(batches) if batches else rows.schema.empty_table()

    return read
