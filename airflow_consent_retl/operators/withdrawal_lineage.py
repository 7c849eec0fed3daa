"""The lineage of the fast lane, made of the operator's parameters and of what it has served."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from airflow_consent_retl.hooks.sql import hooks_of
from airflow_consent_retl.operators.model_source import model_source, with_identities
from airflow_consent_retl.signals.lineage import WithdrawalsLineage

if TYPE_CHECKING:
    from airflow_consent_retl.contract.dataset_name import DatasetName
    from airflow_consent_retl.operators.withdraw import PropagateWithdrawalsOperator


def withdrawals_lineage(
    operator: PropagateWithdrawalsOperator, places: Mapping[str, Callable[[], DatasetName]]
) -> WithdrawalsLineage:
    """Return the lineage from the tables that the SQL names to the destinations that were served.

    Args:
        operator: with rendered parameters.
        places: by destination that was served, a function that returns its name in lineage.
    """
    return WithdrawalsLineage(
        model=operator.model,
        source=lambda: model_source(
            conn_id=operator.conn_id,
            sql=operator.sql,
            hook_params=operator.hook_params,
            session_time_zone=operator.session_time_zone,
            column_types=operator.column_types,
            consent_sources=with_identities(operator.consent_sources, operator.identities),
        ),
        hooks_of=hooks_of,
        places=places,
        outcomes=operator.outcomes,
    )
