"""The opt-out categories to which no row of a model in a warehouse has an answer."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.changes.warehouse_question import query_of_everyone, snapshot_of_answers
from airflow_consent_retl.consent import silent_categories
from airflow_consent_retl.filtering.warehouse import WarehouseFilter
from airflow_consent_retl.storage.forgotten import NOBODY

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.databases.staging import Warehouse
    from airflow_consent_retl.filtering.model_question import Question


def silent_in_model(warehouse: Warehouse, question: Question, id_type: pa.DataType) -> tuple[str, ...]:
    """Return the opt-out categories to which no row of the whole model has an answer.

    Args:
        warehouse: entered.
        question: asks the model's source.
        id_type: of the ids.
    """
    at = datetime.now(UTC)
    with (
        query_of_everyone(warehouse, question, id_type) as sql,
        snapshot_of_answers(warehouse, question, sql, model="silence", at=at) as (snapshot, table),
    ):
        try:
            with WarehouseFilter(warehouse, snapshot, question.plan, at=at, forgotten=NOBODY) as run:
                return silent_categories(run.plan, run.decide().signatures())
        finally:
            warehouse.drop(table)
