"""The operator that keeps Customer.io's people, or a segment of them, at the permitted rows."""

from __future__ import annotations

from airflow_consent_retl.destinations.customerio.options import CustomerioSpec
from airflow_consent_retl.destinations.declared.operator import DeclaredLoadOperator


class LoadToCustomerioOperator(DeclaredLoadOperator):
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

    spec_class = CustomerioSpec
