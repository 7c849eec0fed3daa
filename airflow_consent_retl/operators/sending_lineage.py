"""The lineage of loads and of the fast lane, made of their parameters and of what they have done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_consent_retl.hooks.sql import hooks_of
from airflow_consent_retl.operators.dry_runs import is_dry
from airflow_consent_retl.operators.model_source import model_source, with_identities
from airflow_consent_retl.signals.lineage import LoadLineage, WithdrawalsLineage
from airflow_consent_retl.storage.manifest import ManifestRef

if TYPE_CHECKING:
    from airflow_consent_retl.contract.dataset_name import DatasetName
    from airflow_consent_retl.operators.load import LoadOperator
    from airflow_consent_retl.operators.withdraw import PropagateWithdrawalsOperator
    from airflow_consent_retl.storage.manifest import Column


def load_lineage(load: LoadOperator, columns: Sequence[Column]) -> LoadLineage:
    """Return the lineage from the permitted rows of a destination to the destination.

    Args:
        load: with rendered parameters.
        columns: of the model; empty before the load has read them.
    """
    return LoadLineage(
        permitted=ManifestRef.from_xcom(load.permitted, kind="permitted"),
        destination=load.destination,
        fields=load.fields,
        place=None if is_dry(load.dry_run) else lambda: load.build_destination().dataset_name,
        outcomes=load.outcomes,
        columns=columns,
    )


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
