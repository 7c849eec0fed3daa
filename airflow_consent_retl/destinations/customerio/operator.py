"""The operator that keeps Customer.io's people, or a segment of them, at the permitted rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from airflow_consent_retl.destinations.customerio.customerio_requests import customerio
from airflow_consent_retl.destinations.customerio.options import CustomerioId, CustomerioSpec, CustomerioWithdrawal
from airflow_consent_retl.destinations.declared.operator import check_load
from airflow_consent_retl.operators.load import LoadOperator


class LoadToCustomerioOperator(LoadOperator):
    """Keep the people of a Customer.io workspace, or one of its manual segments, at the permitted rows.

    Reads the permitted set's files and an Airflow connection; contacts only Customer.io's Track API. It sends at most
    1,000 people and 500 kB in a request, 32 kB for each, and 100 requests a second; `customerio_requests` cites the
    specification.

    Args:
        workspace_id: the number of the workspace that the key belongs to (templated). The ledger keeps it as the place.
        on_withdrawal: what happens to a person who is removed; no default. `leave_audience`: they leave the segment;
            `unsubscribe`: they get no message any more; `delete`: the person is deleted; `suppress`: the person is
            deleted, and Customer.io ignores them from then on, also when they grant again.
        conn_id: a connection of type `consentcustomerio` (templated).
        known_by: `id`, `email` or `cio_id`, as the workspace knows its people; the load maps a field of this name.
        segment_id: the number of the manual segment that people are put in (templated): the load then maps no other
            field. None: people with their attributes.
        concurrency: see `HttpOptions`, for this parameter and those down to `max_retry_s`.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load. Other fields are the person's
            attributes.

    Raises:
        ConfigurationError: parameters and fields, when the DAG file is parsed; the connection; not retried.
        DestinationError: 3xx (an account in the other region), 401, 403, 404, a refused address; not retried.
        DestinationUnavailableError: Customer.io did not accept a batch in time; retried by Airflow.
    """

    template_fields: Sequence[str] = (*LoadOperator.template_fields, *CustomerioSpec.templated)
    spec_class = CustomerioSpec

    def __init__(
        self,
        *,
        workspace_id: int | str,
        on_withdrawal: CustomerioWithdrawal,
        conn_id: str = "consentcustomerio_default",
        known_by: CustomerioId = "id",
        segment_id: int | str | None = None,
        concurrency: int = 4,
        timeout_s: float = 30,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Airflow requires templated parameters as attributes.
        self.workspace_id = workspace_id
        self.conn_id = conn_id
        self.segment_id = segment_id
        declaration = customerio(known_by, in_segment=segment_id is not None)
        self.knows_by_identifiers = declaration.people_share  # type: ignore[misc]
        self._spec = partial(
            CustomerioSpec,
            on_withdrawal=on_withdrawal,
            known_by=known_by,
            concurrency=concurrency,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            max_retry_s=max_retry_s,
        )
        self._check = partial(check_load, declaration, on_withdrawal=on_withdrawal)
        self._check(self.fields, parameters={"workspace_id": workspace_id, "segment_id": segment_id})

    def destination_spec(self) -> CustomerioSpec:
        """Return the connection, the place and the choices of the DAG, checked again with templates rendered."""
        self._check(self.fields, parameters={"workspace_id": self.workspace_id, "segment_id": self.segment_id})
        return self._spec(conn_id=self.conn_id, workspace_id=self.workspace_id, segment_id=self.segment_id)
