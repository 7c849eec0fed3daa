"""The operator that keeps Iterable's users, or a list of them, at the permitted rows."""

from __future__ import annotations

from airflow_consent_retl.destinations.declared.operator import DeclaredLoadOperator
from airflow_consent_retl.destinations.iterable.options import IterableSpec


class LoadToIterableOperator(DeclaredLoadOperator):
    """Keep the users of an Iterable project, or one of its lists, at the permitted rows of one destination.

    Reads the permitted set's files and an Airflow connection; contacts only Iterable. It sends at most 1,000 users and
    4 MB in a request, and 5 requests a second; `iterable_requests` cites the specification.

    Args:
        project_id: the number of the project that the key belongs to (templated). The ledger keeps it as the place.
        on_withdrawal: what happens to a person who is removed; no default. `leave_audience`: they leave the list, and
            nothing else; `delete`: Iterable deletes the user; `privacy_delete`: Iterable forgets the user, who can
            never be added again; at most 1,000 a day.
        conn_id: a connection of type `consentiterable` (templated).
        known_by: `email` or `userId`, as the project knows its users; the load maps a field of this name.
        list_id: the number of the list that users are put on (templated); None: users without a list.
        concurrency: see `HttpOptions`, for this parameter and those down to `max_retry_s`.
        **kwargs: `permitted`, `destination`, `fields` and the limits of every load. Fields without a place of their own
            are the user's `dataFields`; a name with dots makes nested objects, which are merged.

    Raises:
        ConfigurationError: parameters and fields, when the DAG file is parsed; the connection; not retried.
        DestinationError: 401, 403, 404, a refused address, an untrusted certificate; not retried.
        DestinationUnavailableError: Iterable did not accept a batch in time; retried by Airflow.
    """

    spec_class = IterableSpec
