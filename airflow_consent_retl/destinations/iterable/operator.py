"""The operator that keeps Iterable's users, or a list of them, at the permitted rows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from airflow_consent_retl.destinations.declared.operator import check_load
from airflow_consent_retl.destinations.iterable.iterable_requests import iterable
from airflow_consent_retl.destinations.iterable.options import IterableId, IterableSpec, IterableWithdrawal
from airflow_consent_retl.operators.load import LoadOperator


class LoadToIterableOperator(LoadOperator):
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

    template_fields: Sequence[str] = (*LoadOperator.template_fields, *IterableSpec.templated)
    spec_class = IterableSpec

    def __init__(
        self,
        *,
        project_id: int | str,
        on_withdrawal: IterableWithdrawal,
        conn_id: str = "consentiterable_default",
        known_by: IterableId = "email",
        list_id: int | str | None = None,
        concurrency: int = 4,
        timeout_s: float = 60,
        max_attempts: int = 6,
        max_retry_s: float = 300,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # Airflow requires templated parameters as attributes.
        self.project_id = project_id
        self.conn_id = conn_id
        self.list_id = list_id
        declaration = iterable(known_by, on_list=list_id is not None)
        self.knows_by_identifiers = declaration.people_share  # type: ignore[misc]
        self._spec = partial(
            IterableSpec,
            on_withdrawal=on_withdrawal,
            known_by=known_by,
            concurrency=concurrency,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            max_retry_s=max_retry_s,
        )
        self._check = partial(check_load, declaration, on_withdrawal=on_withdrawal)
        self._check(self.fields, parameters={"project_id": project_id, "list_id": list_id})

    def destination_spec(self) -> IterableSpec:
        """Return the connection, the place and the choices of the DAG, checked again with templates rendered."""
        self._check(self.fields, parameters={"project_id": self.project_id, "list_id": self.list_id})
        return self._spec(conn_id=self.conn_id, project_id=self.project_id, list_id=self.list_id)
